"""The session that is open in a terminal, and what is set for its turns."""

from typing import Any

from chatkeep.cli.chat.api import Api, one_line


class OpenSession:
    """A session by its id. What is set before its first turn is stored after that."""

    def __init__(self, api: Api, session_id: str) -> None:
        """Take where it is, and its id; nothing is read yet."""
        self._api = api
        self._unstored: dict[str, str | None] = {}
        self.id = session_id
        self.exists = False
        self.title = ""
        self.model: str | None = None
        self.system_prompt: str | None = None

    @property
    def unstored(self) -> dict[str, str]:
        """What a turn has to say, because the session does not yet."""
        return {name: value for name, value in self._unstored.items() if value is not None}

    def read(self) -> None:
        """Read what the server has of it, if there is such a session. Raises `Refused`."""
        if (record := self._api.session(self.id)) is not None:
            self._take(record)
            self.store()

    def set(self, **change: str | None) -> None:
        """Set `model` or `system_prompt`; `None` is the server's own. Raises `Refused`."""
        self._unstored |= change
        self.store()
        for name in self._unstored:
            setattr(self, name, self._unstored[name])

    def store(self) -> None:
        """Store what was set before there was such a session. Raises `Refused`."""
        if not self._unstored:
            return
        if (record := self._api.change(self.id, self._unstored)) is not None:
            self._unstored = {}
            self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        self.exists = True
        self.title = one_line(str(record["title"]))
        self.model, self.system_prompt = record["model"], record["system_prompt"]
