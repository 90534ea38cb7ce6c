"""The session that is open in a terminal, and what is set for its turns."""

import secrets
from datetime import date

from chatkeep.cli.client import Client
from chatkeep.cli.errors import NotFound
from chatkeep.cli.output import one_line
from chatkeep.cli.responses import SessionRecord


def new_session_id() -> str:
    """Make a session id that is readable and that no other session has."""
    return f"chat-{date.today():%Y%m%d}-{secrets.token_hex(3)}"


class OpenSession:
    """A session that may not exist yet. What is set before its first turn is stored after it.

    Each method that speaks to the server raises `CommandError`.
    """

    def __init__(self, client: Client, session_id: str) -> None:
        """Open a session; nothing is read yet."""
        self._client = client
        self._unstored: dict[str, str | None] = {}
        self.id = session_id
        self.exists = False
        self.title = ""
        self.model: str | None = None
        self.system_prompt: str | None = None

    @property
    def unstored(self) -> dict[str, str]:
        """What the first turn must be sent, because the session does not have it yet."""
        return {name: value for name, value in self._unstored.items() if value is not None}

    def read(self) -> None:
        """Read the stored session, if it exists."""
        try:
            record = self._client.session(self.id)
        except NotFound:
            return
        self._load(record)
        self.store()

    def set(self, **changes: str | None) -> None:
        """Set `model` or `system_prompt`; `None` is the server's own."""
        self._unstored |= changes
        self.store()
        for name, value in self._unstored.items():
            setattr(self, name, value)

    def store(self) -> None:
        """Store what was set, if the session exists by now."""
        if not self._unstored:
            return
        try:
            record = self._client.update_session(self.id, self._unstored)
        except NotFound:
            return
        self._unstored = {}
        self._load(record)

    def _load(self, record: SessionRecord) -> None:
        self.exists = True
        self.title = one_line(record["title"])
        self.model, self.system_prompt = record.get("model"), record.get("system_prompt")
