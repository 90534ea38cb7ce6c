"""Keys, and the secrets that prove them. Only digests of secrets are stored."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import KeyEnded, KeyInvalid, KeyNotFound, NotAllowed
from chatkeep.domain.model import Scope
from chatkeep.store import audit, tenants
from chatkeep.store.audit import Action
from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.tables import KeyRow, keys, secrets


class Credential(NamedTuple):
    """A secret with what counts of its key."""

    digest: bytes
    key_id: str
    kind: str
    tenant_id: str | None
    user: str | None
    scope: str
    models: str | None
    expires_at: int | None
    used_at: int | None
    key_expires_at: int | None
    revoked_at: int | None


class NewKey(NamedTuple):
    """What is decided about a key when it is made."""

    id: str
    tenant_id: str | None
    user: str | None
    name: str
    scope: Scope
    models: tuple[str, ...] | None
    expires_at: int | None


class NewSecret(NamedTuple):
    """A secret of a key: `user`, `scope` and `models` are what it may do of what the key may."""

    digest: bytes
    key_id: str
    kind: str
    user: str | None
    scope: Scope
    models: tuple[str, ...] | None
    hint: str
    expires_at: int | None
    used_at: int | None = None


class KeyHint(NamedTuple):
    """What people may see of one of a key's own secrets."""

    key_id: str
    hint: str
    created_at: int
    expires_at: int | None


def create(conn: sa.Connection, *, key: NewKey, secret: NewSecret, actor: str, at: int) -> KeyRow:
    """Store a key with its secret. Raises `TenantNotFound`, also while one is being erased."""
    if key.tenant_id is not None:
        owner = f"{key.tenant_id}/{key.user}" if key.user else key.tenant_id
        tenants.ensure(conn, tenant=owner, at=at)
    values = {**key._asdict(), "scope": key.scope.value, "models": _json(key.models)}
    conn.execute(keys.insert(), {**values, "created_at": at})
    add_secret(conn, secret=secret, at=at)
    _note(conn, key.id, key.tenant_id, actor, Action.KEY_CREATED, at)
    return read(conn, key_id=key.id)


def rotate(conn: sa.Connection, *, secret: NewSecret, ends_at: int, actor: str, at: int) -> KeyRow:
    """Add a secret to its key, and let those that the key has end.

    Args:
        conn: The connection.
        secret: The new one.
        ends_at: When the others end, unless they end before, in microseconds since 1970.
        actor: Who does it.
        at: The time, in microseconds since 1970.

    Raises:
        KeyNotFound: There is no such key.
        KeyEnded: It was revoked.

    """
    row = read(conn, key_id=secret.key_id)
    if row.revoked_at is not None:
        raise KeyEnded
    ends_later = secrets.c.expires_at.is_(None) | (secrets.c.expires_at > ends_at)
    of_key = sa.and_(secrets.c.key_id == row.id, ends_later)
    conn.execute(secrets.update().where(of_key).values(expires_at=ends_at))
    add_secret(
        conn,
        secret=secret._replace(user=row.user, scope=Scope(row.scope), models=models_of(row.models)),
        at=at,
    )
    _note(conn, row.id, row.tenant_id, actor, Action.KEY_ROTATED, at)
    return row


def revoke(conn: sa.Connection, *, key_id: str, actor: str, at: int) -> KeyRow:
    """End a key with everything that was let in with it. Once is enough. Raises `KeyNotFound`."""
    row = read(conn, key_id=key_id)
    if row.revoked_at is None:
        conn.execute(keys.update().where(keys.c.id == key_id).values(revoked_at=at))
        _note(conn, key_id, row.tenant_id, actor, Action.KEY_REVOKED, at)
    return read(conn, key_id=key_id)


def rename(conn: sa.Connection, *, key_id: str, name: str, actor: str, at: int) -> KeyRow:
    """Change the name of a key. Raises `KeyNotFound`."""
    row = read(conn, key_id=key_id)
    conn.execute(keys.update().where(keys.c.id == key_id).values(name=name))
    _note(conn, key_id, row.tenant_id, actor, Action.KEY_CHANGED, at)
    return read(conn, key_id=key_id)


def add_secret(conn: sa.Connection, *, secret: NewSecret, at: int) -> None:
    """Store the digest of a secret."""
    values = {**secret._asdict(), "scope": secret.scope.value, "models": _json(secret.models)}
    conn.execute(secrets.insert(), {**values, "created_at": at})


def derive(conn: sa.Connection, *, parent: bytes, secret: NewSecret, tenant: str, at: int) -> int:
    """Store a token or the secret of a browser, which a key's own secret was shown for.

    Args:
        conn: The connection.
        parent: The digest of what was shown.
        secret: The new one; it ends with what was shown, if not before.
        tenant: Whose sessions it is for.
        at: The time, in microseconds since 1970.

    Returns:
        When it ends, in microseconds since 1970.

    Raises:
        NotAllowed: What was shown is itself a token or a browser's.
        KeyInvalid: It does not exist any more.
        TenantNotFound: The tenant or the user is being erased.

    """
    shown = find(conn, digest=parent)
    if shown is None or shown.revoked_at is not None:
        raise KeyInvalid
    if shown.kind != "ckp":
        raise NotAllowed("Only a key itself can do that, no token and no cookie.", needs="chat")
    tenants.ensure(conn, tenant=tenant, at=at)
    ends = (secret.expires_at, shown.expires_at, shown.key_expires_at)
    ends_at = min(end for end in ends if end is not None)
    add_secret(conn, secret=secret._replace(expires_at=ends_at), at=at)
    if secret.kind == "ckb":
        _note(conn, secret.key_id, tenant, secret.key_id, Action.LOGIN, at)
    return ends_at


