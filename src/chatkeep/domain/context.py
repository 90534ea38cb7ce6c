"""What a model is sent of a conversation. Pure: no clock, no I/O."""

from collections.abc import Iterable

from chatkeep.domain.blocks import Blocks, ToolResult, result_block, tool_calls, tool_result
from chatkeep.domain.model import MessageContent, Role

UNANSWERED = "(This call was not answered.)"
"""In place of a result that never came: its turn was cancelled, or its client went away."""


def paired(messages: Iterable[MessageContent]) -> tuple[MessageContent, ...]:
    """The messages with each call of a tool followed by its result, and no result without a call.

    Providers refuse a conversation in which that is not so, and would refuse it for ever. A call
    without a result gets `UNANSWERED`; a result without its call is sent as a mere text; an id that
    an earlier call had too is replaced.
    """
    pairing = _Pairing()
    for message in messages:
        pairing.add(message)
    return pairing.end()


class _Pairing:
    def __init__(self) -> None:
        self._sent: list[MessageContent] = []
        # Calls of the newest message without a result yet: the id that each is sent with, its name.
        self._pending: dict[str, tuple[str, str]] = {}
        self._ids: set[str] = set()

    def add(self, message: MessageContent) -> None:
        result = tool_result(message.blocks)
        if result is not None and result.call_id in self._pending:
            call_id, name = self._pending.pop(result.call_id)
            answer = result_block(ToolResult(call_id, result.name or name, result.is_error))
            self._sent.append(message._replace(blocks=(answer,)))
            return
        self._answer_pending()
        if result is not None:
            self._sent.append(message._replace(blocks=None))
        elif calls := tool_calls(message.blocks):
            self._pending = {call.id: (self._unique(call.id), call.name) for call in calls}
            self._sent.append(message._replace(blocks=self._renamed(message.blocks or ())))
        else:
            self._sent.append(message)

    def end(self) -> tuple[MessageContent, ...]:
        self._answer_pending()
        return tuple(self._sent)

    def _answer_pending(self) -> None:
        for call_id, name in self._pending.values():
            answer = result_block(ToolResult(call_id, name, is_error=True))
            self._sent.append(MessageContent(Role.TOOL, UNANSWERED, (answer,)))
        self._pending = {}

    def _unique(self, call_id: str) -> str:
        """The id, or one like it that no call before has. Some models number their calls anew."""
        unique, number = call_id, 2
        while unique in self._ids:
            unique, number = f"{call_id}-{number}", number + 1
        self._ids.add(unique)
        return unique

    def _renamed(self, blocks: Blocks) -> Blocks:
        return tuple(
            {**block, "id": self._pending[block["id"]][0]}
            if block["type"] == "tool_call"
            else block
            for block in blocks
        )
