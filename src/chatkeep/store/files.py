"""Pictures and documents of sessions, by the SHA-256 of their bytes: each is stored once a session.

They go with their session: no file is shared between sessions, so none has to be counted, and
nobody learns from an upload whether somebody else has the same one.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import FileContent
from chatkeep.store.prepared import PreparedSelect, PreparedStatement, TypedSelect
from chatkeep.store.tables import files, sessions


class StoredFile(NamedTuple):
    """A file of a session."""

    digest: bytes
    mime_type: str
    data: bytes


_INSERT = PreparedStatement(
    # Unless it is there; in the words of both databases.
    sa.text(
        "INSERT INTO files (session_pk, digest, mime_type, size, data) "
        "VALUES (:session_pk, :digest, :mime_type, :size, :data) ON CONFLICT DO NOTHING"
    )
)
_COLUMNS = (files.c.digest, files.c.mime_type, files.c.data)
_SOME = TypedSelect(
    sa.select(*_COLUMNS).where(
        files.c.session_pk == sa.bindparam("session"),
        files.c.digest.in_(sa.bindparam("digests", expanding=True)),
    ),
    StoredFile,
)
_OF_TENANT = PreparedSelect(
    sa.select(*_COLUMNS)
    .join(sessions, sessions.c.pk == files.c.session_pk)
    .where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
        files.c.digest == sa.bindparam("file_digest"),
    ),
    StoredFile,
)


def insert(conn: sa.Connection, *, session_pk: int, contents: Iterable[FileContent]) -> None:
    """Store files of a session, each once."""
    for content in contents:
        _INSERT.run(
            conn,
            {
                "session_pk": session_pk,
                "digest": bytes.fromhex(content.file_id),
                "mime_type": content.mime_type,
                "size": len(content.data),
                "data": content.data,
            },
        )


def read(
    conn: sa.Connection, *, session_pk: int, file_ids: Collection[str]
) -> dict[str, FileContent]:
    """Those of a session's files that have these ids."""
    digests = [bytes.fromhex(file_id) for file_id in dict.fromkeys(file_ids)]
    rows = _SOME.all(conn, {"session": session_pk, "digests": digests})
    return {row.digest.hex(): _content(row) for row in rows}


def find(conn: sa.Connection, *, tenant: str, session_id: str, file_id: str) -> FileContent | None:
    """A file of a tenant's session, if it is there."""
    params = {"tenant": tenant, "name": session_id, "file_digest": bytes.fromhex(file_id)}
    row = _OF_TENANT.first(conn, params)
    return None if row is None else _content(row)


def _content(row: StoredFile) -> FileContent:
    return FileContent(row.digest.hex(), row.mime_type, bytes(row.data))
