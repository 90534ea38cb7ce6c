"""What a user would otherwise write or install, to be measured beside Chatkeep."""

SYSTEM = (
    "You are a helpful assistant. Answer in the language of the user, clearly and to the "
    "point. If you do not know something, say so."
)
"""Chatkeep's own system prompt: all subjects send as much."""
