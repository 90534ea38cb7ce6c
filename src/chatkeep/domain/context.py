"""What a model is sent of a conversation. Pure: no clock, no I/O."""

import re
from collections.abc import Iterable

from chatkeep.domain.blocks import (
    Blocks,
    ToolCall,
    ToolResult,
    call_block,
    result_block,
    tool_calls,
    tool_result,
)
from chatkeep.domain.model import MessageContent, Role

_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")
MAX_ID_CHARS, MAX_NAME_CHARS = 40, 64
"""Of a call's id and of a tool's name: what OpenAI takes, and Anthropic's characters."""

UNANSWERED = "(This call was not answered.)"
"""In place of a result that never came: its turn was cancelled, or its client went away."""


def paired(messages: Iterable[MessageContent]) -> tuple[MessageContent, ...]:
    """The messages with each call of a tool followed by its result, and no result without a call.

    Providers refuse a conversation in which that is not so, and would refuse it for ever. A call
    without a result gets `UNANSWERED`; a result without its call is sent as a mere text. Ids and
    names that not every provider accepts are replaced: models write them, and number them anew.
    """
    pairing = _Pairing()
    for message in messages:
        pairing.add(message)
    return pairing.end()


class _Pairing:
    def __init__(self) -> None:
        self._sent: list[MessageContent] = []
        # Calls of the newest message without a result yet: the id that each is sent with, its name.
        self._pending: dict[str, ToolCall] = {}
        self._ids: set[str] = set()

    def add(self, message: MessageContent) -> None:
        result = tool_result(message.blocks)
        if result is not None and result.call_id in self._pending:
            call = self._pending.pop(result.call_id)
            answer = result_block(ToolResult(call.id, call.name, result.is_error))
            self._sent.append(message._replace(blocks=(answer,)))
            return
        self._answer_pending()
        if result is not None:
            self._sent.append(message._replace(blocks=None))
        elif message.role is Role.ASSISTANT and (calls := tool_calls(message.blocks)):
            self._pending = {call.id: self._accepted(call) for call in calls}
            self._sent.append(message._replace(blocks=self._renamed(message.blocks or ())))
        else:
            self._sent.append(message)

    def end(self) -> tuple[MessageContent, ...]:
        self._answer_pending()
        return tuple(self._sent)

    def _answer_pending(self) -> None:
        for call in self._pending.values():
            answer = result_block(ToolResult(call.id, call.name, is_error=True))
            self._sent.append(MessageContent(Role.TOOL, UNANSWERED, (answer,)))
        self._pending = {}

    def _accepted(self, call: ToolCall) -> ToolCall:
        """The call with an id that no call before has, and a name, as every provider takes them."""
        cleaned = _REFUSED.sub("_", call.id)[:MAX_ID_CHARS] or "call"
        call_id, number = cleaned, 2
        while call_id in self._ids:
            suffix = f"-{number}"
            call_id, number = cleaned[: MAX_ID_CHARS - len(suffix)] + suffix, number + 1
        self._ids.add(call_id)
        return call._replace(id=call_id, name=_REFUSED.sub("_", call.name)[:MAX_NAME_CHARS] or "_")

    def _renamed(self, blocks: Blocks) -> Blocks:
        return tuple(
            call_block(self._pending[block["id"]]) if block["type"] == "tool_call" else block
            for block in blocks
        )
