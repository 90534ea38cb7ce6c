"""The titles that can be cut out of a message: its own words in their order, best ones first.

The provisional title is the first of them. A model that is too small to be trusted with words of
its own has to choose among them.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from chatkeep.titles import function_words
from chatkeep.titles.words import (
    MAX_CHARS,
    MAX_WORD_CHARS,
    MAX_WORDS,
    MIN_CHARS,
    MIN_WORDS,
    READ_CHARS,
    has_form,
    is_spaceless,
    plain,
    trimmed,
    visible,
)

MIN_CANDIDATES, MAX_CANDIDATES = 4, 48
"""Titles that a model chooses from, where there are as many: more cost time."""

MAX_DISTANCE = 3.0
"""How much less than the best one a title may be worth: a model need not choose a bad one."""

READ_WORDS, READ_CLAUSES, READ_CLAUSE_CHARS = 40, 6, 40

_SENTENCE_END = re.compile(
    r"(?<=[.!?;…])\s+|(?<=[。！？；])|\n+|\s[-–—]+\s|[:：]\s+|(?<=\w)\s*[()]\s*"
)
_CODE_BLOCK = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.DOTALL | re.MULTILINE)
_COMMA = re.compile(r"[,，]$")
_SPACELESS_CLAUSE = re.compile(r"[\s。！？；：:，、,.!?;…()（）]+")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    is_content: bool
    """False for a word that only builds the sentence."""
    is_article: bool
    has_comma: bool


_Clause = list[_Word]
_Worth = tuple[float, str]
"""What a title is worth, and the title."""


def candidates(message: str) -> list[str]:
    """Titles made of a message's own words, each with the form of a title, best ones first.

    Empty if the message has too few words: one or two, or a single character.
    """
    titles: list[str] = []
    least = 0.0
    for worth, title in _ranked(message):
        if not titles:
            least = worth - MAX_DISTANCE
        if len(titles) >= (MIN_CANDIDATES if worth < least else MAX_CANDIDATES):
            break
        titles.append(title)
    return titles


def best_candidate(message: str) -> str | None:
    """The first of the `candidates`; `None` if there are none."""
    return next((title for _, title in _ranked(message)), None)


def _ranked(message: str) -> Iterator[_Worth]:
    """Each title once, the best one first; the form is checked when it is its turn."""
    text = _prose(visible(message[:READ_CHARS]))
    worths: dict[str, float] = {}
    for worth, title in _runs_of(text) if is_spaceless(text) else _spans_of(text):
        worths[title] = max(worth, worths.get(title, worth))
    for title in sorted(worths, key=lambda title: -worths[title]):
        if has_form(title):
            yield worths[title], title


def _prose(text: str) -> str:
    """The text without markup, and without blocks of code if there is enough beside them."""
    beside = plain(_CODE_BLOCK.sub("\n", text))
    return beside if len(beside.split()) >= MIN_WORDS or is_spaceless(beside) else plain(text)


def _spans_of(text: str) -> list[_Worth]:
    """Neighbouring words of a clause; where no clause has enough of them, of all the text."""
    clauses = _clauses(text)
    whole = [word for clause in clauses for word in clause]
    for pool, is_strict in ((clauses, True), (clauses, False), ([whole], False)):
        spans = [
            span for index, clause in enumerate(pool) for span in _spans(clause, index, is_strict)
        ]
        if spans:
            return spans
    return []


def _clauses(text: str) -> list[_Clause]:
    """The words of each clause: commas within a list do not end one, others do."""
    sentences = [sentence.split() for sentence in _SENTENCE_END.split(text)]
    lower = [trimmed(word).casefold() for sentence in sentences for word in sentence]
    functional = function_words.of_message(lower)
    clauses: list[_Clause] = []
    count = 0
    for sentence in sentences:
        clause: _Clause = []
        for raw in sentence:
            word = trimmed(trimmed(raw)[:MAX_WORD_CHARS])
            if not any(map(str.isalnum, word)) or count >= READ_WORDS:
                continue
            count += 1
            is_function = word.casefold() in functional
            if clause and clause[-1].has_comma and is_function:
                clauses.append(clause)
                clause = []
            is_article = word.casefold() in function_words.ARTICLES
            clause.append(_Word(word, not is_function, is_article, _COMMA.search(raw) is not None))
        if clause:
            clauses.append(clause)
    return clauses


def _spans(clause: _Clause, index: int, is_strict: bool) -> Iterator[_Worth]:
    """The titles of a clause with what each is worth; strict ones begin and end at a phrase."""
    for start in range(len(clause)):
        # An article left out lets one more word in.
        for end in range(start + MIN_WORDS, min(start + MAX_WORDS + 2, len(clause)) + 1):
            span = clause[start:end]
            if is_strict and not (span[0].is_content and span[-1].is_content):
                continue
            value = _value(clause, start, end, index)
            for words, penalty in _with_and_without_articles(span):
                if MIN_WORDS <= len(words) <= MAX_WORDS:
                    yield value - penalty, _joined(words)


def _with_and_without_articles(span: _Clause) -> Iterator[tuple[_Clause, int]]:
    """The span, and the span without its inner articles, which is worth less by the number."""
    articles = [index for index, word in enumerate(span) if word.is_article and index > 0]
    yield span, 0
    if articles:
        yield [word for index, word in enumerate(span) if index not in articles], 2


def _value(clause: _Clause, start: int, end: int, index: int) -> float:
    """What a span is worth: words of content, whole phrases, an early position.

    The numbers are the result of trials: `tests/titlecorpus.py` has the titles that they must make.
    """
    span = clause[start:end]
    content = [word.text.casefold() for word in span if word.is_content]
    distinct = set(content)
    worths = [2.0 if word.replace("'", "").isalpha() else 1.0 for word in distinct]
    worths.sort(reverse=True)
    value = sum(worths[:3]) + 0.5 * sum(worths[3:])
    value -= len(content) - len(distinct) + 2 * sum(word.has_comma for word in span[:-1])
    if not span[0].is_content:
        value -= 3
    if not span[-1].is_content:
        value -= 4
    if start > 0 and clause[start - 1].is_content:
        value -= 2
    if end < len(clause) and clause[end].is_content and not clause[end - 1].has_comma:
        value -= 3
    return value - 1.5 * min(index, 3) - 0.2 * start - 0.2 * len(span)


def _joined(span: _Clause) -> str:
    words = [f"{word.text}," if word.has_comma else word.text for word in span[:-1]]
    title = " ".join([*words, span[-1].text])
    return title[:1].upper() + title[1:]


def _runs_of(text: str) -> list[_Worth]:
    """Runs of a clause's characters that begin and end where a word may."""
    clauses = [clause for clause in _SPACELESS_CLAUSE.split(text) if clause][:READ_CLAUSES]
    runs = [run for index, clause in enumerate(clauses) for run in _runs(clause, index)]
    # Where no word's end is known, at least no character is cut.
    return runs or [
        run for index, clause in enumerate(clauses) for run in _beginnings(clause, index)
    ]


