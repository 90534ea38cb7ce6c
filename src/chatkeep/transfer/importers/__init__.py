"""Conversations of other products, converted to lines of Chatkeep's own export.

`chatgpt` and `openwebui` read one format each into an `ImportedConversation`, `tree` converts that,
and `values` reads what may be of any type. There is no clock and no I/O: the same input always
gives the same lines, or `Unreadable`.
"""

from chatkeep.transfer.importers import chatgpt, openwebui, tree, values
from chatkeep.transfer.importers.tree import (
    ConvertedConversation,
    MessageFields,
    SessionFields,
    Unreadable,
)

__all__ = ["ConvertedConversation", "MessageFields", "SessionFields", "Unreadable", "convert"]


def convert(item: object) -> ConvertedConversation:
    """Convert one conversation of an export, as parsed from JSON.

    Raises:
        Unreadable: It is of no known product, has no id or no messages.

    """
    fields = values.as_object(item)
    if isinstance(fields.get("mapping"), dict):
        return tree.convert(chatgpt.read(fields))
    if openwebui.is_chat(fields):
        return tree.convert(openwebui.read(fields))
    raise Unreadable("it is not a conversation of ChatGPT or Open WebUI")
