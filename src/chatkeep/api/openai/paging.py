"""Pages of items, as OpenAI's lists have them."""

from collections.abc import Sequence
from typing import Literal

import orjson
from fastapi import Response

from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.items import Item

Order = Literal["asc", "desc"]


def item_page(items: Sequence[Item], *, after: str | None, limit: int, order: Order) -> Response:
    """A page of items.

    Args:
        items: All of them, oldest first.
        after: The id of the last item of the page before.
        limit: Items on the page at most.
        order: `desc` for the newest first.

    Raises:
        Refused: There is no item with the id `after`.

    """
    listed = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        ids = [item["id"] for item in listed]
        if after not in ids:
            raise Refused("There is no such item.", param="after")
        listed = listed[ids.index(after) + 1 :]
    return list_response(listed[:limit], has_more=len(listed) > limit)


def list_response(items: Sequence[Item], *, has_more: bool) -> Response:
    """A list of OpenAI's."""
    body = {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
    return Response(orjson.dumps(body), media_type="application/json")
