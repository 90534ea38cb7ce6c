"""One call of a model: its prompt sent, its stream read to the end, its silence limited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, cast

from chatkeep import telemetry
from chatkeep.domain.model import Completion, Prompt
from chatkeep.idle_timer import IdleTimer
from chatkeep.providers.answer import Answer, ReplyTooLongError
from chatkeep.providers.protocol import Output, ProviderModel, SilenceLimits

if TYPE_CHECKING:
    _Stream = AsyncGenerator[Output, None]

logger = telemetry.logger("providers")

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
        async with model.stream(prompt) as stream:
            await _read(stream, answer, model.silence_limits)
        return answer.end()
    except ReplyTooLongError:
        return Completion(answer.usage, "length")
    except BaseException:
        answer.pass_on_rest()
        raise


async def _read(stream: AsyncIterator[Output], answer: Answer, limits: SilenceLimits) -> None:
    """Read a stream to its end. A failure after the last token of an answer changes nothing."""
    was_whole = False
    try:
        # A stream that is left early releases its connection.
        async with (
            _limited_silence(limits.first) as idle,
            aclosing(cast("_Stream", stream)),
        ):
            async for chunk in stream:
                had_begun = answer.has_begun
                answer.read(chunk)
                idle.reset()
                if answer.is_whole and not was_whole:
                    was_whole = True
                    idle.set_limit(min(limits.next, END_SECONDS))
                elif answer.has_begun and not had_begun:
                    idle.set_limit(limits.next)
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
