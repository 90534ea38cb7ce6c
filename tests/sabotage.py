"""A Chatkeep with one guarantee broken on purpose: `python -m tests.sabotage NAME serve …`.

Each guarantee's test is run against the one that breaks it, and must fail.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chatkeep import cli, shared_notifications
from chatkeep import leases as keeper
from chatkeep.domain.events import Position
from chatkeep.domain.model import Reply, Role
from chatkeep.store import (
    deletion,
    events,
    exchange,
    idempotency,
    imports,
    leases,
    messages,
    postgres,
    rows,
    sessions,
    signals,
    sqlite,
    tables,
)
from chatkeep.store.prepared import PreparedSelect
from chatkeep.store.search import index
from chatkeep.store.tables import SessionValues, TurnRow
from chatkeep.turns import service, stream, text_buffer
from chatkeep.turns.finish import TurnFinisher
from chatkeep.turns.remote_readers import RemoteReaders
from chatkeep.turns.runner import TASKS, TurnRunner


def no_sync() -> None:
    """The database leaves it to the system when it writes."""

    make = sqlite._sqlite

    def relaxed(path: Path, readers: int) -> sa.Engine:
        engine = make(path, readers)

        @sa.event.listens_for(engine, "connect")
        def relax(dbapi_connection: Any, _record: object) -> None:
            dbapi_connection.execute("PRAGMA synchronous = OFF")

        return engine

    sqlite._sqlite = relaxed


def early_answer() -> None:
    """An end is announced, and only then stored."""
    store_end = TurnFinisher._store_end

    async def late(self: TurnFinisher, stream: Any, outcome: Any, *args: Any) -> Any:
        stream.settle_title(None)
        completion = outcome.completion
        stream.end(
            Reply.to(stream.turn, text=stream.text, blocks=None, title="-", completion=completion)
        )
        await asyncio.sleep(0.3)
        return await store_end(self, stream, outcome, *args)

    TurnFinisher._store_end = late  # type: ignore[method-assign]  # that is what sabotage is


def two_commits() -> None:
    """A turn's end is not one transaction: the reply is committed before the rest."""
    insert, commit = messages.insert, sqlite.SqliteStore._commit

    def commit_reply(conn: sa.Connection, *, role: Role, **values: Any) -> None:
        insert(conn, role=role, **values)
        if role is Role.ASSISTANT:
            driver: Any = conn.connection.driver_connection
            driver.execute("COMMIT")
            driver.execute("BEGIN IMMEDIATE")

    def commit_each(self: sqlite.SqliteStore, batch: list[Any]) -> None:
        # No savepoint is around a write that is alone.
        for write in batch:
            commit(self, [write])

    messages.insert = commit_reply
    sqlite.SqliteStore._commit = commit_each  # type: ignore[method-assign]  # that is what sabotage is


def forgotten_turns() -> None:
    """Turns of a dead process are not recovered."""
    leases.orphans = lambda _conn, **_: []


def forgotten_repeats() -> None:
    """A request that comes again is a new one."""
    idempotency.find = lambda _conn, **_: None  # type: ignore[assignment]  # that is what sabotage is
    insert_turn = rows.insert_turn

    def without_key(conn: sa.Connection, turn: Any, values: Any) -> None:
        insert_turn(conn, turn, {**values, "idempotency_key": None})

    rows.insert_turn = without_key


def wrong_offset() -> None:
    """A position counts bytes, as if all text were ASCII."""
    since = text_buffer.TextBuffer.since

    def in_bytes(self: text_buffer.TextBuffer, offset: int, limit: int) -> str:
        encoded = str(self).encode()
        return since(self, len(encoded[:offset].decode(errors="ignore")), limit)

    text_buffer.TextBuffer.since = in_bytes  # type: ignore[method-assign]  # that is what sabotage is


def deaf_to_restarts() -> None:
    """A reader that reconnects gets no event of another attempt."""
    next_event = stream.TurnStream._next

    def without_restart(self: stream.TurnStream, at: Position | None, **more: Any) -> Any:
        if at is not None and at.attempt != self.attempt:
            at = Position(self.attempt, min(at.offset, len(self.text)), at.is_titled)
        return next_event(self, at, **more)

    stream.TurnStream._next = without_restart  # type: ignore[method-assign]  # that is what sabotage is


def newest_first() -> None:
    """Of the queued turns the newest is the next."""
    rows.NEXT = PreparedSelect(rows.NEXT.statement.order_by(None).order_by(sa.desc("seq")), TurnRow)


def hasty_stop() -> None:
    """Turns get no time to end when the server stops, and no stream announces it."""
    TurnRunner.close = lambda self, _seconds: _cancel(self)  # type: ignore[method-assign]  # the same
    keeper.LeaseKeeper.close = _nothing  # type: ignore[method-assign]  # that is what sabotage is
    sqlite.SqliteStore.close = lambda _self: None  # type: ignore[method-assign]  # the same
    leases.orphans = lambda _conn, **_: []


def remembered_words() -> None:
    """What is removed from the index of the search is only marked as removed."""
    index.optimize_index = lambda _conn, **_: False


def kept_log() -> None:
    """The write-ahead log is not emptied after a deletion."""
    sqlite.SqliteStore._truncate_wal = lambda _self: True  # type: ignore[method-assign]  # the same


