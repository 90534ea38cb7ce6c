"""What a model is sent of a conversation. Pure: no clock, no I/O."""

from collections.abc import Iterable

from chatkeep.domain.blocks import ToolResult, result_block, tool_calls, tool_result
from chatkeep.domain.model import MessageContent, Role

UNANSWERED = "(This call was not answered.)"
"""In place of a result that never came: its turn was cancelled, or its client went away."""


def paired(messages: Iterable[MessageContent]) -> tuple[MessageContent, ...]:
    """The messages with each call of a tool followed by its result, and no result without a call.

    Providers refuse a conversation in which that is not so, and would refuse it for ever. A call
    without a result gets `UNANSWERED`; a result without its call is sent as a mere text.
    """
    sent: list[MessageContent] = []
    # Calls of the newest message that have no result yet, by their id.
    pending: dict[str, str] = {}
    for message in messages:
        if message.blocks is None:
            is_result, result = False, None
        else:
            result = tool_result(message.blocks)
            is_result = result is not None and result.call_id in pending
        if result is not None and is_result:
            del pending[result.call_id]
        elif pending:
            sent += _unanswered(pending)
            pending = {}
        if result is not None and not is_result:
            sent.append(message._replace(blocks=None))
        else:
            sent.append(message)
            pending = pending or {call.id: call.name for call in tool_calls(message.blocks)}
    sent += _unanswered(pending)
    return tuple(sent)


def _unanswered(pending: dict[str, str]) -> list[MessageContent]:
    return [
        MessageContent(
            Role.TOOL, UNANSWERED, (result_block(ToolResult(call_id, name, is_error=True)),)
        )
        for call_id, name in pending.items()
    ]
