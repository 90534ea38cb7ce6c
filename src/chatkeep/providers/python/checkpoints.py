"""Where a run of a graph begins: with what input, from which checkpoint of its thread."""

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import RunnableConfig

from chatkeep.domain.context import UNANSWERED
from chatkeep.providers.python.interrupts import Interrupt, resume
from chatkeep.providers.python.requests import RunRequest


class Snapshot(Protocol):
    """A state of a thread, as LangGraph has it."""

    # `Any`: a state is whatever the graph's author defined.
    values: Any
    next: tuple[str, ...]
    config: RunnableConfig
    metadata: Mapping[str, Any] | None
    interrupts: Sequence[Interrupt]


class Graph(Protocol):
    """What is used of a compiled graph, so that LangGraph need not be installed."""

    checkpointer: object
    channels: Mapping[str, object]

    # `Any`: LangGraph's events are as its modes and the graph's author define them.
    def astream(
        self, state: object, /, config: RunnableConfig, *, stream_mode: list[str], **options: object
    ) -> AsyncGenerator[tuple[str, Any], None]:
        """Run the graph."""

    async def aget_state(self, config: RunnableConfig) -> Snapshot:
        """Read the newest state of a thread, or the one that the configuration names."""

    def aget_state_history(
        self, config: RunnableConfig, **options: object
    ) -> AsyncIterator[Snapshot]:
        """Read states of a thread, newest first: `limit` of them, that match a `filter`."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a run begins."""

    input: object
    config: RunnableConfig
    known: frozenset[str]
    """The ids of the messages that were there before the turn."""
    finished: tuple[BaseMessage, ...] = ()
    """What a former attempt of the turn has written into the state."""
    is_over: bool = False
    """True if that attempt had come to the graph's end, so that nothing is left to run."""


def has_checkpointer(graph: Graph) -> bool:
    """True if the graph has a checkpointer of its own; `True` stands for that of a parent graph."""
    return graph.checkpointer is not None and not isinstance(graph.checkpointer, bool)


async def find_start(graph: Graph, request: RunRequest, config: RunnableConfig) -> Start:
    """Decide how a run begins.

    A thread that knows the messages before the turn gets the new ones only. It goes on from the
    last checkpoint of the turn before, which LangGraph forks where the thread has gone on from
    there: on another branch of the session. A thread that does not know them (an imported
    conversation, a checkpointer that lost them) gets all messages, and none of what it knows.
    """
    known = frozenset(message.id for message in request.messages if message.id)
    if not has_checkpointer(graph):
        return Start(_input(graph, request, request.messages), config, known)
    newest = await graph.aget_state(config)
    parent = await _checkpoint_of(graph, config, request.parent_turn_id, newest)
    if parent is not None:
        known |= {message.id for message in messages_in(parent.values) if message.id}
    if request.attempt > 1:
        own = await _checkpoint_of(graph, config, request.turn_id, newest)
        if own is not None and (start := _resumed(own, newest, config, known)) is not None:
            return start
    if parent is None:
        empty = _at(config, str(request.run_id)) if newest.metadata is not None else config
        return Start(_input(graph, request, request.messages), empty, known)
    if parent.interrupts:
        if parent is not newest:
            await _ask_again(graph, parent, config, request.parent_turn_id)
        # LangGraph is there: the graph is its own.
        command = importlib.import_module("langgraph.types").Command
        return Start(command(resume=resume(parent.interrupts, request.text)), config, known)
    return Start(_next_input(graph, request, parent), _from(parent, newest, config), known)


def messages_in(update: object) -> Iterator[BaseMessage]:
    """Yield the messages in a state, or in what a node has written into it."""
    if isinstance(update, BaseMessage):
        yield update
    elif isinstance(update, list | tuple):
        for one in update:
            yield from messages_in(one)
    elif isinstance(update, Mapping):
        for key, value in update.items():
            yield from _messages(value, is_converted=key == "messages")


