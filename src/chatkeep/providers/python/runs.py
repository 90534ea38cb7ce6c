"""One run of an object: from the messages that it gets to the messages that come of it."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import LLMResult

from chatkeep.providers.python.graphs import GraphRun, is_graph
from chatkeep.providers.python.loop_thread import iterate_on
from chatkeep.providers.python.pieces import Output
from chatkeep.providers.python.plain import PlainRun
from chatkeep.providers.python.requests import RunRequest

__all__ = ["RunRequest", "stream"]


async def stream(target: object, request: RunRequest) -> AsyncGenerator[Output, None]:
    """Run an object once, on this event loop, and yield what comes of it.

    An `AIMessageChunk` is the next piece of the message under way: text, reasoning, or both. An
    `AIMessage` has tool calls, and closes the message under way as a step: its text came before in
    pieces, and counts as it came. A `ToolMessage` is a step by itself. Both have an id. After all
    of them comes one chunk without content: it has the tokens of all calls of models as
    `usage_metadata`, if any is known, and in `response_metadata` the `finish_reason`, which is
    `stop`, or `interrupt` if the object waits for the session's next message.

    Closing or cancelling the generator cancels the run, and waits for its end for a bounded time.
    What the object raises is raised unchanged.

    Args:
        target: What `loading.resolve` returned.
        request: The messages, and the turn.

    """
    usage = _UsageCounter()
    run = GraphRun(target, request) if is_graph(target) else PlainRun(target, request)
    config = request.config
    config["callbacks"] = [usage]
    # In a task of its own: that is what a cancellation reaches, wherever the object waits.
    loop = asyncio.get_running_loop()
    async with aclosing(iterate_on(loop, lambda: run.outputs(config))) as outputs:
        async for output in outputs:
            yield output
    yield AIMessageChunk(
        content="",
        usage_metadata=usage.total or run.usage,
        response_metadata={"finish_reason": run.finish_reason},
    )


class _UsageCounter(BaseCallbackHandler):
    """Sums the tokens of all calls, hidden ones too.

    LangChain's `UsageMetadataCallbackHandler` leaves out the models that do not say their name.
    """

    run_inline = True
    """Called where the model is, not in another thread."""

    def __init__(self) -> None:
        self.total: UsageMetadata | None = None
        self._lock = threading.Lock()

    # `Any`: ids and tags, which each version of LangChain has others of.
    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Add the tokens of a call. Nodes that are not async call it in threads."""
        for generations in response.generations:
            message = getattr(generations[0], "message", None) if generations else None
            if isinstance(message, AIMessage) and message.usage_metadata is not None:
                with self._lock:
                    self.total = add_usage(self.total, message.usage_metadata)
