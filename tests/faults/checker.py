"""Finds what was lost, doubled, reordered or torn in the log of a run. It knows no server.

Each question is a text of its own, and a reply repeats the question that it answers. So the log
alone tells what must be true: of the requests and their answers, of the prompts that the model was
sent, and of the conversations as they are kept in the end.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

CONTEXT = 5
"""Messages before the question that a model is sent."""


@dataclass(frozen=True)
class Exchange:
    """A question that was answered. Its client asked it when the one before was accepted."""

    session: str
    client: int
    number: int
    question: str
    answer: str
    turn: str


@dataclass
class Log:
    """All that was seen from outside."""

    exchanges: list[Exchange] = field(default_factory=list)
    prompts: list[list[tuple[str, str]]] = field(default_factory=list)
    histories: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def reply_to(question: str) -> str:
    """What the model of the run answers."""
    return f"Reply to: {question}"


def findings(log: Log) -> list[str]:
    """Everything in the log that cannot be; nothing if all is well."""
    return [
        *_torn_answers(log),
        *_lost_or_doubled(log),
        *_torn_histories(log),
        *_reordered(log),
        *_wrong_prompts(log),
    ]


def _torn_answers(log: Log) -> Iterator[str]:
    """An answer belongs to its question, and a turn to one question."""
    turns = Counter(exchange.turn for exchange in log.exchanges)
    for exchange in log.exchanges:
        if exchange.answer != reply_to(exchange.question):
            yield f"torn: {exchange.question!r} was answered by {exchange.answer!r}"
        if turns[exchange.turn] > 1:
            yield f"doubled: {exchange.turn} is of more than one question"


def _lost_or_doubled(log: Log) -> Iterator[str]:
    """What was answered is kept once, in its own session; nothing else is kept."""
    for session, history in log.histories.items():
        kept = Counter(text for role, text in history if role == "user")
        asked = Counter(found.question for found in log.exchanges if found.session == session)
        for question in asked - kept:
            yield f"lost: {question!r} is not in {session}"
        for question in kept - asked:
            yield f"doubled or foreign: {question!r} is in {session}"


def _torn_histories(log: Log) -> Iterator[str]:
    """Each question is followed by its own reply."""
    for session, history in log.histories.items():
        for (first, question), (second, reply) in zip(history[::2], history[1::2], strict=False):
            if (first, second) != ("user", "assistant") or reply != reply_to(question):
                yield f"torn: {question!r} is followed by {reply!r} in {session}"
        if len(history) % 2:
            yield f"torn: {history[-1][1]!r} has no reply in {session}"


def _reordered(log: Log) -> Iterator[str]:
    """What one client asked one after the other is kept in that order."""
    places = {
        text: place for history in log.histories.values() for place, (_, text) in enumerate(history)
    }
    lines: dict[tuple[str, int], list[Exchange]] = defaultdict(list)
    for exchange in log.exchanges:
        lines[exchange.session, exchange.client].append(exchange)
    for line in lines.values():
        line.sort(key=lambda exchange: exchange.number)
        for before, after in itertools.pairwise(line):
            if places.get(before.question, -1) > places.get(after.question, len(places)):
                yield f"reordered: {after.question!r} is kept before {before.question!r}"


def _wrong_prompts(log: Log) -> Iterator[str]:
    """The model was asked each question once, with what is kept right before it."""
    asked = Counter(prompt[-1][1] for prompt in log.prompts)
    before: dict[str, list[tuple[str, str]]] = {}
    for history in log.histories.values():
        for place, (_, text) in enumerate(history):
            before[text] = history[max(0, place - CONTEXT) : place]
    for prompt in log.prompts:
        question = prompt[-1][1]
        if asked[question] > 1:
            yield f"doubled: the model was asked {question!r} {asked[question]} times"
        if prompt[:-1] != before.get(question):
            yield f"wrong context: {question!r} was asked after {prompt[:-1]}"
