"""The words of a text, as SQLite's FTS5 splits and folds them, for another database's index."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from chatkeep.store.search.query import Term, index_text, runs, without_marks

MAX_POSITION = 16_383
"""The last position of a word that PostgreSQL keeps; a phrase after that is not found as one."""

MAX_POSITIONS = 255
"""Positions of one word that PostgreSQL keeps."""

MAX_BYTES = 900_000
"""Of all words of a text; PostgreSQL refuses more than a megabyte with their positions."""

MAX_WORD_CHARS = 500
"""A longer word is indexed by its beginning."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")


def split(text: str) -> Iterator[str]:
    """Yield the words of a text that was prepared by `index_text`, folded, in their order."""
    if text.isascii():
        yield from _ASCII_WORD.findall(text.lower())
        return
    word = ""
    for ch in without_marks(text).casefold():
        category = unicodedata.category(ch)
        if category[0] in "LNM" or category == "Co":
            word += ch
        elif word:
            yield word
            word = ""
    if word:
        yield word


def tsvector(text: str, scope: Sequence[str]) -> str:
    """Return a text's words with their positions, and its scope's, as PostgreSQL reads them."""
    positions: dict[str, list[int]] = {}
    size = 0
    for position, word in enumerate(split(index_text(text)), start=1):
        cut = word[:MAX_WORD_CHARS]
        if cut not in positions:
            size += len(cut.encode()) + 8
            if size > MAX_BYTES:
                break
            positions[cut] = []
        if position <= MAX_POSITION and len(positions[cut]) < MAX_POSITIONS:
            size += 2
            positions[cut].append(position)
    lexemes = [
        f"'{word}'{':' if at else ''}{','.join(map(str, at))}" for word, at in positions.items()
    ]
    return " ".join([*lexemes, *(f"'/{word}'" for word in scope)])


def tsquery(terms: Sequence[Term], scope: Sequence[str], kinds: Sequence[str]) -> str:
    """Return a query for all terms and all words of a scope, and for one of some kinds."""
    parts = [part for term in terms for part in _of_term(term)]
    parts += [f"'/{word}'" for word in scope]
    if kinds:
        parts.append("(" + " | ".join(f"'/{kind}'" for kind in kinds) + ")")
    return " & ".join(parts)


def _of_term(term: Term) -> list[str]:
    """A term's parts, each a phrase: runs of unspaced script are phrases of pairs."""
    parts = []
    for run, other in runs(term.text):
        if other:
            found = list(split(other))
            parts += [_phrase(found, is_prefix=False)] if found else []
        elif len(run) == 1:
            parts.append(_phrase(list(split(run)), is_prefix=True))
        else:
            pairs = " ".join(run[start : start + 2] for start in range(len(run) - 1))
            parts.append(_phrase(list(split(pairs)), is_prefix=False))
    if term.is_prefix and parts and not parts[-1].endswith("*"):
        parts[-1] += ":*"
    return parts


def _phrase(found: Sequence[str], *, is_prefix: bool) -> str:
    quoted = [f"'{word[:MAX_WORD_CHARS]}'" for word in found]
    return " <-> ".join(quoted) + (":*" if is_prefix else "")
