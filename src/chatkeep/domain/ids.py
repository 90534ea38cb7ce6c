"""Ids that Chatkeep makes: time-ordered, so that new rows go to the end of an index."""

import uuid_utils


def turn_id() -> str:
    """A new turn's id: a time-ordered UUIDv7 (RFC 9562) behind its prefix."""
    return "turn_" + uuid_utils.uuid7().hex


def message_id() -> str:
    """A new message's id: a time-ordered UUIDv7 (RFC 9562) behind its prefix."""
    return "msg_" + uuid_utils.uuid7().hex
