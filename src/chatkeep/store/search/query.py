"""What a query asks for: its terms, for the index and in a text. Nothing here uses the database.

Scripts that set no spaces between words are searched by pairs of characters, as most search
engines do: 東京都 is 東京, 京都, and 都 for a query of one character.
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
"""A shorter beginning of a word would match too many words to be fast."""

SNIPPET_CHARS, LEAD_CHARS = 240, 60
"""The length of a snippet, and how much of it is before the first match."""

READ_CHARS = 20_000
"""Characters of a message in which matches are counted, and of which a snippet is made."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_QUERY = re.compile(r'"([^"]*)"|([^\s"]+)')
_WORD = re.compile(r"[^\W_]+")
_SPECIAL = re.compile(r'["\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase of a query, or with `is_prefix` the beginning of one."""

    text: str
    is_prefix: bool


def index_text(text: str) -> str:
    """The text as it is indexed. It must never change, or an index has what cannot be removed."""
    if text.isascii():
        return text
    return _UNSPACED.sub(_pairs, unicodedata.normalize("NFKC", text))


def _pairs(run: re.Match[str]) -> str:
    text = run[0]
    return f" {' '.join(text[start : start + 2] for start in range(len(text)))} "


def parse_query(query: str) -> tuple[Term, ...]:
    """The terms of a query: words, phrases in quotes, and beginnings that end with a star.

    Everything else separates words; no query is invalid.
    """
    terms = []
    for phrase, word in _QUERY.findall(query[:MAX_QUERY_CHARS]):
        text = unicodedata.normalize("NFKC", phrase or word)
        is_prefix = bool(word) and word.endswith("*") and _length(text) >= MIN_PREFIX_CHARS
        if _length(text):
            terms.append(Term(text.strip("*") if is_prefix else text, is_prefix))
    return tuple(dict.fromkeys(terms))[:MAX_TERMS]


def _length(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))


def match_expression(term: Term) -> str:
    """A term in the query language of FTS5, quoted so that nothing in it is an operator."""
    pieces = []
    for run, other in runs(term.text):
        if other:
            pieces += [_quoted(other)] if _length(other) else []
        elif len(run) == 1:
            pieces.append(_quoted(run) + " *")
        else:
            pairs = (run[start : start + 2] for start in range(len(run) - 1))
            pieces.append(_quoted(" ".join(pairs)))
    star = " *" if term.is_prefix and not pieces[-1].endswith("*") else ""
    return " AND ".join(f"body : {piece}" for piece in pieces) + star


def runs(text: str) -> list[tuple[str, str]]:
    """The text as runs: (of unspaced script, "") or ("", of anything else)."""
    runs, end = [], 0
    for match in _UNSPACED.finditer(text):
        runs += [("", text[end : match.start()]), (match[0], "")]
        end = match.end()
    runs.append(("", text[end:]))
    return [run for run in runs if any(run)]


def _quoted(text: str) -> str:
    return '"' + _SPECIAL.sub(" ", text) + '"'


def without_marks(text: str) -> str:
    """The text without the accents of Latin, Greek and Cyrillic letters."""
    if text.isascii():
        return text
    split = unicodedata.normalize("NFKD", text)
    # The marks of other scripts are letters of theirs.
    bare = "".join(ch for ch in split if not "\u0300" <= ch <= "\u036f")
    return unicodedata.normalize("NFC", bare)


class Finder:
    """Finds a query's terms in texts: how often, and where first."""

    def __init__(self, terms: Sequence[Term]) -> None:
        """Take the terms to find."""
        self._each = [re.compile(_pattern(term)) for term in terms]
        longest_first = sorted((_pattern(term) for term in terms), key=len, reverse=True)
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
        """The part of a text around the first match, in pieces; its beginning if there is none."""
        read = text[:READ_CHARS]
        folded, indexes = _folded(read)
        first = self._any.search(folded)
        start = 0 if first is None else max(0, indexes[first.start()] - LEAD_CHARS)
        if start and (space := read.find(" ", start, start + LEAD_CHARS // 2)) >= 0:
            start = space + 1
        end = min(len(read), start + SNIPPET_CHARS)
        parts, at = [SnippetPart("…", False)] if start else [], start
        for match in self._any.finditer(folded):
            begin, stop = indexes[match.start()], indexes[match.end() - 1] + 1
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
    return text.lower() if text.isascii() else without_marks(text).casefold()


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The text folded, and for each of its characters the index of the one that it comes from."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    pieces = [_fold(ch) for ch in text]
    indexes = [index for index, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*indexes, len(text)]
