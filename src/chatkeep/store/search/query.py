"""What a search compares: the words of a text, and where they stand in it. Pure.

Scripts that set no spaces between words are searched by pairs of characters, as most search
engines do: 東京都 is 東京, 京都, and 都 for whoever asks for one character.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from chatkeep.domain.model import SnippetPart

MAX_QUERY_CHARS = 1_000
MAX_TERMS = 16
"""Words and phrases of a query that count."""

MIN_PREFIX_CHARS = 3
"""A shorter beginning of a word would match too many words to be looked up in time."""

SNIPPET_CHARS, LEAD_CHARS = 240, 60
"""The length of a snippet, and how much of it is before the first word found."""

READ_CHARS = 20_000
"""Characters of a message in which its words are counted, and a snippet is looked for."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_QUERY = re.compile(r'"([^"]*)"|([^\s"]+)')
_WORD = re.compile(r"[^\W_]+")
_SPECIAL = re.compile(r'["\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase that is looked for, or with `is_prefix` the beginning of one."""

    text: str
    is_prefix: bool


def index_text(text: str) -> str:
    """The text as the index reads it. What is in an index was made by this function for ever."""
    if text.isascii():
        return text
    return _UNSPACED.sub(_pairs, unicodedata.normalize("NFKC", text))


def _pairs(run: re.Match[str]) -> str:
    text = run[0]
    return f" {' '.join(text[at : at + 2] for at in range(len(text)))} "


def parse_query(query: str) -> tuple[Term, ...]:
    """What a query asks for: words, phrases in quotes, and beginnings that end with a star.

    Whatever else is in it separates words; there is no query that is wrong.
    """
    found = []
    for phrase, word in _QUERY.findall(query[:MAX_QUERY_CHARS]):
        text = unicodedata.normalize("NFKC", phrase or word)
        is_prefix = bool(word) and word.endswith("*") and _length(text) >= MIN_PREFIX_CHARS
        if _length(text):
            found.append(Term(text.strip("*") if is_prefix else text, is_prefix))
    return tuple(dict.fromkeys(found))[:MAX_TERMS]


def _length(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))


def match_expression(term: Term) -> str:
    """A term in the language of FTS5: a string, in which nothing has a meaning."""
    pieces = []
    for run, other in _runs(term.text):
        if other:
            pieces += [_quoted(other)] if _length(other) else []
        elif len(run) == 1:
            pieces.append(_quoted(run) + " *")
        else:
            pieces.append(_quoted(" ".join(run[at : at + 2] for at in range(len(run) - 1))))
    star = " *" if term.is_prefix and not pieces[-1].endswith("*") else ""
    return " AND ".join(f"body : {piece}" for piece in pieces) + star


def _runs(text: str) -> list[tuple[str, str]]:
    """The text as runs: (of unspaced script, "") or ("", of anything else)."""
    found, end = [], 0
    for run in _UNSPACED.finditer(text):
        found += [("", text[end : run.start()]), (run[0], "")]
        end = run.end()
    found.append(("", text[end:]))
    return [pair for pair in found if any(pair)]


def _quoted(text: str) -> str:
    return '"' + _SPECIAL.sub(" ", text) + '"'


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    split = unicodedata.normalize("NFKD", text)
    # The marks of other scripts are letters of theirs.
    bare = "".join(ch for ch in split if not "\u0300" <= ch <= "\u036f")
    return unicodedata.normalize("NFC", bare)


class Finder:
    """Finds a query's terms in texts: how often, and where first."""

    def __init__(self, wanted: Sequence[Term]) -> None:
        """Take the terms to find."""
        self._each = [re.compile(_pattern(term)) for term in wanted]
        longest_first = sorted((_pattern(term) for term in wanted), key=len, reverse=True)
        self._any = re.compile("|".join(longest_first) or r"(?!)")

    def weight(self, text: str) -> float:
        """How much a text is about the terms: often is more than once, and short is more than long.

        The usual saturation of BM25 (k1 = 1.2, b = 0.75), for texts that have every term.
        """
        folded = _fold(text[:READ_CHARS])
        longer = 0.25 + 0.75 * len(folded) / 500
        counts = [sum(1 for _ in pattern.finditer(folded)) for pattern in self._each]
        return sum(count / (count + 1.2 * longer) for count in counts)

    def snippet(self, text: str) -> tuple[SnippetPart, ...]:
        """The place of a text where the terms are, in pieces; its beginning if they are not."""
        read = text[:READ_CHARS]
        folded, places = _folded(read)
        first = self._any.search(folded)
        start = 0 if first is None else max(0, places[first.start()] - LEAD_CHARS)
        if start and (space := read.find(" ", start, start + LEAD_CHARS // 2)) >= 0:
            start = space + 1
        end = min(len(read), start + SNIPPET_CHARS)
        parts, at = [SnippetPart("…", False)] if start else [], start
        for found in self._any.finditer(folded):
            begin, stop = places[found.start()], places[found.end() - 1] + 1
            if begin >= end:
                break
            if begin >= at:
                parts += [
                    SnippetPart(read[at:begin], False),
                    SnippetPart(read[begin : min(stop, end)], True),
                ]
                at = min(stop, end)
        parts.append(SnippetPart(read[at:end] + ("…" if end < len(text) else ""), False))
        return tuple(part for part in parts if part.text)


def _pattern(term: Term) -> str:
    """A pattern that finds a term in a folded text much as the index does."""
    folded = _fold(term.text)
    words = [re.escape(word) for word in _WORD.findall(folded)]
    joined = r"[\W_]+".join(words)
    if _UNSPACED.search(folded):
        return joined
    end = r"[^\W_]*" if term.is_prefix else r"(?![^\W_])"
    return rf"(?<![^\W_]){joined}{end}"


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else _without_marks(text).casefold()


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text folded, and for each of its characters the place where it comes from."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    pieces = [_fold(ch) for ch in text]
    places = [at for at, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*places, len(text)]
