"""What a model writes, made fit to be stored: UTF-8 without NUL, whatever the pieces were."""

HIGH = ("\ud800", "\udbff")
"""The first and the last high surrogate: half of a character that the next piece completes."""


class Cleaner:
    """Cleans one answer, piece by piece; the pieces joined are the cleaned whole.

    Args:
        without_replacements: Leave out U+FFFD, which llama.cpp writes where a model's token was
            half a character. Another server's is kept: the answer may be about it.

    """

    __slots__ = ("_half", "_without_replacements")

    def __init__(self, *, without_replacements: bool = False) -> None:
        self._half = ""
        self._without_replacements = without_replacements

    def clean(self, piece: str) -> str:
        """Return the piece fit to be stored, holding back half a character at its end."""
        piece, self._half = self._half + piece, ""
        if piece and HIGH[0] <= piece[-1] <= HIGH[1]:
            piece, self._half = piece[:-1], piece[-1]
        return self._storable(piece)

    def end(self) -> str:
        """Return what was held back."""
        piece, self._half = self._half, ""
        return self._storable(piece)

    def _storable(self, piece: str) -> str:
        text = storable(piece)
        return text.replace("\ufffd", "") if self._without_replacements else text


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