def _runs(clause: str, index: int) -> Iterator[_Worth]:
    clause = clause[:READ_CLAUSE_CHARS]
    cuts = [0, *(at for at in range(1, len(clause)) if _may_cut(clause, at)), len(clause)]
    for start, end in combinations(cuts, 2):
        if end - start <= MAX_CHARS:
            run = trimmed(clause[start:end])
            if len(run) >= MIN_CHARS and is_spaceless(run):
                yield _value_of_run(run, start, index), run


def _beginnings(clause: str, index: int) -> Iterator[_Worth]:
    for end in range(MIN_CHARS, min(MAX_CHARS, len(clause) - 1) + 1):
        run = trimmed(clause[:end])
        if len(run) >= MIN_CHARS and is_spaceless(run) and _is_whole_character(clause, end):
            yield _value_of_run(run, 0, index), run


def _may_cut(clause: str, at: int) -> bool:
    """True beside a particle, and before what begins a word in Thai."""
    particles = function_words.SPACELESS_PARTICLES
    if clause[at - 1] in particles or clause[at] in particles:
        return True
    return clause.startswith(function_words.THAI_WORD_STARTS, at)


def _is_whole_character(clause: str, at: int) -> bool:
    return unicodedata.category(clause[at])[0] != "M"


def _value_of_run(run: str, start: int, index: int) -> float:
    particles = function_words.SPACELESS_PARTICLES
    loose = (run[0] in particles) + (run[-1] in particles)
    content = sum(ch not in particles for ch in run)
    questions = sum(word in run for word in function_words.SPACELESS_QUESTIONS)
    return (
        min(content, 4)
        + 0.3 * min(content, 9)
        - 4.0 * loose
        - 4.0 * questions
        - 2 * index
        - 0.2 * start
    )
