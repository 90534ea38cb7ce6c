"""What a model writes, made fit to be stored: UTF-8 without NUL, whatever the pieces were."""

from chatkeep.domain.validation import replace_unstorable
from chatkeep.redaction import BEGINNING_CHARS, STRUCK, Redactor

HIGH = ("\ud800", "\udbff")
"""The first and the last high surrogate: half of a character that the next piece completes."""


MIN_SECRET_CHARS = 8
"""So many characters at the end of an answer are most likely the beginning of a secret."""


class Cleaner:
    """Cleans one answer, piece by piece; the pieces joined are the cleaned whole.

    Args:
        without_replacements: Leave out U+FFFD, which llama.cpp writes where a model's token was
            half a character. Another server's stays: the answer may be about it.
        redactor: Strikes the server's secrets, should a provider answer with one.

    """

    __slots__ = ("_half", "_passed", "_redactor", "_without_replacements")

    def __init__(
        self, *, without_replacements: bool = False, redactor: Redactor | None = None
    ) -> None:
        self._half = ""
        # The end of what was passed on: a secret may have begun there.
        self._passed = ""
        self._redactor = redactor or None
        self._without_replacements = without_replacements

    def clean(self, piece: str) -> str:
        """Return the piece fit to be stored, holding back half a character or secret at its end."""
        piece, self._half = self._half + piece, ""
        if not piece:
            return ""
        end = len(piece)
        if self._redactor is not None:
            piece, end = self._redacted(piece, self._redactor)
        if end and HIGH[0] <= piece[end - 1] <= HIGH[1]:
            end -= 1
        if end < len(piece):
            piece, self._half = piece[:end], piece[end:]
        if self._redactor is not None:
            self._passed = (self._passed + piece)[1 - BEGINNING_CHARS :]
        return self._storable(piece)

    def end(self) -> str:
        """Return what was held back."""
        piece, self._half = self._half, ""
        if len(piece) >= MIN_SECRET_CHARS:
            return STRUCK
        return self._storable(piece)

    def _redacted(self, piece: str, redactor: Redactor) -> tuple[str, int]:
        """The piece without secrets, and how much of it cannot be the beginning of one."""
        start = len(self._passed)
        text = redactor.redact(self._passed + piece, start)
        return text[start:], max(0, redactor.safe_length(text) - start)

    def _storable(self, piece: str) -> str:
        text = replace_unstorable(piece)
        return text.replace("\ufffd", "") if self._without_replacements else text
