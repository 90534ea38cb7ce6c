"""Interrupts of graphs as messages: what one asks, and what the answer is for the graph."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from chatkeep.providers.python.pieces import text_of

QUESTION_KEYS = ("question", "message", "query", "prompt", "text", "description")
"""Where the question is in an interrupt's value, by the names that LangGraph's guides use."""

CONSENT = {"approve", "approved", "ok", "yes", "y"}
"""Messages that approve all the actions of LangChain's `HumanInTheLoopMiddleware`."""


class Interrupt(Protocol):
    """As LangGraph has it."""

    # `Any`: what the graph's author passed to `interrupt()`.
    value: Any
    id: str


def question(value: object) -> str:
    """Return what an interrupt asks: the value itself, its question, or its JSON."""
    if isinstance(value, Mapping):
        if actions := _actions(value):
            return "\n\n".join(str(action.get("description") or action) for action in actions)
        texts = (value.get(key) for key in QUESTION_KEYS)
        return next((text for text in texts if isinstance(text, str)), text_of(value))
    return text_of(value)


def resume(interrupts: Sequence[Interrupt], text: str) -> object:
    """Return what a graph goes on with, for `Command(resume=...)`.

    Args:
        interrupts: All that wait; each gets the same answer.
        text: The session's next message. Where an interrupt's value is no text and the message is
            a JSON object or array, the answer is that.

    """
    if len(interrupts) == 1:
        return _answer(interrupts[0].value, text)
    return {interrupt.id: _answer(interrupt.value, text) for interrupt in interrupts}


def _answer(value: object, text: str) -> object:
    if isinstance(value, str):
        return text
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict | list):
        return parsed
    if actions := _actions(value):
        # https://docs.langchain.com/oss/python/langchain/human-in-the-loop
        consents = text.strip().strip(".!").casefold() in CONSENT
        decision = {"type": "approve"} if consents else {"type": "reject", "message": text}
        return {"decisions": [decision for _ in actions]}
    return text


def _actions(value: object) -> list[Mapping[str, object]]:
    """What LangChain's `HumanInTheLoopMiddleware` asks about."""
    actions = value.get("action_requests") if isinstance(value, Mapping) else None
    if not isinstance(actions, list):
        return []
    return [action for action in actions if isinstance(action, Mapping)]
