"""What must be true of the rows of any database of conversations, whatever has happened to it.

Not of what is hidden: it is being swept away, row by row.
"""

import contextlib
import sqlite3
from pathlib import Path

SHOWN = """
    CREATE TEMP VIEW shown AS SELECT * FROM sessions WHERE tenant_id <> '(hidden)';
    CREATE TEMP VIEW messages AS SELECT * FROM main.messages
        WHERE session_pk IN (SELECT pk FROM shown);
    CREATE TEMP VIEW turns AS SELECT * FROM main.turns WHERE session_pk IN (SELECT pk FROM shown);
"""

FAULTS = {
    "an orphan": """
        SELECT id FROM messages m WHERE parent_seq IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM messages p WHERE p.session_pk = m.session_pk AND p.seq = m.parent_seq)""",
    "a wrong depth": """
        SELECT m.id FROM messages m LEFT JOIN messages p
            ON p.session_pk = m.session_pk AND p.seq = m.parent_seq
        WHERE m.depth <> coalesce(p.depth, 0) + 1""",
    "a parent that came later, or is younger": """
        SELECT m.id FROM messages m JOIN messages p
            ON p.session_pk = m.session_pk AND p.seq = m.parent_seq
        WHERE p.seq >= m.seq OR p.created_at > m.created_at""",
    "times out of order": """
        SELECT m.id FROM messages m JOIN messages p
            ON p.session_pk = m.session_pk AND p.seq = m.seq - 1
        WHERE p.created_at > m.created_at""",
    "a wrong count or head": """
        SELECT session_id FROM shown s LEFT JOIN messages m
            ON m.session_pk = s.pk AND m.seq = s.head_seq
        WHERE s.message_count <> coalesce(m.depth, 0)
            OR (s.head_seq IS NULL) <> (m.seq IS NULL)""",
    "a number that was lost or used twice": """
        SELECT session_id FROM shown s WHERE s.last_seq <> (
            SELECT count(*) FROM messages m WHERE m.session_pk = s.pk)""",
    "a turn that has not ended": "SELECT id FROM turns WHERE status IN ('queued', 'running')",
    "a message that has not ended": """
        SELECT id FROM messages WHERE status IN ('queued', 'running')""",
    "a reply that is not its message's": """
        SELECT m.id FROM messages m JOIN messages p
            ON p.session_pk = m.session_pk AND p.seq = m.parent_seq
        WHERE m.role = 'assistant' AND m.status = 'completed'
            AND m.content <> 'Reply to: ' || p.content""",
    "a completed turn without a reply": """
        SELECT id FROM turns t WHERE status = 'completed' AND NOT EXISTS (
            SELECT 1 FROM messages m WHERE m.id = t.message_id AND m.role = 'assistant')""",
    "a turn whose message is not there": """
        SELECT id FROM turns t WHERE input IS NULL AND NOT EXISTS (
            SELECT 1 FROM messages m WHERE m.id = t.user_message_id)""",
}


def faults(folder: Path) -> list[str]:
    """Everything in the database that cannot be; nothing if all is well."""
    path = f"file:{folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        conn.executescript(SHOWN)
        conn.execute("BEGIN")
        broken = [row for row in conn.execute("PRAGMA integrity_check") if row != ("ok",)]
        return [
            *(f"integrity: {row[0]}" for row in broken),
            *(f"foreign key: {row}" for row in conn.execute("PRAGMA foreign_key_check")),
            *(f"{name}: {row[0]}" for name, sql in FAULTS.items() for row in conn.execute(sql)),
        ]


def contents(folder: Path, session: str) -> list[str]:
    """The messages of users in a session, in every branch, in the order in which they came."""
    path = f"file:{folder}/chatkeep.db?mode=ro"
    sql = """SELECT content FROM messages JOIN sessions ON pk = session_pk
        WHERE session_id = ? AND role = 'user' ORDER BY seq"""
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        return [content for (content,) in conn.execute(sql, (session,))]
