"""One call of a model: its prompt sent, its stream read to the end, its silence limited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, cast

from chatkeep import telemetry
from chatkeep.domain.model import Completion, Prompt, PromptMessage, Role
from chatkeep.idle_timer import IdleTimer
from chatkeep.providers.answer import Answer, ReplyTooLongError
from chatkeep.providers.protocol import Capabilities, ProviderModel, ProviderOptions

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk

    _Stream = AsyncGenerator[AIMessageChunk, None]

logger = telemetry.logger("providers")

ROLES = {
    Role.USER: "user",
    Role.ASSISTANT: "assistant",
    # Those of imported conversations too: a tool's output belongs to the answer, and not every
    # provider accepts a system message after the first message.
    Role.SYSTEM: "user",
    Role.TOOL: "assistant",
}
"""The roles of messages by LangChain's names."""

OPENING = "(The beginning of this conversation is left out.)"

TICK_SECONDS = 1
"""How exactly silence is measured: a timer for each limit would cost more than the limits do."""

END_SECONDS = 3
"""How long a whole answer may wait for its usage and for the end of its stream."""


async def complete(model: ProviderModel, prompt: Prompt, answer: Answer) -> Completion:
    """Call a model once, and read its answer.

    Text that came before a failure is passed on too. Raises what the provider's client raises,
    and `TimeoutError` when the model is silent for too long.
    """
    try:
        async with model.client() as client:
            parameters = model.parameters(prompt)
            stream = client.astream(_messages(model, prompt), **parameters)
            await _read(stream, answer, model.options)
        return answer.end()
    except ReplyTooLongError:
        return Completion(answer.usage, "length")
    except BaseException:
        answer.pass_on_rest()
        raise


def opening(capabilities: Capabilities, first: Role) -> PromptMessage | None:
    """The message to send before a conversation whose first message has this role."""
    if capabilities.needs_user_first and first in {Role.ASSISTANT, Role.TOOL}:
        return PromptMessage(Role.USER, OPENING)
    return None


def _messages(model: ProviderModel, prompt: Prompt) -> list[tuple[str, str]]:
    """The prompt as LangChain takes it, with an opening where the provider may demand one."""
    messages = [] if prompt.system is None else [("system", prompt.system)]
    if (first := opening(model.capabilities, prompt.messages[0].role)) is not None:
        messages.append((ROLES[first.role], first.text))
    return messages + [(ROLES[role], text) for role, text in prompt.messages]


async def _read(
    stream: AsyncIterator["AIMessageChunk"], answer: Answer, options: ProviderOptions
) -> None:
    """Read a stream to its end. A failure after the last token of an answer changes nothing."""
    was_whole = False
    try:
        # A stream that is left early releases its connection.
        async with (
            _limited_silence(options.first_token_timeout) as idle,
            aclosing(cast("_Stream", stream)),
        ):
            async for chunk in stream:
                had_begun = answer.has_begun
                answer.read(chunk)
                idle.reset()
                if answer.is_whole and not was_whole:
                    was_whole = True
                    idle.set_limit(min(options.timeout, END_SECONDS))
                elif answer.has_begun and not had_begun:
                    idle.set_limit(options.timeout)
    except ReplyTooLongError:
        raise
    except Exception as error:
        if not answer.is_whole:
            raise
        logger.info("answer_ended_untidily", cause=type(error).__name__)


@asynccontextmanager
async def _limited_silence(seconds: float) -> AsyncIterator[IdleTimer]:
    """Raise `TimeoutError` in the block once the timer is not reset for so long."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        idle = IdleTimer(seconds, lambda: limit.reschedule(loop.time()), tick=TICK_SECONDS)
        try:
            yield idle
        finally:
            idle.stop()