def seen_at_once() -> None:
    """A session that is imported is visible before it is whole."""
    begin = imports.begin

    def visible(conn: sa.Connection, *, tenant: str, line: Any, owner: str) -> int:
        pk = begin(conn, tenant=tenant, line=line, owner=owner)
        values: SessionValues = {"tenant_id": tenant, "session_id": line.session_id}
        rows.update_session(conn, pk, values)
        return pk

    imports.begin = visible
    imports._check_hidden = lambda *_: None


def unasked_commits() -> None:
    """Where the answer to a commit is lost, nobody asks whether it happened."""
    store = postgres.PostgresStore

    async def write(self: Any, work: Any, _is_done: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.write(work, *args, **kwargs)

    store.write_once = write  # type: ignore[method-assign]  # that is what sabotage is


def deaf_to_stops() -> None:
    """A process does not see that another one stops its turn."""
    owned = exchange.owned
    exchange.owned = lambda conn, *, owner: [  # type: ignore[assignment]  # the same
        row._replace(stop=None) for row in owned(conn, owner=owner)
    ]
    service.CANCEL_SECONDS = 1


def unclaimed_titles() -> None:
    """Every process makes the title of a session that has none."""
    sessions.claim_title = lambda *_: True


def uncounted_events() -> None:
    """Events have numbers, but not one after the other, and no reader minds."""
    events._ADD = sa.text(str(events._ADD).replace("last + :count", "last + :count + 1", 1))
    extend = shared_notifications._extend

    def tolerant(feed: Any, count: Any, new: Any) -> None:
        for event in new:
            feed.count = event.seq - 1
            extend(feed, count, [event])

    shared_notifications._extend = tolerant


def forgotten_imports() -> None:
    """A process that starts gives up what the living import."""
    deletion._GIVE_UP_IMPORTS = (
        sa.update(tables.sessions)
        .where(tables.sessions.c.session_id.startswith(f"{deletion.IMPORTED}:"))
        .values(session_id=sa.func.replace(tables.sessions.c.session_id, "import:", "deleted:"))
    )


def hasty_watch() -> None:
    """A lease that stands still for some seconds is ended, whatever was not seen meanwhile."""
    renew = keeper.LeaseKeeper.renew

    async def look(self: Any) -> Any:
        others = await self._store.renew(leases.others, owner=self.owner)
        now, before = time.monotonic(), self._seen
        # Since the last look, if it is another than then.
        last = max(before.values(), default=now)
        self._seen = dict.fromkeys(others, now)
        for lease in others:
            if now - before.get(lease, last) >= keeper.LOOKS * self._pause:
                await self._store.renew(leases.end, lease=lease)
        await renew(self)
        return keeper.Gone()

    keeper.LeaseKeeper.renew = _nothing  # type: ignore[method-assign]  # that is what sabotage is
    keeper.LeaseKeeper.look = look  # type: ignore[method-assign]  # the same


def unknown_turns() -> None:
    """A process does not look whether it runs what is its own."""
    RemoteReaders._adopt_lost = _nothing  # type: ignore[method-assign]  # that is what sabotage is


def unlocked_sessions() -> None:
    """Nobody locks the session of what is read to be changed."""

    def unlocked(select: PreparedSelect[Any]) -> PreparedSelect[Any]:
        statement = select.statement._clone()
        statement._for_update_arg = None
        return PreparedSelect(statement, select.row_type)

    for name in ("_SESSION", "_FREE_SESSION", "_SESSION_OF_TURN"):
        setattr(rows, name, unlocked(getattr(rows, name)))
    sessions._FIND = unlocked(sessions._FIND)


def blind_followers() -> None:
    """Who follows a turn takes whatever text comes for what comes next."""
    chunks = exchange.chunks

    def blind(conn: sa.Connection, *, wanted: Any) -> list[exchange.Chunk]:
        have = {turn: count for turn, _, count in wanted}
        everything = [(turn, attempt, 0) for turn, attempt, _ in wanted]
        return [row._replace(start=have[row.turn_id]) for row in chunks(conn, wanted=everything)]

    exchange.chunks = blind


def only_signals() -> None:
    """Nobody looks soon without a signal."""
    wait = signals.Subscription.wait

    async def patient(self: signals.Subscription, _seconds: float, *, at_least: float) -> None:
        await wait(self, 20, at_least=at_least)

    signals.Subscription.wait = patient  # type: ignore[method-assign]  # that is what sabotage is
    signals.UNRELIABLE_SECONDS = 20


def unflushed_commits() -> None:
    """A turn is acknowledged before it is on the disk, or on the standby."""
    connection = postgres._connection

    def relaxed(url: sa.URL, purpose: str = "") -> dict[str, Any]:
        made = connection(url, purpose)
        return made | {"options": made["options"] + " -c synchronous_commit=off"}

    postgres._connection = relaxed


async def _cancel(runner: TurnRunner) -> None:
    await runner._background.cancel(TASKS)


async def _nothing(*_: object) -> None:
    return


MODES: dict[str, Callable[[], None]] = {
    mode.__name__: mode
    for mode in (
        no_sync,
        early_answer,
        two_commits,
        forgotten_turns,
        forgotten_repeats,
        wrong_offset,
        deaf_to_restarts,
        newest_first,
        hasty_stop,
        remembered_words,
        kept_log,
        seen_at_once,
        unasked_commits,
        deaf_to_stops,
        unclaimed_titles,
        uncounted_events,
        forgotten_imports,
        hasty_watch,
        unknown_turns,
        unlocked_sessions,
        blind_followers,
        only_signals,
        unflushed_commits,
    )
}

if __name__ == "__main__":
    MODES[sys.argv.pop(1)]()
    cli.main()
