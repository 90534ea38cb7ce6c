"""What a turn demands of a model, and whether that can do it. Pure."""

from collections.abc import Sequence

from chatkeep.domain.model import MessageContent, TurnOptions
from chatkeep.providers.capabilities import Capabilities


def missing(
    capabilities: Capabilities,
    options: TurnOptions,
    messages: Sequence[MessageContent],
    *,
    has_tools: bool,
) -> str | None:
    """The first demand of a turn that a model cannot meet, as a sentence; `None` if there is none.

    Args:
        capabilities: The model's.
        options: The turn's.
        messages: What the turn takes in.
        has_tools: Whether it offers tools.

    """
    if has_tools and not capabilities.calls_tools:
        return "The model calls no tools."
    # A choice of one tool is an object, which no set can hold.
    is_free = options.tool_choice in (None, "auto", "none")
    if not is_free and not capabilities.chooses_tools:
        return "The model decides by itself whether it calls a tool (tool_choice)."
    if options.response_format is not None:
        form = options.response_format.get("type")
        if form != "text" and form not in capabilities.formats:
            return f"The model cannot be held to the form {form} (response_format)."
    if options.reasoning_effort is not None and not capabilities.reasons_by_effort:
        return "The model cannot be asked for more or less reasoning (reasoning_effort)."
    for block in (block for message in messages for block in message.blocks or ()):
        if block["type"] == "image" and not capabilities.sees_pictures:
            return "The model sees no pictures."
        if block["type"] == "file" and not capabilities.reads_documents:
            return "The model reads no documents."
        is_address = block["type"] in {"image", "file"} and "file_id" not in block
        if is_address and not capabilities.fetches_urls:
            return "The model's provider does not fetch pictures: send the picture itself."
    return None
