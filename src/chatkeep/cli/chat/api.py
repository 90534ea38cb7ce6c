"""What a conversation in a terminal asks the server beside its turns, and what can go wrong."""

import json
import secrets
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2

from chatkeep.cli.chat.markdown import clean

NOT_FOUND = 404
ERRORS_FROM = 400


class Refused(Exception):
    """What was asked for cannot be had; the message says why, in one line."""

    def __init__(self, words: str, *, status: int | None = None) -> None:
        """Take the sentence to show, and the status where the server has answered."""
        super().__init__(one_line(words))
        self.status = status


class ModelsOnOffer(NamedTuple):
    """The models of a server, and what to know of the default one; empty if there is nothing."""

    default: str
    names: list[str]
    notice: str


def fresh_id() -> str:
    """A new session's id: readable, and no other session's."""
    return f"chat-{date.today():%Y%m%d}-{secrets.token_hex(3)}"


def one_line(text: str) -> str:
    """A title or a sentence as one line that a terminal can show."""
    return " ".join(clean(text).split())


def refusal(response: httpx2.Response) -> Refused:
    """What a response that was read says about why it is none (RFC 9457)."""
    words = f"The server answers {response.status_code} {response.reason_phrase}."
    try:
        found = response.json()
    except ValueError:
        return Refused(words, status=response.status_code)
    detail = found.get("detail") if isinstance(found, dict) else None
    if isinstance(detail, str):
        # The name of a field is enough for whoever does not see the body.
        words = detail.removeprefix("#/")
    return Refused(words, status=response.status_code)


def unreachable(client: httpx2.Client, error: httpx2.RequestError) -> Refused:
    """Why a request had no answer."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Refused(
            f"No server answers at {client.base_url}. "
            "Start one with `chatkeep serve`, or check `--url`."
        )
    if isinstance(error, httpx2.TimeoutException):
        return Refused(f"The server at {client.base_url} did not answer in time.")
    return Refused(f"The connection to {client.base_url} broke.")


def content_text(content: object) -> str:
    """A message's text, also where its content is a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))


class Api:
    """The server's plain calls. Each raises `Refused`."""

    def __init__(self, client: httpx2.Client) -> None:
        """Take a client that is bound to the server."""
        self._client = client

    def sessions(self, limit: int) -> list[dict[str, Any]]:
        """The newest sessions, the newest first."""
        return self._list("/sessions", limit=limit)

    def history(self, session_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest messages of a session, oldest first; none if there is no such session."""
        try:
            return self._list(f"/history/{quote(session_id, safe='')}", limit=limit)
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return []
            raise

    def session(self, session_id: str) -> dict[str, Any] | None:
        """All that is set of a session; `None` if there is no such session."""
        return self._record("GET", session_id)

    def change(self, session_id: str, change: dict[str, Any]) -> dict[str, Any] | None:
        """Change a session and return it; `None` if there is no such session."""
        return self._record("PATCH", session_id, json=change)

    def export(self, session_id: str) -> bytes:
        """A session as Markdown."""
        return self._call("GET", "/export", params={"format": "markdown", "session_id": session_id})

    def check_model(self, name: str) -> None:
        """Raise `Refused` with the models on offer if this is none, and the server lists them."""
        offer = self.models()
        if offer is not None and name not in offer.names:
            names = ", ".join(offer.names)
            raise Refused(f"There is no model {name} on offer. Choose from: {names}.")

    def models(self) -> ModelsOnOffer | None:
        """The models on offer; `None` if the server does not tell."""
        try:
            found = self._get("/models")
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise
        names = [one_line(model["id"]) for model in found["models"]]
        notice = one_line(found.get("notice") or "").replace("`", "")
        return ModelsOnOffer(one_line(found["default"]), names, notice)

    def _list(self, path: str, **query: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._get(path, **query)
        return rows

    def _get(self, path: str, **query: int) -> Any:
        return self._json(self._call("GET", path, params=query))

    def _record(self, method: str, session_id: str, **options: Any) -> dict[str, Any] | None:
        path = f"/sessions/{quote(session_id, safe='')}"
        try:
            record: dict[str, Any] = self._json(self._call(method, path, **options))
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise
        return record

    def _call(self, method: str, path: str, **options: Any) -> bytes:
        try:
            response = self._client.request(method, path, **options)
        except httpx2.RequestError as error:
            raise unreachable(self._client, error) from None
        if response.status_code >= ERRORS_FROM:
            raise refusal(response)
        return response.content

    def _json(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise Refused(f"What answers at {self._client.base_url} is not Chatkeep.") from None
