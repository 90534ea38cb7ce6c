"""Calls of tools that a branch ends with, and the results that answer them."""

from collections.abc import Iterable

import sqlalchemy as sa

from chatkeep.domain.blocks import load, tool_calls, tool_result
from chatkeep.domain.errors import InvalidRequest
from chatkeep.domain.model import MessageContent
from chatkeep.store import rows


def check_results(
    conn: sa.Connection,
    *,
    session_pk: int | None,
    head_seq: int | None,
    messages: Iterable[MessageContent],
    pointer: str,
) -> None:
    """Check that each result answers a call that its branch ends with, or one that came before it.

    A result whose call is not there would make the conversation one that no provider accepts.

    Args:
        conn: The connection.
        session_pk: The session; `None` if it does not exist yet.
        head_seq: The message that the new ones follow; `None` if they are the first.
        messages: The new ones, in their order.
        pointer: Where a result is in the request (RFC 6901), with `{}` for its number in
            `messages`.

    Raises:
        InvalidRequest: A result is of no such call.

    """
    unanswered = dict.fromkeys(_open_calls(conn, session_pk, head_seq))
    for number, message in enumerate(messages):
        result = tool_result(message.blocks)
        if result is None:
            unanswered |= dict.fromkeys(call.id for call in tool_calls(message.blocks))
            continue
        if result.call_id not in unanswered:
            where = pointer.format(number)
            detail = "must be of a call that the conversation ends with, and that has no result yet"
            raise InvalidRequest(
                f"{where}: {detail}", errors=[{"pointer": where, "detail": detail}]
            )
        del unanswered[result.call_id]


def _open_calls(conn: sa.Connection, session_pk: int | None, seq: int | None) -> list[str]:
    """The ids of the calls that a branch ends with, and that have no result yet."""
    answered: set[str] = set()
    while session_pk is not None and seq:
        message = rows.known_message(conn, session_pk=session_pk, seq=seq)
        blocks, seq = load(message.blocks), message.parent_seq
        result = tool_result(blocks)
        if result is None:
            return [call.id for call in tool_calls(blocks) if call.id not in answered]
        answered.add(result.call_id)
    return []
