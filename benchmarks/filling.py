"""Databases of any size, written straight into the tables."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chatkeep.store.database import Store
from chatkeep.store.opening import make_store
from chatkeep.store.search import index
from chatkeep.store.tables import messages, sessions

BATCH = 20_000
SPREAD = 10_000_000
"""More than a session has messages: their keys of the search are apart."""

TEXT = "Some words about nothing in particular, as long as a short answer may be. " * 3


def fill(
    path: Path,
    *,
    histories: tuple[int, ...],
    listed: int,
    texts: Iterator[str] | None = None,
) -> None:
    """Make a database with a session `history-N` of each length N, and `listed` short ones.

    Sessions of the same length have a number behind it. `texts` are the messages' contents.
    """
    store = make_store(f"sqlite:///{path}", readers=1, write_queue=10)
    store.open()
    asyncio.run(_fill(store, histories, listed, texts or itertools.repeat(TEXT)))
    store.close()


async def _fill(
    store: Store, histories: tuple[int, ...], listed: int, texts: Iterator[str]
) -> None:
    names = [(f"listed-{number}", 0) for number in range(listed)]
    named = itertools.groupby(sorted(histories))
    for length, same in named:
        for number, _ in enumerate(same):
            names.append((f"history-{length}{f'-{number}' if number else ''}", length))
    rows = [
        {
            "pk": pk,
            "tenant_id": "default",
            "session_id": name,
            "title": "Words About Nothing",
            "title_source": "model",
            "title_pending": False,
            "head_seq": length or None,
            "last_seq": length,
            "message_count": length,
            "turn_count": length // 2,
            "created_at": 1_000_000 + pk,
            "updated_at": 1_000_000 + pk,
            "search_key": 2 * pk + 1,
        }
        for pk, (name, length) in enumerate(names, start=1)
    ]
    for start in range(0, len(rows), BATCH):
        await store.write(_insert, sessions, rows[start : start + BATCH])
    for pk, (_, length) in enumerate(names, start=1):
        for start in range(1, length + 1, BATCH):
            end = min(start + BATCH, length + 1)
            await store.write(
                _insert, messages, [_message(pk, n, next(texts)) for n in range(start, end)]
            )


def _message(session_pk: int, seq: int, content: str) -> dict[str, Any]:
    return {
        "session_pk": session_pk,
        "seq": seq,
        "id": f"msg_{session_pk}_{seq}",
        "parent_seq": seq - 1 or None,
        "depth": seq,
        "role": "user" if seq % 2 else "assistant",
        "content": content,
        "status": "completed",
        "turn_id": None,
        "created_at": 1_000_000 + session_pk,
        "search_key": (session_pk * SPREAD + seq) * 2,
    }


def _insert(conn: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    conn.execute(table.insert(), rows)
    index.add(
        conn,
        [
            index.Entry(
                row["search_key"],
                row["title"] if table is sessions else row["content"],
                "default",
                row["pk"] if table is sessions else row["session_pk"],
                "title" if table is sessions else row["role"],
            )
            for row in rows
        ],
    )
