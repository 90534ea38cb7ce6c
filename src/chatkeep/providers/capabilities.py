"""What callers have to know of a model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What callers have to know of a model."""

    needs_user_first: bool = False
    """Its server may refuse a conversation that begins with the assistant."""
    obeys_grammar: bool = False
    """It writes only what `Prompt.grammar` allows; other models ignore it."""
    is_small: bool = False
    """Too small to be trusted with words of its own: it may only choose among texts."""
    is_local: bool = False
    """It runs in a process of this server, which works on few answers at a time."""
    splits_characters: bool = False
    """Its server writes U+FFFD where a token ends within a character."""
    calls_tools: bool = True
    """It can be offered tools."""
    chooses_tools: bool = True
    """It can be made to call a tool, or a certain one."""
    sees_pictures: bool = True
    """It can be sent pictures."""
    reads_documents: bool = False
    """It can be sent documents (PDF)."""
    fetches_urls: bool = False
    """Its provider fetches what a message gives the address of."""
    formats: frozenset[str] = frozenset({"json_object", "json_schema"})
    """The types of `response_format` that it obeys."""
    reasons_by_effort: bool = True
    """It can be asked for more or less reasoning."""
    is_agent: bool = False
    """It calls tools by itself, and its answer may have steps before its reply."""
    wants_signed_reasoning: bool = False
    """Its provider wants to have its signed reasoning back with the calls that it led to."""
