"""Runs of all objects that are no graphs: chat models, chains, functions, generators."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import (
    LC_ID_PREFIX,
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks, add_usage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import ensure_config, run_in_executor
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.utils import accepts_config, is_async_callable

from chatkeep.providers.python.daemon_threads import DaemonThreads
from chatkeep.providers.python.pieces import (
    Output,
    answer_of,
    calling_step,
    piece,
    result_step,
    text_of,
)
from chatkeep.providers.python.requests import RunRequest

Value = Any
"""What an object takes or gives. Nobody who loads it by its name can know more of it."""


class PlainRun:
    """A run of a Runnable or of a function."""

    finish_reason = "stop"

    def __init__(self, target: object, request: RunRequest) -> None:
        """See `runs.stream`."""
        messages = list(request.messages)
        self._input: object = messages
        if not isinstance(target, Runnable):
            self._runnable: Runnable[Value, Value] = as_runnable(
                cast("Callable[..., Value]", target)
            )
        else:
            self._runnable = target
            if not reads_messages(target):
                history = messages[:-1]
                self._input = {"messages": messages, "input": request.text, "history": history}
        self._reader = _ValueReader()

    @property
    def usage(self) -> UsageMetadata | None:
        """The tokens of the messages that came, for objects that call no model of LangChain's."""
        return self._reader.usage

    async def outputs(self, config: RunnableConfig) -> AsyncGenerator[Output, None]:
        """Yield pieces and steps. See `runs.stream`."""
        async with _closed_after(self._runnable.astream(self._input, config)) as values:
            async for streamed in values:
                value = streamed.value if isinstance(streamed, _Item) else streamed
                for output in self._reader.read(value):
                    yield output
        for output in self._reader.end():
            yield output


def reads_messages(target: Runnable[Value, Value]) -> bool:
    """True if what comes first in a chain is a language model, which gets the messages as a list.

    Anything else gets a dict: `messages` are all, `input` is the newest one's text, `history` are
    those before it.
    """
    if isinstance(target, RunnableSequence):
        return reads_messages(target.first)
    if isinstance(target, RunnableBindingBase):
        return reads_messages(target.bound)
    if isinstance(target, RunnableWithFallbacks):
        return reads_messages(target.runnable)
    if isinstance(target, DynamicRunnable):
        return reads_messages(target.default)
    return isinstance(target, BaseLanguageModel)


@dataclass(frozen=True, slots=True)
class _Item:
    """A value of a function, hidden from LangChain, which adds up all that is streamed.

    The sum of a chunk and of a tool's result is a prompt, and a prompt would be run.
    """

    value: Value


def as_runnable(function: Callable[..., Value]) -> Runnable[Value, _Item]:
    """Make a Runnable of a chat function or of an (async) generator function.

    It is called with the messages, and with the configuration of the run if it has a parameter
    `config`. Models that it calls are counted and traced. One that is not async runs in a thread.
    """

    async def generate(messages: list[BaseMessage]) -> AsyncGenerator[_Item, None]:
        config = ensure_config()  # of the run, which LangChain has put into the context
        call = partial(function, messages)
        if accepts_config(function):
            call = partial(call, config=config)
        # A generator function does nothing yet, and an async function does not block.
        is_generator = inspect.isgeneratorfunction(function)
        starts_at_once = is_generator or inspect.isasyncgenfunction(function)
        if starts_at_once or is_async_callable(function):
            value = call()
        else:
            value = await run_in_executor(config, call)
        if inspect.isawaitable(value):
            value = await value
        async with aclosing(_unrolled(value)) as values:
            async for one in values:
                yield _Item(one)

    return RunnableLambda(generate, name=getattr(function, "__name__", type(function).__name__))


@asynccontextmanager
async def _closed_after(values: AsyncIterator[Value]) -> AsyncIterator[AsyncIterator[Value]]:
    """Close an iterator in the end, if it can be closed: its run is cancelled by that."""
    try:
        yield values
    finally:
        if (close := getattr(values, "aclose", None)) is not None:
            await close()


