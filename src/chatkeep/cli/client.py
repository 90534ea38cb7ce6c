"""The HTTP client of every command.

Every command speaks HTTP, so there is one way to do a thing. Without an address it speaks to the
server that has the local database open; without such a server it starts one in this process.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, cast
from urllib.parse import quote

import typer

from chatkeep.addresses import is_loopback
from chatkeep.cli import configuration
from chatkeep.cli.errors import CommandError, NotFound
from chatkeep.cli.process import interruptible
from chatkeep.cli.responses import (
    AuditEntry,
    ImportReport,
    KeyRecord,
    MessageRecord,
    ModelList,
    NewKeyRecord,
    SearchHit,
    SessionRecord,
    TenantRecord,
    UsageRow,
    UserRecord,
)

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10
READ_SECONDS = 600
"""A deletion from a large database takes its time."""

EXPORT_BROKE_OFF = (
    "The export broke off and is incomplete. "
    "`chatkeep doctor` says whether the database is damaged."
)

Params = Mapping[str, str | int | bool | None]
"""Query parameters; those that are `None` are not sent."""


class _Options(TypedDict, total=False):
    """What a request has beside its method and path."""

    params: Mapping[str, str | int | bool]
    json: Mapping[str, object]
    content: Iterator[bytes]


_BEHALF: ContextVar[dict[str, str]] = ContextVar("behalf", default={})  # noqa: B039  (never changed)
"""The headers that say for whom a command calls."""


def on_behalf_of(*, tenant: str | None, user: str | None) -> None:
    """Let every client of this command call for a tenant, and a user of it."""
    names = {"Chatkeep-Tenant": tenant, "Chatkeep-User": user}
    _BEHALF.set({name: value for name, value in names.items() if value is not None})


@contextlib.contextmanager
def connect(url: str | None, key: str | None, *, answers: bool = False) -> Iterator["Client"]:
    """Connect to a server for the length of a `with` block, in which Ctrl-C raises.

    Args:
        url: Address of a server; `None` for the local database.
        key: The server's key, if it needs one.
        answers: Whether turns will be created. A server of this process needs to know.

    Raises:
        CommandError: The local database cannot be used.

    """
    if url is None:
        settings = configuration.settings()
        url = settings.url or None
        # Not for another server than the one that is set beside it.
        key = key or (settings.api_key.get_secret_value() if settings.api_key else None)
    if url is not None:
        with interruptible(), Client(url, key) as client:
            yield client
        return
    from chatkeep.cli.server.local import local_server

    with (
        local_server(settings, answers=answers) as server,
        interruptible(),
        Client(server.address, key or server.secret) as client,
    ):
        yield client


class Client:
    """The server's API.

    Each method that sends a request raises `CommandError`; `NotFound` for status 404.
    """

    def __init__(self, url: str, key: str | None) -> None:
        """Bind to the server at `url`. Nothing is sent yet. Raises `typer.BadParameter`."""
        headers = {**_BEHALF.get(), **({"Authorization": f"Bearer {key}"} if key else {})}
        # Heavy: `--help` does without it.
        import httpx2

        try:
            self.http = httpx2.Client(
                base_url=url,
                headers=headers,
                timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                # The way to this machine leads through no proxy, which would see the secret.
                trust_env=not is_loopback(httpx2.URL(url).host),
            )
        except (httpx2.InvalidURL, ValueError):
            raise typer.BadParameter(f"{url} is not the address of a server.") from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.http.close()

    def sessions(self, params: Params) -> list[SessionRecord]:
        """List sessions, newest activity first."""
        return cast("list[SessionRecord]", self._json("GET", "/sessions", params=_query(params)))

    def session(self, session_id: str) -> SessionRecord:
        """Read a session with its settings."""
        return cast("SessionRecord", self._json("GET", _session_path(session_id)))

    def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionRecord:
        """Change some of a session's fields."""
        return cast("SessionRecord", self._json("PATCH", _session_path(session_id), json=changes))

    def delete_session(self, session_id: str) -> None:
        """Delete a session for good."""
        self._send("DELETE", _session_path(session_id))

    def history(self, session_id: str, limit: int | None = None) -> list[MessageRecord]:
        """Read the newest messages of a session, oldest first; all of them without a limit."""
        path = f"/history/{quote(session_id, safe='')}"
        return cast("list[MessageRecord]", self._json("GET", path, params=_query({"limit": limit})))

    def file(self, session_id: str, file_id: str) -> bytes:
        """Read a picture or a document of a session."""
        return self._send("GET", f"/files/{quote(session_id, safe='')}/{file_id}").content

    def models(self) -> ModelList:
        """Read which models are on offer."""
        return cast("ModelList", self._json("GET", "/models"))

    def search(self, params: Params) -> list[SearchHit]:
        """Search titles and messages."""
        return cast("list[SearchHit]", self._json("GET", "/search", params=_query(params)))

    def usage(self, params: Params) -> list[UsageRow]:
        """Count calls and tokens."""
        return cast("list[UsageRow]", self._json("GET", "/usage", params=_query(params)))

    def export_markdown(self, session_id: str) -> bytes:
        """Export a session as Markdown in UTF-8."""
        params = {"format": "markdown", "session_id": session_id}
        return self._send("GET", "/export", params=params).content

    @contextlib.contextmanager
    def export(self, params: Params) -> Iterator[Iterator[bytes]]:
        """Export as a stream of bytes. The block raises `CommandError` if the stream breaks off."""
        with (
            self._explain_errors(EXPORT_BROKE_OFF),
            self.http.stream("GET", "/export", params=_query(params)) as response,
        ):
            if not response.is_success:
                response.read()
                raise refusal(response)
            yield response.iter_bytes()

    def import_records(self, pieces: Iterator[bytes], *, new_ids: bool = False) -> ImportReport:
        """Import the bytes of a file."""
        params = _query({"new_ids": new_ids or None})
        return cast("ImportReport", self._json("POST", "/import", params=params, content=pieces))

    def keys(self, params: Params) -> list[KeyRecord]:
        """List keys."""
        return cast("list[KeyRecord]", self._json("GET", "/keys", params=_query(params)))

    def create_key(self, body: Mapping[str, object]) -> NewKeyRecord:
        """Make a key; only this response has its secret."""
        return cast("NewKeyRecord", self._json("POST", "/keys", json=body))

    def rotate_key(self, key_id: str, grace_seconds: int) -> NewKeyRecord:
        """Give a key another secret."""
        body = {"grace_seconds": grace_seconds}
        path = f"/keys/{quote(key_id, safe='')}/rotate"
        return cast("NewKeyRecord", self._json("POST", path, json=body))

    def revoke_key(self, key_id: str) -> KeyRecord:
        """End a key."""
        return cast("KeyRecord", self._json("DELETE", f"/keys/{quote(key_id, safe='')}"))

    def tenants(self, params: Params) -> list[TenantRecord]:
        """List tenants."""
        return cast("list[TenantRecord]", self._json("GET", "/tenants", params=_query(params)))

    def create_tenant(self, tenant: str) -> bool:
        """Make a tenant unless it is there; return whether it is new."""
        response = self._send("PUT", f"/tenants/{quote(tenant, safe='')}")
        return response.status_code == HTTPStatus.CREATED

    def delete_tenant(self, tenant: str) -> None:
        """Erase a tenant."""
        self._send("DELETE", f"/tenants/{quote(tenant, safe='')}")

    def users(self, params: Params) -> list[UserRecord]:
        """List the users of the caller's tenant."""
        return cast("list[UserRecord]", self._json("GET", "/users", params=_query(params)))

    def delete_user(self, user: str) -> None:
        """Erase a user."""
        self._send("DELETE", f"/users/{quote(user, safe='')}")

    def audit(self, params: Params) -> list[AuditEntry]:
        """Read the audit log, newest first."""
        return cast("list[AuditEntry]", self._json("GET", "/audit", params=_query(params)))

    def check_model(self, name: str) -> None:
        """Raise `CommandError` if the server lists its models and this is none of them."""
        try:
            names = [model["id"] for model in self.models()["models"]]
        except NotFound:
            return
        if name not in names:
            raise CommandError(
                f"The model {name} is not available. Choose from: {', '.join(names)}."
            )

    def unanswered(self, error: "httpx2.RequestError") -> CommandError:
        """Make the error for a request that got no response."""
        import httpx2

        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return CommandError(
                f"No server answers at {self.http.base_url}. "
                "Start one with `chatkeep serve`, or check `--url`."
            )
        if isinstance(error, httpx2.TimeoutException):
            return CommandError(f"The server at {self.http.base_url} did not answer in time.")
        return CommandError(f"The connection to {self.http.base_url} broke.")

    def not_chatkeep(self) -> CommandError:
        """Make the error for a response that no Chatkeep sends."""
        return CommandError(f"The server at {self.http.base_url} is not Chatkeep.")

    @contextlib.contextmanager
    def _explain_errors(self, broken: str | None = None) -> Iterator[None]:
        """Raise `CommandError` for failed requests; `broken` is for a response that breaks off."""
        import httpx2

        try:
            yield
        except httpx2.RequestError as error:
            if broken is not None and isinstance(error, httpx2.RemoteProtocolError):
                raise CommandError(broken) from None
            raise self.unanswered(error) from None

    def _json(self, method: str, path: str, **options: Unpack[_Options]) -> object:
        response = self._send(method, path, **options)
        try:
            return cast("object", response.json())
        except ValueError:
            raise self.not_chatkeep() from None

    def _send(self, method: str, path: str, **options: Unpack[_Options]) -> "httpx2.Response":
        with self._explain_errors():
            response = self.http.request(method, path, **options)
        if not response.is_success:
            raise refusal(response)
        return response


def refusal(response: "httpx2.Response") -> CommandError:
    """Make the error for a response with an error status, whose body was read (RFC 9457)."""
    detail = f"The server answered {response.status_code} {response.reason_phrase}."
    with contextlib.suppress(ValueError):
        problem = response.json()
        if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
            # The name of a field is enough for whoever does not see the body.
            detail = problem["detail"].removeprefix("#/")
        if isinstance(problem, dict) and response.status_code == HTTPStatus.UNAUTHORIZED:
            detail = f"{problem.get('title')} Set CHATKEEP_API_KEY, or use --key."
    kind = NotFound if response.status_code == HTTPStatus.NOT_FOUND else CommandError
    return kind(detail, status=response.status_code)


def _query(params: Params) -> dict[str, str | int | bool]:
    return {name: value for name, value in params.items() if value is not None}


def _session_path(session_id: str) -> str:
    return f"/sessions/{quote(session_id, safe='')}"
