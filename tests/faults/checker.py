"""Finds what was lost, doubled, reordered or torn in the log of a run. It knows no server.

Each question is a text of its own, and a reply repeats the question that it answers. So the log
alone tells what must be true: of the requests and their answers, of the prompts that the model was
sent, and of the conversations as they are stored in the end.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

CONTEXT = 5
"""Messages before the question that a model is sent."""


@dataclass(frozen=True)
class Exchange:
    """A question that was answered. Its client sent it when the one before was accepted."""

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
    """What was answered is stored once, in its own session; nothing else is stored."""
    for session, history in log.histories.items():
        stored = Counter(text for role, text in history if role == "user")
        sent = Counter(one.question for one in log.exchanges if one.session == session)
        for question in sent - stored:
            yield f"lost: {question!r} is not in {session}"
        for question in stored - sent:
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
    """What one client sent one after the other is stored in that order."""
    indexes = {
        text: index for history in log.histories.values() for index, (_, text) in enumerate(history)
    }
    clients: dict[tuple[str, int], list[Exchange]] = defaultdict(list)
    for exchange in log.exchanges:
        clients[exchange.session, exchange.client].append(exchange)
    for exchanges in clients.values():
        exchanges.sort(key=lambda exchange: exchange.number)
        for before, after in itertools.pairwise(exchanges):
            if indexes.get(before.question, -1) > indexes.get(after.question, len(indexes)):
                yield f"reordered: {after.question!r} is stored before {before.question!r}"


def _wrong_prompts(log: Log) -> Iterator[str]:
    """The model was sent each question once, with what is stored right before it."""
    calls = Counter(prompt[-1][1] for prompt in log.prompts)
    before: dict[str, list[tuple[str, str]]] = {}
    for history in log.histories.values():
        for index, (_, text) in enumerate(history):
            before[text] = history[max(0, index - CONTEXT) : index]
    for prompt in log.prompts:
        question = prompt[-1][1]
        if calls[question] > 1:
            yield f"doubled: the model was sent {question!r} {calls[question]} times"
        if prompt[:-1] != before.get(question):
            yield f"wrong context: {question!r} was sent after {prompt[:-1]}"
