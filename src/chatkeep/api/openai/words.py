"""Where a text is cut into the deltas of a stream: by the text alone, however it came.

So the deltas of a reply are the same whenever it is read, and their numbers need not be stored.
"""

import re

MAX_SPACES, MAX_LETTERS = 32, 24

_UNSPACED = (
    # Thai and Lao, Burmese, Khmer, then Chinese and Japanese with their punctuation and the wide
    # forms, then the rarer Chinese characters.
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    r"\uff00-\uffef\U00020000-\U0003ffff"
)
_WORD = re.compile(
    rf"\s{{0,{MAX_SPACES}}}(?:[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,{MAX_LETTERS}}})"
    rf"|\s{{1,{MAX_SPACES}}}"
)
"""A word with the white space before it; of scripts without spaces, a character."""


class WordCutter:
    """Cuts one text, as it comes, into words."""

    def __init__(self) -> None:
        """Begin with no text."""
        self._rest = ""

    def cut(self, text: str) -> list[str]:
        """Take the next piece; return the words that are complete, whatever comes next."""
        words = _WORD.findall(self._rest + text)
        # What follows may belong to the last one.
        self._rest = words.pop() if words else ""
        return words

    def end(self) -> list[str]:
        """The text has ended: return its last word, if there is one."""
        words, self._rest = [self._rest] if self._rest else [], ""
        return words
