"""One run of a turn's model: its pieces go to the turn's stream, its end into an `Outcome`."""

import functools
from collections.abc import Awaitable

from chatkeep import telemetry
from chatkeep.domain.blocks import expanded, rendition, written_blocks
from chatkeep.domain.errors import ChatError, InternalError, ModelTimedOut
from chatkeep.domain.ids import message_id
from chatkeep.domain.model import (
    Call,
    CallKind,
    Completion,
    Message,
    MessageContent,
    Prompt,
    Role,
    Status,
)
from chatkeep.domain.times import now, rfc3339
from chatkeep.providers import Listener, Providers
from chatkeep.turns.finish import Outcome, RowState
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("turns")


async def answer(
    providers: Providers,
    stream: TurnStream,
    prompt: Awaitable[Prompt],
    *,
    calls: list[Call],
    seconds: float,
) -> Outcome:
    """Have a turn's model answer, and return how that ended: whether it answered or not.

    Args:
        providers: The models.
        stream: The turn's, which gets the pieces; stopping it stops the run.
        prompt: What the model is sent; an error while it is made is that of the turn.
        calls: Gets an entry for each call that is made, also if this is cancelled.
        seconds: What the run may take.

    """
    completion, error = Completion(), None
    try:
        listener = Listener(
            stream.append, stream.append_reasoning, functools.partial(_add_step, stream)
        )
        made = await prompt
        async with stream.time_limit(seconds):
            completion = await providers.answer(
                stream.turn.model, made, listener, kind=CallKind.REPLY, calls=calls
            )
    except ChatError as failure:
        error = failure
    except TimeoutError:
        error = stream.stop_reason or ModelTimedOut(
            "The answer took longer than the time limit of a turn."
        )
    except Exception:
        logger.exception("turn_crashed")
        error = InternalError()
    row = RowState.TAKEN if stream.is_lost else RowState.OPEN
    return Outcome(error, completion, tuple(calls), row)


def _add_step(stream: TurnStream, content: MessageContent) -> None:
    """End a message of a turn that is a step on the way to its reply."""
    role, text, blocks, _ = content
    if role is not Role.ASSISTANT and stream.segments:
        # What was streamed is what is stored, also before a result whose call nobody has seen.
        _add_step(stream, MessageContent(Role.ASSISTANT, ""))
    elif role is Role.ASSISTANT:
        text, blocks = stream.text, written_blocks(stream.segments, blocks or ())
    turn, steps = stream.turn, stream.steps
    last = steps[-1].created_at if steps else ""
    stream.complete_step(
        Message(
            id=message_id(),
            role=role,
            content=text or (rendition(blocks) if blocks and role is Role.ASSISTANT else ""),
            created_at=max(last, rfc3339(now())),
            status=Status.COMPLETED,
            turn_id=turn.turn_id,
            parent_id=steps[-1].id if steps else turn.user_message_id,
            blocks=expanded(text, blocks),
        )
    )
