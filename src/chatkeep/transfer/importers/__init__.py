"""Conversations of other products, turned into records of Chatkeep's own export.

`chatgpt` and `openwebui` know one format each, `values` what may be in an export, `records` how a
tree becomes lines. Whatever a file holds, the same records come out or one error says why not.
Pure: no clock, no I/O.
"""

from chatkeep.transfer.importers import chatgpt, openwebui, records, values
from chatkeep.transfer.importers.records import Conversation, Unreadable

__all__ = ["Conversation", "Unreadable", "conversation"]


def conversation(item: object) -> Conversation:
    """Turn one conversation of an export, as parsed from JSON, into records.

    Raises `Unreadable` if it is of no known product, has no id or no messages.
    """
    found = values.table(item)
    if isinstance(found.get("mapping"), dict):
        return records.conversation(chatgpt.read(found))
    if openwebui.is_chat(found):
        return records.conversation(openwebui.read(found))
    raise Unreadable("it is not a conversation of ChatGPT or Open WebUI")
