"""The audit log: who did what, and when. It has names of things, and none of their texts."""

from enum import StrEnum

import sqlalchemy as sa

from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import AuditRow, audit


class Action(StrEnum):
    """What was done."""

    LOGIN = "login"
    LOGOUT = "logout"
    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    TENANT_CREATED = "tenant.created"
    TENANT_DELETED = "tenant.deleted"
    USER_DELETED = "user.deleted"
    SESSION_DELETED = "session.deleted"
    EXPORTED = "exported"
    IMPORTED = "imported"


def add(
    conn: sa.Connection,
    *,
    actor: str,
    tenant: str | None,
    action: Action,
    target: str | None,
    at: int,
) -> None:
    """Write down a deed, in the transaction that does it.

    Args:
        conn: The connection.
        actor: Who did it: the id of a key, or how else the caller was recognised.
        tenant: Whose things it concerned; `None` for the server's own.
        action: What was done.
        target: With what: an id, never a text.
        at: The time, in microseconds since 1970.

    """
    values = {"actor": actor, "tenant_id": tenant, "action": action.value, "target": target}
    conn.execute(audit.insert(), {**values, "at": at})


def page(
    conn: sa.Connection, *, tenant: str | None, before: int | None, limit: int
) -> list[AuditRow]:
    """The newest entries first.

    Args:
        conn: The connection.
        tenant: Only what concerned this tenant or its users; `None` for everything.
        before: Only entries before this number.
        limit: Entries at most.

    """
    entries = _NEWEST
    if tenant is not None:
        of_users = audit.c.tenant_id.startswith(f"{tenant}/", autoescape=True)
        entries = entries.where((audit.c.tenant_id == tenant) | of_users)
    if before is not None:
        entries = entries.where(audit.c.pk < before)
    return TypedSelect(entries.statement.limit(limit), AuditRow).all(conn, {})


def delete_before(conn: sa.Connection, *, at: int, limit: int) -> int:
    """Delete up to `limit` entries from before a time; return how many."""
    oldest = sa.select(audit.c.pk).where(audit.c.at < at).order_by(audit.c.at).limit(limit)
    return conn.execute(audit.delete().where(audit.c.pk.in_(oldest))).rowcount


_NEWEST = TypedSelect(sa.select(audit).order_by(audit.c.pk.desc()), AuditRow)
