"""Items that a request names by an id, or sends although the conversation has them."""

from collections.abc import Mapping
from typing import Any

from chatkeep.api.openai.ids import ItemRef, item_ref
from chatkeep.api.openai.items import Item, message_items, written_items
from chatkeep.domain.errors import MessageNotFound
from chatkeep.domain.model import Caller
from chatkeep.store import turn_records
from chatkeep.store.database import Store
from chatkeep.store.turn_records import Located, StoredTurn


async def resolved(
    value: object, *, store: Store, caller: Caller, session_id: str | None
) -> object:
    """The `input` of a request with the items themselves in place of references.

    Items that the conversation has already are left out: OpenAI's clients send some of them again.

    Args:
        value: As it came.
        store: Where the items are.
        caller: Whose items they are.
        session_id: The session that the request goes on with; `None` for a new one.

    Raises:
        MessageNotFound: There is no such item.

    """
    if not isinstance(value, list):
        return value
    refs = {number: ref for number, item in enumerate(value) if (ref := _ref(item, session_id))}
    if not refs:
        return value
    turns, messages = await store.read(
        turn_records.locate,
        tenant=caller.tenant,
        turn_ids=sorted({ref.turn_id for ref in refs.values()}),
        message_ids=sorted({ref.message_id for ref in refs.values()}),
    )
    items: list[Any] = []
    for number, item in enumerate(value):
        ref = refs.get(number)
        if ref is None:
            items.append(item)
            continue
        stored_in, stored = _find(ref, turns, messages)
        if stored_in is not None and stored_in == session_id:
            continue
        if not _is_reference(item):
            items.append(item)
        elif stored is None:
            detail = f"Item with id {str(item.get('id'))[:80]!r} not found."
            raise MessageNotFound(
                detail, errors=[{"pointer": f"#/input/{number}", "detail": detail}]
            )
        else:
            items.append(stored)
    return items


def _is_reference(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _ref(item: object, session_id: str | None) -> ItemRef | None:
    """Which stored item this may be.

    An id that was not made here means nothing, but in a reference.
    """
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    is_reference = _is_reference(item)
    if not is_reference and session_id is None:
        return None
    ref = item_ref(item["id"])
    return ItemRef("", 0) if ref is None and is_reference else ref


def _find(
    ref: ItemRef, turns: Mapping[str, StoredTurn], messages: Mapping[str, Located]
) -> tuple[str | None, Item | None]:
    """The session of an item, and the item."""
    turn, message = turns.get(ref.turn_id), messages.get(ref.message_id)
    if turn is not None:
        session_id, items = turn.turn.session_id, turn_items(turn)
    elif message is not None:
        session_id, items = message.session_id, message_items(message.message, "")
    else:
        return None, None
    return session_id, items[ref.number] if ref.number < len(items) else None


def turn_items(stored: StoredTurn) -> list[Item]:
    """The items that a turn has written."""
    return written_items(stored.written, stored.record.turn_id)
