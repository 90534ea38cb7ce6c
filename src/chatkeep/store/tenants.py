"""Tenants and their users. A user is a tenant whose id is `tenant/user`, and has that parent."""

from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.errors import TenantErased, TenantNotFound
from chatkeep.domain.model import DEFAULT_TENANT
from chatkeep.store import audit
from chatkeep.store.audit import Action
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import HIDDEN, TenantRow, calls, keys, secrets, sessions, tenants, turns
from chatkeep.store.tables import audit as audit_table

NOTHING = "-"
"""The name of a key whose owner is erased."""


class TenantUse(NamedTuple):
    """A tenant or a user with how much there is of it."""

    id: str
    created_at: int
    session_count: int
    last_activity: int | None


def create(conn: sa.Connection, *, tenant: str, actor: str, at: int) -> bool:
    """Store a tenant unless it is there; return whether it is new. Raises `TenantErased`."""
    row = find(conn, tenant=tenant)
    if row is not None and row.deleted_at is not None:
        raise TenantErased
    if row is not None:
        return False
    conn.execute(tenants.insert(), {"id": tenant, "created_at": at})
    _note(conn, tenant, actor, Action.TENANT_CREATED, at)
    return True


def ensure(conn: sa.Connection, *, tenant: str, at: int) -> None:
    """Check that a session may be made for a tenant; store its user before their first one.

    Raises:
        TenantNotFound: There is no such tenant, or it is being erased.

    """
    if tenant == DEFAULT_TENANT:
        return
    parent, _, user = tenant.partition("/")
    if not _is_there(find(conn, tenant=parent)):
        raise TenantNotFound(f"There is no tenant {parent}.")
    if not user:
        return
    row = find(conn, tenant=tenant)
    if row is None:
        conn.execute(tenants.insert(), {"id": tenant, "parent_id": parent, "created_at": at})
    elif not _is_there(row):
        raise TenantNotFound("This user is being erased.")


def find(conn: sa.Connection, *, tenant: str) -> TenantRow | None:
    """The row of a tenant or a user."""
    return _BY_ID.first(conn, {"id": tenant})


def listed(
    conn: sa.Connection,
    *,
    parent: str | None,
    after: str,
    limit: int,
    only: str | None = None,
) -> list[TenantUse]:
    """The tenants, or the users of one, in the order of their ids.

    Args:
        conn: The connection.
        parent: Whose users; `None` for the tenants themselves.
        after: The last id of the page before; empty for the first page.
        limit: Entries at most.
        only: The one of them that the caller may see; `None` for all.

    """
    entries = _USE.where(
        tenants.c.parent_id.is_(None) if parent is None else tenants.c.parent_id == parent
    )
    if only is not None:
        entries = entries.where(tenants.c.id == only)
    return TypedSelect(entries.statement.limit(limit), TenantUse).all(conn, {"after": after})


def mark_deleted(conn: sa.Connection, *, tenant: str, actor: str, at: int) -> None:
    """Begin to erase a tenant with its users, or one user: from now on nothing lets them in.

    Once is enough. Raises `TenantNotFound`.
    """
    row = find(conn, tenant=tenant)
    if row is None:
        raise TenantNotFound
    if row.deleted_at is not None:
        return
    of_it = (tenants.c.id == tenant) | (tenants.c.parent_id == tenant)
    conn.execute(tenants.update().where(of_it).values(deleted_at=at))
    parent, _, user = tenant.partition("/")
    its_keys: list[sa.ColumnElement[bool]] = [keys.c.tenant_id == parent]
    of_key = sa.select(keys.c.id).where(*its_keys)
    its_secrets: list[sa.ColumnElement[bool]] = [secrets.c.key_id.in_(of_key)]
    if user:
        its_keys.append(keys.c.user == user)
        its_secrets.append(secrets.c.user == user)
    conn.execute(secrets.delete().where(*its_secrets))
    conn.execute(keys.update().where(*its_keys, keys.c.revoked_at.is_(None)).values(revoked_at=at))
    # Its name would outlive it in the log.
    action = Action.USER_DELETED if user else Action.TENANT_DELETED
    audit.add(conn, actor=actor, tenant=parent, action=action, target=None, at=at)


