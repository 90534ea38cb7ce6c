"""What a model writes, made fit to be stored: UTF-8 without NUL, whatever the pieces were."""

HIGH = ("\ud800", "\udbff")
"""The first and the last high surrogate: half of a character that the next piece completes."""


class Cleaner:
    """Cleans one answer, piece by piece; the pieces joined are the cleaned whole."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        """Begin an answer."""
        self._half = ""

    def clean(self, piece: str) -> str:
        """Return the piece fit to be stored, holding back half a character at its end."""
        piece, self._half = self._half + piece, ""
        if piece and HIGH[0] <= piece[-1] <= HIGH[1]:
            piece, self._half = piece[:-1], piece[-1]
        return storable(piece)

    def end(self) -> str:
        """Return what was held back."""
        piece, self._half = self._half, ""
        return storable(piece)


def storable(text: str) -> str:
    """The text with surrogate pairs joined, and lone ones and NUL replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
