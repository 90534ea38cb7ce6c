"""Requests for turns as the store and the service take them."""

from typing import Any

from chatkeep.domain.model import MessageContent, Role, TurnRequest


def user_messages(text: str | None) -> tuple[MessageContent, ...]:
    """What a turn takes in whose user has written a text; nothing for `None`."""
    return () if text is None else (MessageContent(Role.USER, text),)


def turn_request(
    session_id: str, digest: bytes, message: str | None = None, **more: Any
) -> TurnRequest:
    return TurnRequest(session_id, digest, user_messages(message), **more)
