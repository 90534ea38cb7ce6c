"""The checks of `chatkeep doctor` for a database in PostgreSQL."""

import time
from collections.abc import Iterator

from chatkeep.cli.databases import without_password
from chatkeep.cli.findings import Finding
from chatkeep.domain.errors import StoreUnavailable
from chatkeep.settings import Settings
from chatkeep.store import server_checks
from chatkeep.store.server_checks import Schema, ServerState

MORE_CONNECTIONS = 3
"""What a process has beside `database_connections`."""

MAX_LOOK_SECONDS = 5
"""How long processes are watched at most."""


def inspect(settings: Settings) -> tuple[ServerState | None, list[Finding]]:
    """Check the server, and return what it is like; `None` if it cannot be reached."""
    shown = without_password(settings.database)
    try:
        state = server_checks.inspect(settings.database)
    except StoreUnavailable as error:
        advice = "Is it running, and are CHATKEEP_DATABASE_URL and the password right?"
        return None, [Finding(f"Database {shown} cannot be used: {error.detail}", "error", advice)]
    findings = [Finding(f"Database {shown}, PostgreSQL {state.version}")]
    findings += _server(state)
    findings += _schema(state)
    findings += _safety(state)
    findings += _connections(state, settings.database_connections + MORE_CONNECTIONS)
    findings += _signals(settings)
    if state.schema is Schema.USABLE:
        findings += _processes(settings)
    return state, findings


def _server(state: ServerState) -> Iterator[Finding]:
    if not state.is_supported:
        what = f"PostgreSQL {state.version} is too old"
        yield Finding(what, "error", "Use PostgreSQL 14 or newer.")
    if state.encoding != "UTF8":
        advice = "Make a database with: createdb --encoding=UTF8 --template=template0 chatkeep"
        yield Finding(f"The database's encoding is {state.encoding}", "error", advice)
    if state.is_read_only:
        advice = "Name the primary in CHATKEEP_DATABASE_URL, or add target_session_attrs=read-write"
        yield Finding("The server only reads: it is a standby", "error", f"{advice}.")
    for option in state.ignored_options:
        what = f"Our connections do not have their own {option}"
        advice = (
            "A pooler may drop it. Set it in the database: ALTER ROLE … SET "
            f"{option} = '{server_checks.REQUESTED[option] // 1_000}s'."
        )
        yield Finding(what, "warning", advice)


def _schema(state: ServerState) -> Iterator[Finding]:
    match state.schema:
        case Schema.MISSING:
            yield Finding("The tables will be created at the first start")
        case Schema.OLDER:
            yield Finding("The tables will be migrated at the next start")
        case Schema.TOO_NEW:
            what = "The database was made by a newer version of Chatkeep"
            yield Finding(what, "error", "Install that version, or a newer one.")
    if state.contents is not None:
        contents = state.contents
        yield Finding(f"{contents.sessions:,} sessions, {contents.messages:,} messages")


def _safety(state: ServerState) -> Iterator[Finding]:
    """What an acknowledged turn survives."""
    if state.synchronous_commit == "off":
        advice = "Set synchronous_commit to on: with off, a crash loses acknowledged turns."
        yield Finding("Commits do not wait for the disk", "warning", advice)
    if not state.standbys:
        yield Finding("There is no standby: what the server's disk loses is lost")
    elif state.synchronous_standbys is None:
        what = f"Standbys: {state.standbys}; whether a commit waits for them cannot be seen"
        yield Finding(what, advice="GRANT pg_monitor to Chatkeep's role to see it.")
    elif not state.synchronous_standbys or state.synchronous_commit in {"off", "local"}:
        what = f"Standbys: {state.standbys}, and a commit waits for none of them"
        advice = (
            "A failover may lose acknowledged turns. Set synchronous_standby_names, "
            "and synchronous_commit to on."
        )
        yield Finding(what, "warning", advice)
    else:
        what = f"Standbys: {state.standbys}, of which {state.synchronous_standbys} synchronous"
        yield Finding(what)


def _connections(state: ServerState, needed: int) -> Iterator[Finding]:
    what = (
        f"{state.connections} of {state.max_connections} connections are in use; "
        f"a process needs {needed}"
    )
    advice = "Raise max_connections, or lower CHATKEEP_DATABASE_CONNECTIONS."
    if needed > state.max_connections:
        yield Finding(what, "error", advice)
    elif needed > state.max_connections - state.connections:
        yield Finding(what, "warning", f"There is none left for one more process. {advice}")
    else:
        yield Finding(what)


def _signals(settings: Settings) -> Iterator[Finding]:
    listen_url = settings.database_listen_url or settings.database
    advice = (
        "Without signals processes ask the database ten times a second. Behind a pooler, set "
        "CHATKEEP_DATABASE_LISTEN_URL to the address of the server itself."
    )
    try:
        does_arrive = server_checks.receives_signals(listen_url, settings.database)
    except StoreUnavailable as error:
        shown = without_password(listen_url)
        yield Finding(f"Nothing can listen at {shown}: {error.detail}", "warning", advice)
        return
    if does_arrive:
        yield Finding("Signals between processes arrive")
    else:
        yield Finding("Signals between processes do not arrive", "warning", advice)


def _processes(settings: Settings) -> Iterator[Finding]:
    """Count the processes that renew their leases, and those that do not."""
    try:
        before = server_checks.beats(settings.database)
        if before:
            # Each renews its lease several times in this time.
            time.sleep(min(settings.lease_seconds, MAX_LOOK_SECONDS))
        after = server_checks.beats(settings.database)
    except StoreUnavailable as error:
        yield Finding(f"The processes cannot be counted: {error.detail}", "warning")
        return
    living = sum(after.get(owner, beat) != beat for owner, beat in before.items())
    yield Finding(f"Processes that use the database: {living}")
    dead = sum(after.get(owner) == beat for owner, beat in before.items())
    if dead:
        what = f"Processes that were killed or do not answer: {dead}"
        yield Finding(what, advice="The next one to run takes over what they have left.")