async def _iterated(iterator: Iterator[Value]) -> AsyncGenerator[Value, None]:
    """Iterate in one thread from beginning to end."""
    loop, end, context = asyncio.get_running_loop(), object(), copy_context()
    step = partial(next, iterator, end)
    executor = DaemonThreads(1, "python-models-generator")
    try:
        while True:
            value = await loop.run_in_executor(executor, context.run, step)
            if value is end:
                break
            yield value
    finally:
        if (close := getattr(iterator, "close", None)) is not None:
            executor.submit(context.run, close)
        executor.shutdown(wait=False)


async def _unrolled(value: Value) -> AsyncGenerator[Value, None]:
    """Yield the values of a generator or of a list of messages that a function returned."""
    if isinstance(value, AsyncIterator):
        async with _closed_after(value):
            async for inner in value:
                yield inner
    elif isinstance(value, Iterator):
        async with aclosing(_iterated(value)) as inner_values:
            async for inner in inner_values:
                yield inner
    elif isinstance(value, list) and value and all(isinstance(one, BaseMessage) for one in value):
        for inner in value:
            yield inner
    else:
        yield value


class _ValueReader:
    """Makes outputs of the values that an object streams."""

    def __init__(self) -> None:
        self.usage: UsageMetadata | None = None
        self._chunks: list[AIMessageChunk] = []
        """Those of the message under way."""
        self._streamed: set[str] = set()
        self._rest: Value = None
        """Values that are neither texts nor messages, added up as LangChain does it."""
        self._last: Output | None = None

    def read(self, value: object) -> Iterator[Output]:
        """Yield what can be yielded of the next value."""
        for output in self._outputs(value):
            self._last = output
            yield output

    def end(self) -> Iterator[Output]:
        """Yield what is left: calls, and the text of values that are no outputs."""
        for output in self._called():
            self._last = output
            yield output
        text = text_of(self._rest) if self._last is None else ""
        if isinstance(self._last, ToolMessage):
            text = self._last.text
        if text:
            yield AIMessageChunk(content=text)

    def _outputs(self, value: object) -> Iterator[Output]:
        if isinstance(value, str):
            if value:
                yield AIMessageChunk(content=value)
        elif isinstance(value, AIMessageChunk):
            yield from self._chunk(value)
        elif isinstance(value, BaseMessage):
            yield from self._message(value)
        elif isinstance(value, dict) and "messages" not in value and answer_of(value) is not None:
            yield from self._outputs(answer_of(value))
        else:
            self._rest = _sum(self._rest, value)

    def _chunk(self, chunk: AIMessageChunk) -> Iterator[Output]:
        self._count(chunk)
        if self._chunks and _are_of_two(self._chunks[-1].id, chunk.id):
            yield from self._called()
        if chunk.id is not None:
            self._streamed.add(chunk.id)
        self._chunks.append(chunk)
        if (output := piece(chunk)) is not None:
            yield output
        if chunk.chunk_position == "last":
            yield from self._called()

    def _message(self, message: BaseMessage) -> Iterator[Output]:
        called = list(self._called())
        yield from called
        if isinstance(message, ToolMessage):
            yield result_step(message)
            return
        is_new = message.id not in self._streamed
        if is_new and (output := piece(message)) is not None:
            yield output
        if isinstance(message, AIMessage):
            if is_new:
                self._count(message)
            # Its text may have been streamed without its calls.
            if message.tool_calls and (is_new or not called):
                yield calling_step(message)

    def _called(self) -> Iterator[Output]:
        """Yield the message that was under way, if it calls tools."""
        chunks, self._chunks = self._chunks, []
        if any(chunk.tool_call_chunks for chunk in chunks):
            whole = add_ai_message_chunks(chunks[0], *chunks[1:])
            if whole.tool_calls:
                yield calling_step(whole)

    def _count(self, message: AIMessage) -> None:
        if message.usage_metadata is not None:
            self.usage = add_usage(self.usage, message.usage_metadata)


def _are_of_two(first: str | None, second: str | None) -> bool:
    """True if two chunks with these ids are of two messages.

    One message may have chunks with the provider's id, and others with LangChain's.
    """
    are_langchains = {(chunk_id or "").startswith(LC_ID_PREFIX) for chunk_id in (first, second)}
    return first != second and len(are_langchains) == 1


def _sum(total: Value, value: Value) -> Value:
    try:
        return value if total is None else total + value
    except TypeError:
        return value
