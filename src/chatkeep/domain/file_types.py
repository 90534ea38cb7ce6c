"""What a file is by its first bytes, whatever its sender calls it. Pure."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""The pictures that every provider sees. SVG is a program, not a picture."""

DOCUMENTS = frozenset({"application/pdf"})


def media_type(data: bytes) -> str | None:
    """The type of a file that may be stored; `None` for any other."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    # A container with the length between its two names.
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
