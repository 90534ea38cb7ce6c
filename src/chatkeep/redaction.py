"""Strikes the secrets that this server knows out of what leaves it. Pure."""

import re
from collections.abc import Iterable

STRUCK = "…"

MIN_CHARS, MIN_CHARS_WITHOUT_DIGIT = 12, 24
"""Shorter values, or long words, are what people write where no key is needed: `none`, `ollama`,
`sk-no-key-required`. To strike those would spoil answers that speak of them."""

BEGINNING_CHARS = 4
"""Characters that may be the beginning of a secret. Fewer are not held back: ordinary words end
with them."""


class Redactor:
    """Strikes known secrets out of texts, whole ones or pieces of a stream."""

    __slots__ = ("_secrets",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Take the secrets. Values that are too short to be one are ignored."""
        # The longest first: one may contain another.
        self._secrets = sorted({value for value in values if _is_secret(value)}, key=len)[::-1]

    def __bool__(self) -> bool:
        """True if there is any secret to look for."""
        return bool(self._secrets)

    def redact(self, text: str, start: int = 0) -> str:
        """The text with `STRUCK` for each secret; what is before `start` stays as it is."""
        for secret in self._secrets:
            while (at := text.find(secret)) >= 0:
                text = text[: max(at, start)] + STRUCK + text[at + len(secret) :]
        return text

    def safe_length(self, text: str) -> int:
        """The length of the text without an end that may be the beginning of a secret."""
        safe = len(text)
        for secret in self._secrets:
            at = text.find(secret[:BEGINNING_CHARS], max(0, len(text) - len(secret) + 1))
            while 0 <= at < safe:
                if secret.startswith(text[at:]):
                    safe = at
                    break
                at = text.find(secret[:BEGINNING_CHARS], at + 1)
        return safe


def _is_secret(value: str) -> bool:
    has_digit = re.search(r"\d", value) is not None
    return len(value) >= (MIN_CHARS if has_digit else MIN_CHARS_WITHOUT_DIGIT)
