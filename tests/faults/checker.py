"""Finds what was lost, doubled, reordered or torn in the record of a run. It knows no server.

Each question is a text of its own, and a reply repeats the question that it answers. So the record
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
class RunRecord:
    """All that was seen from outside.

    `attempts` are how often questions were sent to the model, as the server counts it, where that
    is more than once: after the death of a process.
    """

    attempts: dict[str, int] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    prompts: list[list[tuple[str, str]]] = field(default_factory=list)
    histories: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def reply_to(question: str) -> str:
    """What the model of the run answers."""
    return f"Reply to: {question}"


def findings(record: RunRecord) -> list[str]:
    """Everything in the record that cannot be; nothing if all is well."""
    return [
        *_torn_answers(record),
        *_lost_or_doubled(record),
        *_torn_histories(record),
        *_reordered(record),
        *_wrong_prompts(record),
    ]


def _torn_answers(record: RunRecord) -> Iterator[str]:
    """An answer belongs to its question, and a turn to one question."""
    turns = Counter(exchange.turn for exchange in record.exchanges)
    for exchange in record.exchanges:
        if exchange.answer != reply_to(exchange.question):
            yield f"torn: {exchange.question!r} was answered by {exchange.answer!r}"
        if turns[exchange.turn] > 1:
            yield f"doubled: {exchange.turn} is of more than one question"


def _lost_or_doubled(record: RunRecord) -> Iterator[str]:
    """What was answered is stored once, in its own session; nothing else is stored."""
    for session, history in record.histories.items():
        stored = Counter(text for role, text in history if role == "user")
        sent = Counter(one.question for one in record.exchanges if one.session == session)
        for question in sent - stored:
            yield f"lost: {question!r} is not in {session}"
        for question in stored - sent:
            yield f"doubled or foreign: {question!r} is in {session}"


def _torn_histories(record: RunRecord) -> Iterator[str]:
    """Each question is followed by its own reply."""
    for session, history in record.histories.items():
        for (first, question), (second, reply) in zip(history[::2], history[1::2], strict=False):
            if (first, second) != ("user", "assistant") or reply != reply_to(question):
                yield f"torn: {question!r} is followed by {reply!r} in {session}"
        if len(history) % 2:
            yield f"torn: {history[-1][1]!r} has no reply in {session}"


def _reordered(record: RunRecord) -> Iterator[str]:
    """What one client sent one after the other is stored in that order."""
    indexes = {
        text: index
        for history in record.histories.values()
        for index, (_, text) in enumerate(history)
    }
    clients: dict[tuple[str, int], list[Exchange]] = defaultdict(list)
    for exchange in record.exchanges:
        clients[exchange.session, exchange.client].append(exchange)
    for exchanges in clients.values():
        exchanges.sort(key=lambda exchange: exchange.number)
        for before, after in itertools.pairwise(exchanges):
            if indexes.get(before.question, -1) > indexes.get(after.question, len(indexes)):
                yield f"reordered: {after.question!r} is stored before {before.question!r}"


def _wrong_prompts(record: RunRecord) -> Iterator[str]:
    """The model was sent each question once, with what is stored right before it."""
    calls = Counter(prompt[-1][1] for prompt in record.prompts)
    before: dict[str, list[tuple[str, str]]] = {}
    for history in record.histories.values():
        for index, (_, text) in enumerate(history):
            before[text] = history[max(0, index - CONTEXT) : index]
    for prompt in record.prompts:
        question = prompt[-1][1]
        if calls[question] > record.attempts.get(question, 1):
            yield f"doubled: the model was sent {question!r} {calls[question]} times"
        if prompt[:-1] != before.get(question):
            yield f"wrong context: {question!r} was sent after {prompt[:-1]}"
