"""Entity tags: which version of an answer somebody has (RFC 9110, sections 8.8.3 and 13.1)."""


def header(tag: str) -> dict[str, str]:
    """The header that tells a client the tag of what it is sent."""
    return {"ETag": f'"{tag}"'}


def listed(value: str) -> set[str]:
    """The tags in a header, without their quotes.

    A weak one keeps its mark, so that it is none of ours: they all are strong.
    """
    return {part.strip().strip('"') for part in value.split(",")}


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether a client that sends this `If-None-Match` has this version already."""
    return bool({tag, "*"} & listed((if_none_match or "").replace("W/", "")))
