"""A text's visible words, and the form that a title has.

The form: 3 to 5 words with single spaces between, or 2 to 16 characters in a script that sets no
spaces; one line, no quotes, label, closing punctuation, markup or control characters.
"""

import re
import unicodedata

MIN_WORDS, MAX_WORDS = 3, 5
MIN_CHARS, MAX_CHARS = 2, 16
"""Characters of a title in a script without spaces."""

MAX_WORD_CHARS = 24
"""A longer word of a message is cut: it is a hash, a path or a row of letters."""

READ_CHARS = 2_000
"""Characters of a first message that its title is made from; what follows is not read."""

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_SCRIPT_TAG = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,200})\]\([^()\n]{0,500}(?:\([^()\n]{0,500}\))?[^()\n]*\)"
)
_ADDRESS = re.compile(r"\bhttps?://(?:www\.)?([^\s/?#]+)(\S*)", re.IGNORECASE)
_PATH_MARKS = re.compile(r"[\W_]+")

QUOTES = '"“”„‟«»‹›「」『』《》〈〉`'
BRACKETS = "<>[]{}|\\*"
_LIST_NUMBER = re.compile(r"\d+[.)] ")
_MARKUP = re.compile(rf"[{re.escape(QUOTES + BRACKETS)}]+|~~+|==+|__+")
_ZERO_WIDTH_SPACES = "\u200b\u2028\u2029\u0085"
_JOINERS = frozenset("\n\u200c\u200d")
"""What cannot be seen and yet belongs to words of some scripts, and the line end."""


def visible(text: str) -> str:
    """The text without what cannot be seen; line ends and the joiners of some scripts stay."""
    spaced = "".join(
        " " if ch in _ZERO_WIDTH_SPACES or (ch.isspace() and ch != "\n") else ch for ch in text
    )
    return "".join(ch for ch in spaced if ch.isprintable() or ch in _JOINERS)


def without_tags(text: str) -> str:
    """The text without HTML's tags, and without the scripts between them."""
    return _TAG.sub(" ", _SCRIPT_TAG.sub(" ", text))


def plain(text: str) -> str:
    """The text without markup and quotes; of a link its words, of an address host and path."""

    def of_address(address: re.Match[str]) -> str:
        return f"{address[1]} {_PATH_MARKS.sub(' ', address[2])}"

    text = _ADDRESS.sub(of_address, _IMAGE_OR_LINK.sub(r"\1", without_tags(text)))
    return _MARKUP.sub(" ", text)


def spaceless_count(text: str) -> int:
    """How many letters are of scripts that set no spaces between words."""
    # There are signs and digits among them too: `A฿` is not a title of two characters.
    return sum(map(str.isalpha, _SPACELESS.findall(text)))


def is_spaceless(text: str) -> bool:
    """True if most letters are of scripts that set no spaces between words."""
    letters = sum(ch.isalpha() for ch in text)
    return spaceless_count(text) * 2 > letters > 0


def first_spaceless(text: str) -> int:
    """Where the first character of a script without spaces is; 0 if there is none."""
    match = _SPACELESS.search(text)
    return match.start() if match else 0


def spaceless_only(text: str) -> str:
    """The characters of scripts without spaces, and no others."""
    return "".join(_SPACELESS.findall(text))


def has_form(title: str) -> bool:
    """True if a text has the form of a title. A label is not looked for."""
    words = title.split(" ")
    if _MARKUP.search(title) or _LIST_NUMBER.match(title) or "" in words:
        return False
    if visible(title) != title or "\n" in title:
        return False
    if trimmed(title) != title or not any(map(str.isalnum, title)):
        return False
    spaceless = spaceless_count(title)
    if spaceless and MIN_CHARS <= len(title) <= MAX_CHARS:
        return True
    return not is_spaceless(title) and MIN_WORDS <= len(words) <= MAX_WORDS


def trimmed(text: str) -> str:
    """The text without punctuation around it; `.NET`, `C#`, `50%` and `$5` keep their signs."""
    start, end = 0, len(text)
    while start < end and not _may_begin(text, start):
        start += 1
    while end > start and not _may_end(text[start:end]):
        end -= 1
    return text[start:end]


def _may_begin(text: str, index: int) -> bool:
    ch, is_before_word = text[index], text[index + 1 : index + 2].isalnum()
    if ch in ".@" and is_before_word:
        return index == 0 or text[index - 1].isspace()
    return is_before_word if unicodedata.category(ch) == "Sc" else _is_part_of_word(ch)


def _may_end(text: str) -> bool:
    if text[-1] in "+#%°" or unicodedata.category(text[-1]) == "Sc":
        return any(map(str.isalnum, text))
    return _is_part_of_word(text[-1]) or (text[-1] == ")" and "(" in text)


def _is_part_of_word(ch: str) -> bool:
    category = unicodedata.category(ch)
    return category[0] in "LNM" or category == "So"
