"""Entity tags: which version of a response a client has (RFC 9110, sections 8.8.3 and 13.1)."""


def header(tag: str) -> dict[str, str]:
    """The `ETag` header of a response with this tag, which has no quotes yet."""
    return {"ETag": f'"{tag}"'}


def expected(if_match: str | None) -> set[str] | None:
    """The tags of an `If-Match` header without their quotes; `None` if any version is right.

    Tags are compared strongly (RFC 9110, 13.1.1): a weak one keeps its `W/`, so that it equals none
    of ours.
    """
    tags = None if if_match is None else _tags(if_match)
    return None if tags is None or "*" in tags else tags


def is_known(tag: str, if_none_match: str | None) -> bool:
    """True if an `If-None-Match` header names this tag, strong or weak (RFC 9110, 13.1.2)."""
    return not {tag, "*"}.isdisjoint(_tags((if_none_match or "").replace("W/", "")))


def _tags(value: str) -> set[str]:
    return {part.strip().strip('"') for part in value.split(",")}