def _messages(value: object, *, is_converted: bool) -> Iterator[BaseMessage]:
    """Yield the messages that a key of a state has: one, or a list of them.

    Args:
        value: The key's value.
        is_converted: Whether LangGraph makes messages of other forms: dicts, texts and pairs.

    """
    value = getattr(value, "value", value)  # LangGraph's `Overwrite`
    values = value if isinstance(value, list) else [value]
    for one in values:
        if isinstance(one, BaseMessage):
            yield one
        elif is_converted and isinstance(one, dict | tuple):
            with suppress(ValueError, NotImplementedError):  # no message: the reducer is another
                yield from convert_to_messages([one])


def _resumed(
    own: Snapshot, newest: Snapshot, config: RunnableConfig, known: frozenset[str]
) -> Start | None:
    """Go on where a former attempt of the turn stopped, or return `None` if it left nothing."""
    finished = tuple(message for message in messages_in(own.values) if message.id not in known)
    if not own.next and not finished:
        return None
    return Start(None, _from(own, newest, config), known, finished, is_over=not own.next)


async def _ask_again(
    graph: Graph, parent: Snapshot, config: RunnableConfig, turn_id: str | None
) -> None:
    """Run into interrupts again that have an answer on another branch: it would be used here too.

    The checkpoint that comes of it belongs to the turn that was interrupted.
    """
    config = _at(config, parent.config["configurable"]["checkpoint_id"])
    config["configurable"]["turn_id"] = turn_id
    config["metadata"] = {**config["metadata"], "turn_id": turn_id}
    async for _ in graph.astream(None, config, stream_mode=["updates"], durability="sync"):
        pass


def _next_input(graph: Graph, request: RunRequest, parent: Snapshot) -> object:
    """Return the new messages, and what the thread lacks to go on with them."""
    stored = list(messages_in(parent.values))
    ids = {message.id for message in stored}
    # A system message elsewhere than first is an error for some models: it is only replaced.
    system = [
        message
        for message in request.messages
        if isinstance(message, SystemMessage) and message.id in ids
    ]
    return _input(graph, request, [*_missing_results(stored), *system, *request.new_messages])


def _missing_results(messages: list[BaseMessage]) -> list[ToolMessage]:
    """Return results for calls that a cancelled or failed turn left open: models demand them."""
    answered: set[str] = set()
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            calls = message.tool_calls if isinstance(message, AIMessage) else []
            break
        answered.add(message.tool_call_id)
    else:
        return []
    return [
        ToolMessage(UNANSWERED, tool_call_id=call["id"], name=call["name"], status="error")
        for call in calls
        if call["id"] not in answered
    ]


def _input(graph: Graph, request: RunRequest, messages: Sequence[BaseMessage]) -> object:
    # `__start__` stands for all keys of the input, whose schema may have others.
    if "messages" in graph.channels or not {"input", "history"} & set(graph.channels):
        return {"messages": list(messages)}
    return {"input": request.text, "history": list(request.messages[:-1])}


async def _checkpoint_of(
    graph: Graph, config: RunnableConfig, turn_id: str | None, newest: Snapshot
) -> Snapshot | None:
    """Return the last checkpoint that a turn has written, or `None`."""
    if turn_id is None or newest.metadata is None:
        return None
    if newest.metadata.get("turn_id") == turn_id:
        return newest
    async for snapshot in graph.aget_state_history(config, filter={"turn_id": turn_id}, limit=1):
        return snapshot
    return None


def _from(snapshot: Snapshot, newest: Snapshot, config: RunnableConfig) -> RunnableConfig:
    """Configure a run that goes on from a checkpoint; from the newest LangGraph does by itself."""
    checkpoint_id = snapshot.config["configurable"]["checkpoint_id"]
    if checkpoint_id == newest.config["configurable"]["checkpoint_id"]:
        return config
    return _at(config, checkpoint_id)


def _at(config: RunnableConfig, checkpoint_id: str) -> RunnableConfig:
    """Configure a run from a checkpoint; with an id that does not exist it begins empty."""
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": checkpoint_id}}