def erased(conn: sa.Connection) -> list[str]:
    """The tenants and users that are being erased."""
    return list(conn.scalars(sa.select(tenants.c.id).where(tenants.c.deleted_at.is_not(None))))


def session_ids(conn: sa.Connection, *, tenant: str, limit: int) -> list[str]:
    """Ids of sessions of a tenant or a user, of any kind."""
    of_tenant = sa.select(sessions.c.session_id).where(sessions.c.tenant_id == tenant)
    return list(conn.scalars(of_tenant.limit(limit)))


def finish_erasure(conn: sa.Connection) -> None:
    """Delete the rows of erased tenants and users that have no sessions any more.

    What a user's calls have cost stays, as the tenant's.
    """
    ids = [
        tenant
        for tenant in erased(conn)
        if conn.execute(_ANY_TURN, {"tenant": tenant}).first() is None
        and conn.execute(_ANY_SESSION, {"tenant": tenant}).first() is None
    ]
    # A user's row before that of its parent.
    for tenant in sorted(ids, key=len, reverse=True):
        parent, _, user = tenant.partition("/")
        if user:
            _forget_user(conn, parent, user)
        else:
            conn.execute(calls.delete().where(calls.c.tenant_id == tenant))
            # They count as keys that were made: without any, nobody would need one.
            conn.execute(keys.update().where(keys.c.tenant_id == tenant).values(_ANONYMOUS_KEY))
            # Its users' names are in them.
            of_users = audit_table.c.tenant_id.startswith(f"{tenant}/", autoescape=True)
            conn.execute(audit_table.update().where(of_users).values(tenant_id=tenant))
        conn.execute(tenants.delete().where(tenants.c.id == tenant))


def _forget_user(conn: sa.Connection, parent: str, user: str) -> None:
    """Remove the id of a user from what stays, which is the tenant's from now on."""
    tenant = f"{parent}/{user}"
    of_user = (keys.c.tenant_id == parent) & (keys.c.user == user)
    conn.execute(keys.update().where(of_user).values(user=None, name=NOTHING))
    conn.execute(calls.update().where(calls.c.tenant_id == tenant).values(tenant_id=parent))
    entries = audit_table.update().where(audit_table.c.tenant_id == tenant)
    conn.execute(entries.values(tenant_id=parent))
    if parent == DEFAULT_TENANT:
        # A proxy signs people in to this tenant alone.
        by_user = audit_table.update().where(audit_table.c.actor == f"proxy:{user}")
        conn.execute(by_user.values(actor="proxy"))


def _is_there(row: TenantRow | None) -> bool:
    return row is not None and row.deleted_at is None


def _note(conn: sa.Connection, tenant: str, actor: str, action: Action, at: int) -> None:
    audit.add(conn, actor=actor, tenant=tenant, action=action, target=tenant, at=at)


_ANONYMOUS_KEY = {"tenant_id": DEFAULT_TENANT, "user": None, "name": NOTHING}
_BY_ID = TypedSelect(sa.select(tenants).where(tenants.c.id == sa.bindparam("id")), TenantRow)
_ANY_SESSION = (
    sa.select(sessions.c.pk).where(sessions.c.tenant_id == sa.bindparam("tenant")).limit(1)
)
_ANY_TURN = sa.select(turns.c.id).where(turns.c.tenant_id == sa.bindparam("tenant")).limit(1)
_OF_TENANT = sessions.c.tenant_id == tenants.c.id
_USE = TypedSelect(
    sa.select(
        tenants.c.id,
        tenants.c.created_at,
        sa.select(sa.func.count()).where(_OF_TENANT).scalar_subquery().label("session_count"),
        sa.select(sa.func.max(sessions.c.updated_at))
        .where(_OF_TENANT)
        .scalar_subquery()
        .label("last_activity"),
    )
    .where(
        tenants.c.id != HIDDEN, tenants.c.deleted_at.is_(None), tenants.c.id > sa.bindparam("after")
    )
    .order_by(tenants.c.id),
    TenantUse,
)
