"""Items that a request names by an id, or sends although the conversation has them."""

from collections.abc import Mapping
from typing import Any

from chatkeep.api.openai.ids import ItemRef, item_ref
from chatkeep.api.openai.inputs import MAX_ITEMS, invalid
from chatkeep.api.openai.items import Item, message_items, written_items
from chatkeep.domain.errors import MessageNotFound
from chatkeep.domain.model import Caller
from chatkeep.store import turn_records
from chatkeep.store.database import Store
from chatkeep.store.turn_records import Located


def has_refs(value: object) -> bool:
    """Whether an input may name stored items, or have some that the conversation has."""
    return isinstance(value, list) and any(
        isinstance(item, dict) and "id" in item for item in value
    )


async def resolved(
    value: object,
    *,
    store: Store,
    caller: Caller,
    session_id: str | None,
    after_turn: str | None = None,
) -> object:
    """The `input` of a request with the items themselves in place of references.

    Items that are on the branch already are left out: OpenAI's clients send some of them again.

    Args:
        value: As it came.
        store: Where the items are.
        caller: Whose items they are.
        session_id: The session whose active branch the request goes on with; `None` for another.
        after_turn: The turn that it goes on from; `None` for another.

    Raises:
        MessageNotFound: There is no such item.

    """
    if not isinstance(value, list):
        return value
    if len(value) > MAX_ITEMS:
        raise invalid("input", f"Must not have more than {MAX_ITEMS} items.")
    continues = session_id is not None or after_turn is not None
    refs = {n: ref for n, item in enumerate(value) if (ref := _ref(item, continues=continues))}
    if not refs:
        return value
    located = await store.read(
        turn_records.locate,
        tenant=caller.tenant,
        turn_ids=sorted({ref.turn_id for ref in refs.values()}),
        message_ids=sorted({ref.message_id for ref in refs.values()}),
        session_id=session_id,
        after_turn=after_turn,
    )
    items: list[Any] = []
    named: set[ItemRef] = set()
    for number, item in enumerate(value):
        ref = refs.get(number)
        if ref is not None and _is_reference(item):
            # What is named twice would be twice as long as the request says.
            if ref in named:
                raise invalid(f"input/{number}", "Duplicate item: it is named twice.")
            named.add(ref)
        if ref is None:
            items.append(item)
        elif located.on_branch.isdisjoint((ref.turn_id, ref.message_id)):
            items.append(_stored(ref, located, number) if _is_reference(item) else item)
    return items


def _is_reference(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _ref(item: object, *, continues: bool) -> ItemRef | None:
    """Which stored item this may be.

    An id that was not made here means nothing, but in a reference.
    """
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    is_reference = _is_reference(item)
    if not is_reference and not continues:
        return None
    ref = item_ref(item["id"])
    return ItemRef("", 0) if ref is None and is_reference else ref


def _stored(ref: ItemRef, located: Located, number: int) -> Item:
    """The item that a reference means. Raises `MessageNotFound`."""
    turn, message = located.turns.get(ref.turn_id), located.messages.get(ref.message_id)
    items: list[Item] = []
    if turn is not None:
        items = written_items(turn.written, ref.turn_id)
    elif message is not None:
        items = message_items(message.message, "")
    if ref.number >= len(items):
        detail = "There is no item with that id."
        raise MessageNotFound(detail, errors=[{"pointer": f"#/input/{number}", "detail": detail}])
    return items[ref.number]
