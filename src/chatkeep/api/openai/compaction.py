"""What a compacted conversation is: a summary, as an item that clients pass on as it is.

`Any` is JSON of theirs.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any

import orjson

from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.items import Item
from chatkeep.domain.validation import reject_unstorable

INTRODUCTION = "Summary of the conversation so far:\n\n"


def encoded(summary: str) -> str:
    """The `encrypted_content` of an item, which is opaque to clients but no secret."""
    return b64encode(orjson.dumps({"summary": summary})).decode()


def compaction_item(summary: str, turn_id: str) -> Item:
    """The item of a summary, which the model of a turn has written."""
    return {
        "id": f"cmp_{turn_id.rpartition('_')[2]}",
        "type": "compaction",
        "encrypted_content": encoded(summary),
    }


def summary_of(item: Mapping[str, Any], at: str) -> str:
    """The message that a compaction item stands for.

    Args:
        item: As the client has sent it.
        at: Where it is in the request, for the error.

    Raises:
        Refused: It was not made here.

    """
    summary = _decoded(item.get("encrypted_content"))
    if summary is None:
        detail = "Must be a compaction that this server has made."
        raise Refused(detail, param=f"{at}/encrypted_content")
    return INTRODUCTION + summary


def _decoded(content: object) -> str | None:
    try:
        inner = orjson.loads(b64decode(content, validate=True)) if isinstance(content, str) else {}
        summary = inner.get("summary") if isinstance(inner, dict) else None
        return reject_unstorable(summary) if isinstance(summary, str) else None
    except (NotBase64, ValueError):
        return None
