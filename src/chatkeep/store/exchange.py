"""Messages between processes at one PostgreSQL about turns: who follows them, and their text.

A process with readers of a turn that another process runs is a follower of it: it adds itself to
`followers`, and the owner then writes the text to `stream_chunks` as it grows. A signal wakes each
side. Both tables are UNLOGGED, and may be empty after a crash: what must not be lost is in `turns`
and `messages`.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.store.prepared import TypedSelect
from chatkeep.store.signals import Channel
from chatkeep.store.tables import sessions, turns

REASONING, MESSAGE = "reasoning", "message"
"""The kinds of chunks that are no text of the message under way."""


class Chunk(NamedTuple):
    """A piece of one attempt of a turn; `start` is how much comes before it.

    Without a `kind` it is text; `REASONING` is that of the model, and `MESSAGE` the JSON of a
    message, which counts as 1.
    """

    turn_id: str
    attempt: int
    start: int
    text: str
    kind: str | None = None


class OwnedTurn(NamedTuple):
    """A running turn of one process, and what other processes want of it.

    Attributes:
        id: The turn's.
        tenant_id: Whose turn it is.
        session_pk: Its session.
        attempt: Which attempt of it runs.
        stop: Why it is to be stopped, if it is.
        is_followed: Whether other processes have readers of it.
        published: How many characters of its text were written for them; `None` if none were.

    """

    id: str
    tenant_id: str
    session_pk: int
    attempt: int
    stop: str | None
    is_followed: bool
    published: int | None


class TurnState(NamedTuple):
    """The state of a turn that another process runs, or will run."""

    id: str
    status: str
    attempt: int
    owner: str | None
    seq: int
    title: str
    title_source: str
    title_pending: bool


_STATES = TypedSelect(
    sa.select(
        *(turns.c.id, turns.c.status, turns.c.attempt, turns.c.owner, turns.c.seq),
        *(sessions.c.title, sessions.c.title_source, sessions.c.title_pending),
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(
        turns.c.id.in_(sa.bindparam("ids", expanding=True)),
        # Not of a session that was deleted.
        sessions.c.tenant_id == turns.c.tenant_id,
    ),
    TurnState,
)
_FOLLOW = sa.text(
    "INSERT INTO followers (turn_id, follower) SELECT unnest(CAST(:ids AS text[])), :follower "
    "ON CONFLICT DO NOTHING"
)
_UNFOLLOW = sa.text(
    "DELETE FROM followers WHERE turn_id = ANY(CAST(:ids AS text[])) AND follower = :follower"
)
_CHUNKS = sa.text(
    # From the last chunk that begins where the reader is, or before: so none is missing.
    "SELECT p.turn_id, p.attempt, p.start, p.text, p.kind FROM unnest(CAST(:ids AS text[]), "
    "CAST(:attempts AS int[]), CAST(:have AS bigint[])) AS wanted(id, attempt, have) "
    "JOIN stream_chunks p ON p.turn_id = wanted.id AND (p.attempt > wanted.attempt OR "
    "p.attempt = wanted.attempt AND p.start >= (SELECT coalesce(max(q.start), 0) "
    "FROM stream_chunks q WHERE q.turn_id = wanted.id AND q.attempt = wanted.attempt AND "
    "q.start <= wanted.have)) "
    "ORDER BY p.turn_id, p.attempt, p.start"
)
_OWNED = sa.text(
    "SELECT t.id, t.tenant_id, t.session_pk, t.attempt, t.stop, "
    "EXISTS (SELECT 1 FROM followers f WHERE f.turn_id = t.id AND f.follower <> t.owner), "
    # Without the first chunk, the others are what a crash of the database has left.
    "CASE WHEN EXISTS (SELECT 1 FROM stream_chunks p WHERE p.turn_id = t.id "
    "AND p.attempt = t.attempt AND p.start = 0) THEN "
    "(SELECT p.start + CASE WHEN p.kind = 'message' THEN 1 ELSE char_length(p.text) END "
    "FROM stream_chunks p WHERE p.turn_id = t.id "
    "AND p.attempt = t.attempt ORDER BY p.start DESC LIMIT 1) END "
    "FROM turns t WHERE t.owner = :owner AND t.status = 'running'"
)
_PUBLISH = sa.text(
    "INSERT INTO stream_chunks (turn_id, attempt, start, text, kind) "
    "SELECT u.id, u.attempt, u.start, u.text, u.kind FROM unnest(CAST(:ids AS text[]), "
    "CAST(:attempts AS int[]), CAST(:starts AS bigint[]), CAST(:texts AS text[]), "
    "CAST(:kinds AS text[])) AS u(id, attempt, start, text, kind) "
    # Not for a turn that another process has taken over.
    "JOIN turns t ON t.id = u.id AND t.owner = :owner AND t.attempt = u.attempt "
    "AND t.status = 'running' ON CONFLICT (turn_id, attempt, start) DO UPDATE "
    "SET text = excluded.text WHERE length(excluded.text) > length(stream_chunks.text)"
)
_SIGNAL_FOLLOWERS = sa.text(
    "SELECT pg_notify(:prefix || follower, '') FROM "
    "(SELECT DISTINCT follower FROM followers WHERE turn_id = ANY(CAST(:ids AS text[]))) f"
)
_SIGNAL_OWNERS = sa.text(
    "SELECT pg_notify(:prefix || owner, '') FROM "
    "(SELECT DISTINCT owner FROM turns WHERE id = ANY(CAST(:ids AS text[]))) t "
    "WHERE owner IS NOT NULL"
)
_SIGNAL = sa.text("SELECT pg_notify(:channel, '')")
_FORGET = (
    sa.text("DELETE FROM followers WHERE turn_id = ANY(CAST(:ids AS text[]))"),
    sa.text("DELETE FROM stream_chunks WHERE turn_id = ANY(CAST(:ids AS text[]))"),
)
_OF_ENDED = (
    "WHERE turn_id IN (SELECT turn_id FROM {0} EXCEPT "
    "SELECT id FROM turns WHERE status IN ('queued', 'running'))"
)
_FORGET_ORPHANED = tuple(
    sa.text(f"DELETE FROM {table} {_OF_ENDED.format(table)}")  # noqa: S608  (constants)
    for table in ("followers", "stream_chunks")
)


def follow(conn: sa.Connection, *, turn_ids: Collection[str], follower: str) -> None:
    """Make a process a follower of turns that others run."""
    conn.execute(_FOLLOW, {"ids": list(turn_ids), "follower": follower})


def unfollow(conn: sa.Connection, *, turn_ids: Collection[str], follower: str) -> None:
    """Make a process no follower of turns any more."""
    conn.execute(_UNFOLLOW, {"ids": list(turn_ids), "follower": follower})


def chunks(conn: sa.Connection, *, wanted: Sequence[tuple[str, int, int]]) -> list[Chunk]:
    """Read text of turns, in order.

    Args:
        conn: The connection.
        wanted: Turn, attempt, and how many characters of that the reader has. The first chunk may
            begin before; those of later attempts are read from their beginning.

    """
    ids, attempts, have = zip(*wanted, strict=True)
    params = {"ids": list(ids), "attempts": list(attempts), "have": list(have)}
    return [Chunk(*row) for row in conn.execute(_CHUNKS, params)]


def states(conn: sa.Connection, *, turn_ids: Collection[str]) -> list[TurnState]:
    """Read what has become of turns; one whose session was deleted is not among them."""
    return _STATES.all(conn, {"ids": list(turn_ids)})


def owned(conn: sa.Connection, *, owner: str) -> list[OwnedTurn]:
    """Read the running turns of a process, and what others want of them."""
    return [OwnedTurn(*row) for row in conn.execute(_OWNED, {"owner": owner})]


def publish(conn: sa.Connection, *, owner: str, text: Sequence[Chunk]) -> None:
    """Write text of turns for their followers, as far as the turns still are this process's."""
    ids, attempts, starts, texts, kinds = zip(*text, strict=True)
    params = {"ids": list(ids), "attempts": list(attempts), "starts": list(starts)}
    params |= {"texts": list(texts), "kinds": list(kinds)}
    conn.execute(_PUBLISH, params | {"owner": owner})


def forget(conn: sa.Connection, *, turn_ids: Collection[str]) -> None:
    """Delete the followers and the chunks of turns that have ended."""
    for statement in _FORGET:
        conn.execute(statement, {"ids": list(turn_ids)})


def forget_orphaned(conn: sa.Connection) -> None:
    """Delete what is left of turns that have ended, as after the death of a process."""
    for statement in _FORGET_ORPHANED:
        conn.execute(statement)


def signal_owners(conn: sa.Connection, *, turn_ids: Collection[str]) -> None:
    """Signal the processes that run these turns.

    It is a transaction of its own: one that signals and writes holds up every other that does.
    """
    conn.execute(_SIGNAL_OWNERS, {"ids": list(turn_ids), "prefix": Channel.TURNS.value})


def signal_followers(conn: sa.Connection, *, turn_ids: Collection[str]) -> None:
    """Signal the followers of these turns. See `signal_owners`."""
    conn.execute(_SIGNAL_FOLLOWERS, {"ids": list(turn_ids), "prefix": Channel.TURNS.value})


def signal_channel(conn: sa.Connection, *, channel: str) -> None:
    """Signal whoever listens to a channel. See `signal_owners`."""
    conn.execute(_SIGNAL, {"channel": channel})
