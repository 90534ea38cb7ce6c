"""Runs of LangGraph's graphs: agents too, which are graphs."""

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, TypeGuard

from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.runnables import RunnableConfig

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.python.checkpoints import (
    Graph,
    find_start,
    has_checkpointer,
    messages_in,
)
from chatkeep.providers.python.interrupts import Interrupt, question
from chatkeep.providers.python.pieces import Output, text_of
from chatkeep.providers.python.requests import RunRequest
from chatkeep.providers.python.sequence import SEPARATOR, MessageSequence

MODES = ["messages", "updates", "tasks"]
"""Pieces of messages as they come; what nodes have written into the state; the ends of nodes."""

Event = Any
"""What the graph streams: what it is depends on the mode, and on the graph's author."""


def is_graph(target: object) -> TypeGuard[Graph]:
    """True for a compiled graph. Whoever has one has imported LangGraph."""
    pregel = sys.modules.get("langgraph.pregel")
    return pregel is not None and isinstance(target, pregel.Pregel)


class GraphRun:
    """A run of a compiled graph.

    A message that a node writes into the state under any key is a message of the reply or a step.
    So is the text of every model that a node calls, as LangGraph streams them, except those that
    tools call and calls with the tag `nostream`. Messages of a subgraph count once its node has
    written them into the state.
    """

    usage = None

    def __init__(self, graph: Graph, request: RunRequest) -> None:
        """See `runs.stream`."""
        self.finish_reason = "stop"
        self._graph = graph
        self._request = request
        self._sequence = MessageSequence(())
        self._interrupts: list[Interrupt] = []
        self._last: Output | None = None
        """The last step, or the last piece that has text."""
        self._last_update: Event = None

    async def outputs(self, config: RunnableConfig) -> AsyncGenerator[Output, None]:
        """Yield pieces and steps. See `runs.stream`."""
        start = await find_start(self._graph, self._request, config)
        self._sequence = MessageSequence(start.known)
        for output in self._sequence.add_messages(start.finished):
            yield self._noted(output)
        if not start.is_over:
            # A node that has ended must be stored before the next one has its side effects.
            options = {"durability": "sync"} if has_checkpointer(self._graph) else {}
            events = self._graph.astream(start.input, start.config, stream_mode=MODES, **options)
            async with aclosing(events):
                async for mode, event in events:
                    for output in self._outputs(mode, event):
                        yield self._noted(output)
        for output in self._sequence.end():
            yield self._noted(output)
        if text := self._closing_text():
            yield AIMessageChunk(content=text)

    def _outputs(self, mode: str, event: Event) -> Iterator[Output]:
        if mode == "messages":
            message, metadata = event
            if isinstance(message, AIMessage):
                task = _task_of(metadata["langgraph_checkpoint_ns"])
                yield from self._sequence.add_piece(message, task, metadata)
            elif isinstance(message, ToolMessage):
                yield from self._sequence.add_messages([message])
        elif mode == "tasks":
            if "result" in event:
                written = messages_in(event["result"])
                has_results = any(isinstance(message, ToolMessage) for message in written)
                yield from self._sequence.end_task(event["id"], has_results=has_results)
        else:
            for node, update in event.items():
                yield from self._update(node, update)

    def _update(self, node: str, update: Event) -> Iterator[Output]:
        if node == "__interrupt__":
            known = {interrupt.id for interrupt in self._interrupts}
            self._interrupts.extend(one for one in update if one.id not in known)
        elif not node.startswith("__"):
            self._last_update = update
            yield from self._sequence.add_messages(messages_in(update))

    def _noted(self, output: Output) -> Output:
        if output.text or not isinstance(output, AIMessageChunk):
            self._last = output
        return output

    def _closing_text(self) -> str:
        """Return the text that follows the last message, if any.

        Raises:
            ModelMisconfigured: The graph waits for an answer that it could not go on with.

        """
        has_text = isinstance(self._last, AIMessageChunk)
        if self._interrupts:
            if not has_checkpointer(self._graph):
                raise ModelMisconfigured("The graph has an interrupt, and no checkpointer for it.")
            self.finish_reason = "interrupt"
            questions = [question(interrupt.value) for interrupt in self._interrupts]
            return (SEPARATOR if has_text else "") + SEPARATOR.join(questions)
        if isinstance(self._last, ToolMessage):
            # A tool with `return_direct`, or the one that LangChain's agents answer in a form by.
            return _form(self._last_update) or self._last.text
        return text_of(self._last_update) if self._last is None else ""


def _form(update: object) -> str:
    form = update.get("structured_response") if isinstance(update, Mapping) else None
    return text_of(form)


def _task_of(namespace: str) -> str:
    """Return the id of a task; what it calls has namespaces below its own: `node:id|call:id`."""
    return namespace.partition("|")[0].rpartition(":")[2]
