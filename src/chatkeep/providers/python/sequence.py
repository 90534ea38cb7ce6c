"""One order for the messages of a graph, whose nodes may write several at the same time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from chatkeep.providers.python.pieces import Output, calling_step, piece, result_step

SEPARATOR = "\n\n"
"""Between the texts of two messages of one reply."""


@dataclass(slots=True)
class _Pending:
    """A message that is not whole yet, or that waits for one before it."""

    task: str
    outputs: list[Output] = field(default_factory=list)
    """What was not yielded yet."""
    is_held: bool = False
    """Whether it began between calls and their results."""
    has_begun: bool = False
    """Whether something of it was yielded."""
    has_calls: bool = False
    is_whole: bool = False
    """Whether its last piece has come."""
    is_settled: bool = False
    """Whether it is in the state, or its task has ended."""


class MessageSequence:
    """Brings the outputs of simultaneous messages one after another.

    Pieces of the first message pass through at once. Those of another are buffered until the first
    is whole: after its last piece, or, if it calls tools, when its node has written it into the
    state or has ended without doing so. Between calls and their results pieces are buffered until
    their task has ended: they may be those of a model that a tool calls, which are dropped. Each
    method returns what may be yielded now.
    """

    def __init__(self, known: Iterable[str]) -> None:
        """Take the ids of the messages that were there before: nodes may return them again."""
        self._pending: dict[str, _Pending] = {}
        self._calls: dict[int, tuple[object, str]] = {}
        """The message of each call of a model, by the identity of an object that is held here."""
        self._keys: dict[str, str] = {}
        """The first id of each message, by all of its ids."""
        self._streamed = set(known)
        self._steps = set(self._streamed)
        self._open_calls: set[str | None] = set()
        self._text_of: str | None = None
        """The message whose text was yielded since the last step."""

    def add_piece(self, message: AIMessage, task: str, call: object) -> list[Output]:
        """Add a chunk, or a whole message that no node has written into the state yet.

        Args:
            message: With an id.
            task: The task of the graph that the model was called in.
            call: The same object for all chunks of one call of a model. Their ids may differ: one
                may have the provider's, the others LangChain's.

        """
        is_chunk = isinstance(message, AIMessageChunk)
        key = self._key(message.id or "", call if is_chunk else message)
        if key in self._streamed and key not in self._pending:
            return []
        is_held = bool(self._open_calls)
        pending = self._pending.setdefault(key, _Pending(task, is_held=is_held))
        self._streamed.add(key)
        if (output := piece(message)) is not None:
            pending.outputs.append(output)
        pending.has_calls |= bool(message.tool_calls)
        is_last = True
        if isinstance(message, AIMessageChunk):
            pending.has_calls |= bool(message.tool_call_chunks)
            is_last = message.chunk_position == "last"
        pending.is_whole = is_last
        return self._ready()

    def add_messages(self, messages: Iterable[BaseMessage]) -> list[Output]:
        """Add messages as a node has written them into the state, in the order that they have."""
        for message in messages:
            key = self._keys.get(message.id or "", message.id) or str(uuid4())
            if key in self._pending and not self._pending[key].has_begun:
                self._pending[key] = self._pending.pop(key)
            if isinstance(message, ToolMessage):
                self._add_step(key, result_step(message))
            elif isinstance(message, AIMessage):
                self._add_text(key, message)
                if message.tool_calls:
                    self._add_step(key, calling_step(message))
        return self._ready()

    def end_task(self, task: str, *, has_results: bool) -> list[Output]:
        """Release the messages of a task that has ended. Calls that no state has are dropped.

        Args:
            task: Its id.
            has_results: Whether it has written what tools returned: of such a task, messages that
                no state has and of which nothing was yielded are dropped.

        """
        for key, pending in list(self._pending.items()):
            if pending.task == task:
                is_inner = has_results and not (pending.is_settled or pending.has_begun)
                pending.is_settled = True
                if is_inner:
                    del self._pending[key]
        return self._ready()

    def end(self) -> list[Output]:
        """Release all that is left: nothing more comes."""
        for pending in self._pending.values():
            pending.is_settled = True
        return self._ready()

    def _key(self, message_id: str, call: object) -> str:
        _, key = self._calls.get(id(call), (None, message_id))
        if key not in self._pending:
            key = message_id
        self._calls[id(call)] = (call, key)
        return self._keys.setdefault(message_id, key)

    def _add_text(self, key: str, message: AIMessage) -> None:
        if key not in self._streamed:
            self._streamed.add(key)
            output = piece(message)
            self._pending[key] = _Pending("", [output] if output is not None else [])
        if key in self._pending:
            self._pending[key].is_settled = True

    def _add_step(self, key: str, step: AIMessage | ToolMessage) -> None:
        if key not in self._steps:
            self._steps.add(key)
            if isinstance(step, ToolMessage):
                self._open_calls.discard(step.tool_call_id)
            else:
                self._open_calls.update(call["id"] for call in step.tool_calls)
            pending = self._pending.setdefault(key, _Pending(""))
            pending.outputs.append(step)
            pending.is_settled = True

    def _ready(self) -> list[Output]:
        ready: list[Output] = []
        for key, pending in list(self._pending.items()):
            if pending.is_held and not pending.is_settled:
                continue
            for output in pending.outputs:
                ready.extend(self._separated(key, output))
            pending.has_begun |= bool(pending.outputs)
            pending.outputs.clear()
            if not (pending.is_settled or (pending.is_whole and not pending.has_calls)):
                break
            del self._pending[key]
        return ready

    def _separated(self, key: str, output: Output) -> Iterator[Output]:
        if isinstance(output, AIMessageChunk):
            if output.text:
                if self._text_of not in {None, key}:
                    yield AIMessageChunk(content=SEPARATOR, id=key)
                self._text_of = key
        else:
            self._text_of = None
        yield output
