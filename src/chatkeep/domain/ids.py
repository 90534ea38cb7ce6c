"""Ids that Chatkeep makes. They are in order of time, so that new rows extend an index's end."""

import uuid_utils


def turn_id() -> str:
    """An id for a new turn: `turn_` and a UUIDv7 (RFC 9562), which begins with the time."""
    return "turn_" + uuid_utils.uuid7().hex


def message_id() -> str:
    """An id for a new message: `msg_` and a UUIDv7 (RFC 9562), which begins with the time."""
    return "msg_" + uuid_utils.uuid7().hex


def session_id() -> str:
    """An id for a session that its client has not named: `conv_` and a UUIDv7."""
    return "conv_" + uuid_utils.uuid7().hex


def key_id() -> str:
    """An id for a new key: `key_` and a UUIDv7. It is public: the key's secret is another thing."""
    return "key_" + uuid_utils.uuid7().hex