def sign_out(conn: sa.Connection, *, digest: bytes, at: int) -> None:
    """Delete the secret of a browser, if it is one."""
    credential = find(conn, digest=digest)
    if credential is None or credential.kind != "ckb":
        return
    conn.execute(secrets.delete().where(secrets.c.digest == digest))
    key = credential.key_id
    _note(conn, key, credential.tenant_id, key, Action.LOGOUT, at)


def find(conn: sa.Connection, *, digest: bytes) -> Credential | None:
    """The secret with this digest, whether it still holds or not."""
    return _BY_DIGEST.first(conn, {"digest": digest})


def is_any(conn: sa.Connection) -> bool:
    """True if a key was ever made: one that is revoked counts."""
    return conn.execute(_ANY).first() is not None


def read(conn: sa.Connection, *, key_id: str) -> KeyRow:
    """One key. Raises `KeyNotFound`."""
    row = _BY_ID.first(conn, {"id": key_id})
    if row is None:
        raise KeyNotFound
    return row


def listed(conn: sa.Connection, *, tenant: str | None, after: str, limit: int) -> list[KeyRow]:
    """The keys, or those of one tenant, oldest first.

    Args:
        conn: The connection.
        tenant: Whose keys; `None` for all.
        after: The last id of the page before; empty for the first page.
        limit: Keys at most.

    """
    rows = _ALL if tenant is None else _ALL.where(keys.c.tenant_id == tenant)
    return TypedSelect(rows.statement.limit(limit), KeyRow).all(conn, {"after": after})


def hints(conn: sa.Connection, *, key_ids: Sequence[str]) -> list[KeyHint]:
    """What people may see of these keys' own secrets, oldest first."""
    return _HINTS.all(conn, {"ids": key_ids})


def note_use(
    conn: sa.Connection, *, used: Mapping[str, int], browsers: Mapping[bytes, int]
) -> None:
    """Write down when keys and the secrets of browsers were last used.

    Args:
        conn: The connection.
        used: By key, the time in microseconds since 1970.
        browsers: The same by the digests of their secrets.

    """
    if used:
        params = [{"key": key, "used": at} for key, at in used.items()]
        conn.execute(_NOTE_USE, params)
    if browsers:
        params = [{"secret": digest, "used": at} for digest, at in browsers.items()]
        conn.execute(_NOTE_BROWSERS, params)


def delete_expired(conn: sa.Connection, *, at: int, limit: int) -> int:
    """Delete up to `limit` secrets that ended before a time; return how many."""
    ended = sa.select(secrets.c.digest).where(secrets.c.expires_at < at).limit(limit)
    return conn.execute(secrets.delete().where(secrets.c.digest.in_(ended))).rowcount


def models_of(text: str | None) -> tuple[str, ...] | None:
    """The models in a column `models`."""
    return None if text is None else tuple(orjson.loads(text))


def _note(
    conn: sa.Connection, key_id: str, tenant: str | None, actor: str, action: Action, at: int
) -> None:
    audit.add(conn, actor=actor, tenant=tenant, action=action, target=key_id, at=at)


def _json(models: tuple[str, ...] | None) -> str | None:
    return None if models is None else orjson.dumps(models).decode()


_BY_DIGEST = PreparedSelect(
    sa.select(
        secrets.c.digest,
        secrets.c.key_id,
        secrets.c.kind,
        keys.c.tenant_id,
        secrets.c.user,
        secrets.c.scope,
        secrets.c.models,
        secrets.c.expires_at,
        secrets.c.used_at,
        keys.c.expires_at.label("key_expires_at"),
        keys.c.revoked_at,
    )
    .join_from(secrets, keys)
    .where(secrets.c.digest == sa.bindparam("digest", type_=sa.LargeBinary)),
    Credential,
)
_ANY = sa.select(keys.c.id).limit(1)
_BY_ID = TypedSelect(sa.select(keys).where(keys.c.id == sa.bindparam("id")), KeyRow)
# Ids are in the order of their creation.
_ALL = TypedSelect(
    sa.select(keys).where(keys.c.id > sa.bindparam("after")).order_by(keys.c.id), KeyRow
)
_HINTS = TypedSelect(
    sa.select(secrets.c.key_id, secrets.c.hint, secrets.c.created_at, secrets.c.expires_at)
    .where(secrets.c.kind == "ckp", secrets.c.key_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(secrets.c.created_at),
    KeyHint,
)
_NOTE_USE = (
    keys.update().where(keys.c.id == sa.bindparam("key")).values(last_used_at=sa.bindparam("used"))
)
_NOTE_BROWSERS = (
    secrets.update()
    .where(secrets.c.digest == sa.bindparam("secret"))
    .values(used_at=sa.bindparam("used"))
)
