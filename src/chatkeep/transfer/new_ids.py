"""New ids for what is imported: so an export comes into another tenant of the same server.

Ids of turns and messages are unique in a database, whoever they belong to.
"""

import re
import secrets
from hashlib import blake2b

from chatkeep.domain.records import CallLine, Line, MessageLine, TurnLine

_OURS = re.compile(r"(?:turn|msg)_([0-9a-f]{12})7[0-9a-f]{3}[89ab][0-9a-f]{15}")
"""An id that this product has made: its first 12 digits are the time (RFC 9562, 5.7)."""

_NO_TIME = "0" * 12


class NewIds:
    """Gives each id another one, always the same for the same id, in the same order of time."""

    def __init__(self) -> None:
        """Begin an import: no other one makes the same ids."""
        self._salt = secrets.token_bytes(16)

    def replace(self, line: Line) -> Line:
        """Return a line with new ids."""
        if isinstance(line, TurnLine):
            update = {
                "id": self._turn(line.id),
                "regenerates": line.regenerates and self._turn(line.regenerates),
                "user_message_id": self._message(line.user_message_id),
                "message_id": self._message(line.message_id),
                "input_messages": line.input_messages
                and tuple(
                    message.model_copy(update={"id": self._message(message.id)})
                    for message in line.input_messages
                ),
            }
        elif isinstance(line, MessageLine):
            turn_id = line.turn_id and self._turn(line.turn_id)
            update = {"id": self._message(line.id), "turn_id": turn_id}
        elif isinstance(line, CallLine):
            update = {"turn_id": line.turn_id and self._turn(line.turn_id)}
        else:
            return line
        return line.model_copy(update=update)

    def _turn(self, old: str) -> str:
        return f"turn_{self._uuid(old)}"

    def _message(self, old: str) -> str:
        return f"msg_{self._uuid(old)}"

    def _uuid(self, old: str) -> str:
        """A UUIDv7 with the time of the old one, and other random digits."""
        match = _OURS.fullmatch(old)
        moment = match[1] if match else _NO_TIME
        digits = blake2b(old.encode(), key=self._salt, digest_size=16).hexdigest()
        variant = "89ab"[int(digits[3], 16) % 4]
        return f"{moment}7{digits[:3]}{variant}{digits[4:19]}"
