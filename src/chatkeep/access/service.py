"""Who a caller is, and the keys, tokens and browsers that are let in."""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from chatkeep import telemetry
from chatkeep.access import credentials
from chatkeep.access.credentials import Kind
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import (
    ChatError,
    KeyExpired,
    KeyInvalid,
    KeyMissing,
    KeyRevoked,
    NotAllowed,
)
from chatkeep.domain.model import SERVER_SCOPES, Caller, Scope
from chatkeep.domain.times import now, rfc3339
from chatkeep.store import audit, keys
from chatkeep.store.database import Store
from chatkeep.store.tables import KeyRow

logger = telemetry.logger("access")

TASKS = "access"
"""What this writes down in the background."""

CACHED_CALLERS = 10_000
CACHE_SECONDS = 5
"""How long a caller is not looked up again: a key that another process revokes ends after that."""

KEYLESS_SECONDS = 1
"""How long after the first key was made by another process this one still needs none."""

WRITE_SECONDS = 60
"""Pause between writes of when keys were used: one for each request would cost as much as that."""

SECOND = 1_000_000
IDLE_MICROSECONDS = 12 * 3_600 * SECOND
"""How long a browser that is not used stays signed in."""
LONGEST_MICROSECONDS = 30 * 24 * 3_600 * SECOND
"""How long a browser stays signed in at most."""

DAY_MICROSECONDS = 24 * 3_600 * SECOND
EXPIRED_MICROSECONDS = DAY_MICROSECONDS
"""How long after its end a secret is still known, so that its owner learns that it has expired."""

TIDIED = 1_000
"""Secrets and entries of the audit log that are deleted at a time."""

HOW_TO_SEND = "Send a key as `Authorization: Bearer <key>`."
NO_KEY_YET = "There is no key yet: run `chatkeep keys create` on the server."


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who needs a key.

    Attributes:
        requires_key: Whether callers need one even while none was ever made.
        admin_key: A secret of the server's own that acts as a key with the scope `admin`.
        audit_days: How long the audit log is kept.

    """

    requires_key: bool
    admin_key: str | None
    audit_days: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is managed; `hints` are the ends of its secrets, by which people tell them."""

    id: str
    name: str
    scope: Scope
    tenant: str | None
    user: str | None
    models: tuple[str, ...] | None
    hints: tuple[str, ...]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


@dataclass(frozen=True, slots=True)
class NewKeyRecord(KeyRecord):
    """A key with its new secret, which nothing shows again."""

    key: str


class _Cached(NamedTuple):
    caller: Caller
    ends_at: int | None
    checked_at: float


class AccessService:
    """Recognises callers by what they show, and makes, changes and ends what they can show."""

    def __init__(self, store: Store, background: BackgroundTasks, settings: AccessSettings) -> None:
        """Take where keys are stored, and who needs one."""
        self._store = store
        self._background = background
        self._settings = settings
        self._admin_digest = settings.admin_key and credentials.digest(settings.admin_key)
        self.local_secret = credentials.new_secret(Kind.LOCAL)
        self._local_digest = credentials.digest(self.local_secret)
        self._has_keys = False
        # When it was last looked whether there is a key, by the steady clock.
        self._keyless_since = 0.0
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._generation = 0
        """Counts how often somebody may have been let in no more."""
        self._used: dict[str, int] = {}
        self._browsers: dict[bytes, int] = {}
        self._refused, self._last_refusal = 0, 0.0

    @property
    def is_keyless(self) -> bool:
        """True while nobody needs a key."""
        return not self._has_keys and not self._settings.requires_key

    @property
    def has_keys(self) -> bool:
        """True if a key was ever made."""
        return self._has_keys

    async def start(self) -> None:
        """Look whether there are keys, and write down from now on when they are used."""
        self._has_keys = await self._store.read(keys.is_any)
        self._background.spawn(TASKS, self._write_down())

    async def close(self) -> None:
        """Write down what was not written yet."""
        await self._background.cancel(TASKS)
        try:
            await self._note_use()
        except ChatError as error:
            logger.warning("use_of_keys_not_written", code=error.code)

    async def authenticate(self, secret: str | None) -> Caller:
        """Return who shows a secret, or nothing.

        Raises:
            KeyMissing: Nothing was shown, and a key is needed.
            KeyInvalid: The secret is not one of this server's.
            KeyExpired: It was one.
            KeyRevoked: Its key was revoked.

        """
        digest = None if secret is None else credentials.digest(secret)
        if digest is not None and hmac.compare_digest(digest, self._local_digest):
            return Caller(scope=Scope.LOCAL, actor="local", digest=digest)
        if self.is_keyless and not await self._finds_first_key():
            # Stock clients insist on sending a key.
            return Caller()
        if secret is None or digest is None:
            raise KeyMissing(HOW_TO_SEND if self._has_keys else NO_KEY_YET)
        if self._admin_digest and hmac.compare_digest(digest, self._admin_digest):
            return Caller(tenant="", scope=Scope.ADMIN, actor="admin-key", digest=digest)
        if credentials.kind_of(secret) is None:
            raise KeyInvalid
        return await self._caller(digest, is_use=True)

    async def is_valid(self, caller: Caller) -> bool:
        """Return whether what a caller has shown still holds."""
        if caller.digest is None:
            is_keyless = self.is_keyless and not await self._finds_first_key()
            return is_keyless or caller.actor.startswith("proxy:")
        if caller.digest in {self._local_digest, self._admin_digest}:
            return True
        try:
            # An open stream is no use: a page that nobody looks at must not stay signed in.
            await self._caller(caller.digest, is_use=False)
        except (KeyInvalid, KeyExpired, KeyRevoked):
            return False
        return True

    async def _finds_first_key(self) -> bool:
        """Look from time to time whether another process has made the first key."""
        moment = time.monotonic()
        if not self._store.is_exclusive and moment - self._keyless_since > KEYLESS_SECONDS:
            self._keyless_since = moment
            # One that was made here meanwhile stays.
            self._has_keys |= await self._store.read(keys.is_any)
        return self._has_keys

    def look_up_again(self) -> None:
        """Forget what callers may do: some of them may no longer."""
        self._generation += 1
        self._cache.clear()

    def refuse(self, code: str) -> None:
        """Count a refusal, and log it: one line a second, however many there are."""
        self._refused += 1
        if (moment := time.monotonic()) - self._last_refusal >= 1:
            logger.warning("caller_refused", code=code, count=self._refused)
            self._refused, self._last_refusal = 0, moment

    async def list_keys(self, tenant: str | None, *, after: str, limit: int) -> list[KeyRecord]:
        """List keys, oldest first.

        Args:
            tenant: Whose keys; `None` for all.
            after: The last id of the page before; empty for the first page.
            limit: Keys at most.

        """
        rows = await self._store.read(keys.listed, tenant=tenant, after=after, limit=limit)
        return await self._records(rows)

    async def read_key(self, key_id: str) -> KeyRecord:
        """Return a key. Raises `KeyNotFound`."""
        [record] = await self._records([await self._store.read(keys.read, key_id=key_id)])
        return record

    async def _records(self, rows: Sequence[KeyRow]) -> list[KeyRecord]:
        hints: dict[str, list[str]] = {row.id: [] for row in rows}
        for hint in await self._store.read(keys.hints, key_ids=list(hints)):
            hints[hint.key_id].append(hint.hint)
        return [_record(row, hints[row.id]) for row in rows]

    async def create_key(self, caller: Caller, key: keys.NewKey) -> NewKeyRecord:
        """Make a key.

        Raises:
            TenantNotFound: There is no such tenant.

        """
        secret = credentials.new_secret(Kind.KEY)
        stored = _secret(secret, key.id, Kind.KEY, key.user, key.scope, key.models, None)
        await self._store.write(keys.create, key=key, secret=stored, actor=caller.actor, at=now())
        self._has_keys = True
        return await self._with_secret(key.id, secret)

    async def rename_key(self, caller: Caller, key_id: str, name: str) -> KeyRecord:
        """Change the name of a key. Raises `KeyNotFound`."""
        await self._store.write(keys.rename, key_id=key_id, name=name, actor=caller.actor, at=now())
        return await self.read_key(key_id)

    async def rotate_key(self, caller: Caller, key_id: str, grace_seconds: int) -> NewKeyRecord:
        """Give a key another secret, and let those that it has end after a while.

        Raises:
            KeyNotFound: There is no such key.
            KeyEnded: The key was revoked.

        """
        secret, at = credentials.new_secret(Kind.KEY), now()
        # The key's own user, scope and models take their place when it is stored.
        stored = _secret(secret, key_id, Kind.KEY, None, Scope.READ, None, None)
        await self._store.write(
            keys.rotate,
            secret=stored,
            ends_at=at + grace_seconds * SECOND,
            actor=caller.actor,
            at=at,
        )
        self.look_up_again()
        return await self._with_secret(key_id, secret)

    async def revoke_key(self, caller: Caller, key_id: str) -> KeyRecord:
        """End a key, and whatever was let in with it. Raises `KeyNotFound`."""
        await self._store.write(keys.revoke, key_id=key_id, actor=caller.actor, at=now())
        self.look_up_again()
        return await self.read_key(key_id)

    async def _with_secret(self, key_id: str, secret: str) -> NewKeyRecord:
        record = await self.read_key(key_id)
        values = {name: getattr(record, name) for name in KeyRecord.__dataclass_fields__}
        return NewKeyRecord(**values, key=secret)

    async def create_token(
        self,
        caller: Caller,
        *,
        user: str,
        scope: Scope,
        models: tuple[str, ...] | None,
        seconds: int,
    ) -> tuple[str, int]:
        """Make a token for one user's browser; return it and the time at which it ends.

        Args:
            caller: Whose key answers for it: the token ends with the key.
            user: The user of the caller's tenant.
            scope: `user` or `chat`.
            models: The models that the token's owner may choose; `None` for those of the key.
            seconds: How long it holds, unless the key ends before.

        Raises:
            NotAllowed: The caller has shown no key of its own, or its key does not have a model.
            TenantNotFound: The user is being erased.

        """
        key_id, parent = self._key_of(caller)
        if models is None:
            models = caller.models
        elif caller.models is not None and not set(models) <= set(caller.models):
            raise NotAllowed(
                "The key does not allow that model.", needs=Scope.CHAT, pointer="#/models"
            )
        secret, at = credentials.new_secret(Kind.USER), now()
        token = _secret(secret, key_id, Kind.USER, user, scope, models, at + seconds * SECOND)
        ends_at = await self._store.write(
            keys.derive, parent=parent, secret=token, tenant=f"{caller.root}/{user}", at=at
        )
        return secret, ends_at

    async def sign_in(self, secret: str) -> tuple[Caller, str]:
        """Exchange a key for the secret of a browser's cookie, which is another one.

        Returns who has signed in, and the new secret.

        Raises:
            KeyInvalid: The secret is no key of this server's, or a token.
            NotAllowed: The key is for administration.
            ChatError: As `authenticate`.

        """
        if credentials.kind_of(secret) is not Kind.KEY:
            raise KeyInvalid
        caller = await self.authenticate(secret)
        if caller.scope in SERVER_SCOPES:
            raise NotAllowed("With this key nobody reads a conversation.", needs="chat read")
        key_id, parent = self._key_of(caller)
        cookie, at = credentials.new_secret(Kind.BROWSER), now()
        ends_at = at + LONGEST_MICROSECONDS
        stored = _secret(
            cookie, key_id, Kind.BROWSER, caller.user, caller.scope, caller.models, ends_at
        )._replace(used_at=at)
        await self._store.write(
            keys.derive, parent=parent, secret=stored, tenant=caller.tenant, at=at
        )
        return replace(caller, digest=stored.digest), cookie

    async def sign_out(self, secret: str) -> None:
        """End the secret that a browser has in its cookie, if it is one."""
        digest = credentials.digest(secret)
        await self._store.write(keys.sign_out, digest=digest, at=now())
        self.look_up_again()

    def _key_of(self, caller: Caller) -> tuple[str, bytes]:
        """Return the caller's key, and the digest of what it has shown."""
        if caller.digest is None or not caller.actor.startswith("key_"):
            raise NotAllowed("That takes a key of its own.", needs="chat")
        return caller.actor, caller.digest

    async def _caller(self, digest: bytes, *, is_use: bool) -> Caller:
        cached = self._cache.get(digest)
        if cached is None or time.monotonic() - cached.checked_at > CACHE_SECONDS:
            cached = await self._look_up(digest, is_use=is_use)
        moment = now()
        if cached.ends_at is not None and cached.ends_at <= moment:
            raise KeyExpired
        if is_use:
            self._used[cached.caller.actor] = moment
        return cached.caller

    async def _look_up(self, digest: bytes, *, is_use: bool) -> _Cached:
        generation = self._generation
        credential = await self._store.read(keys.find, digest=digest)
        if credential is None or not hmac.compare_digest(credential.digest, digest):
            self._cache.pop(digest, None)
            raise KeyInvalid
        if credential.revoked_at is not None:
            self._cache.pop(digest, None)
            raise KeyRevoked
        ends = [credential.expires_at, credential.key_expires_at]
        if credential.used_at is not None:
            ends.append(self._idle_end(digest, credential.used_at, is_use=is_use))
        ends_at = min((end for end in ends if end is not None), default=None)
        cached = _Cached(_to_caller(credential), ends_at, time.monotonic())
        if generation != self._generation:
            # Meanwhile somebody was let in no more, maybe this one.
            return cached
        self._cache[digest] = cached
        while len(self._cache) > CACHED_CALLERS:
            self._cache.popitem(last=False)
        return cached

    def _idle_end(self, digest: bytes, used_at: int, *, is_use: bool) -> int:
        """Return until when a browser's secret holds without further use, and note this use."""
        at, used_at = now(), max(used_at, self._browsers.get(digest, 0))
        if not is_use or used_at + IDLE_MICROSECONDS <= at:
            return used_at + IDLE_MICROSECONDS
        self._browsers[digest] = at
        return at + IDLE_MICROSECONDS

    async def _write_down(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self._note_use()
                await self._delete_old()
            except ChatError as error:
                logger.warning("use_of_keys_not_written", code=error.code)

    async def _note_use(self) -> None:
        used, self._used = self._used, {}
        browsers, self._browsers = self._browsers, {}
        if not used and not browsers:
            return
        try:
            await self._store.write(keys.note_use, used=used, browsers=browsers)
        except ChatError:
            self._used = used | self._used
            self._browsers = browsers | self._browsers
            raise

    async def _delete_old(self) -> None:
        """Delete secrets that have ended, and entries of the audit log."""
        at = now()
        before = at - self._settings.audit_days * DAY_MICROSECONDS
        while await self._store.write(
            keys.delete_expired, at=at - EXPIRED_MICROSECONDS, limit=TIDIED
        ):
            pass
        while await self._store.write(audit.delete_before, at=before, limit=TIDIED):
            pass


def _secret(
    secret: str,
    key_id: str,
    kind: Kind,
    user: str | None,
    scope: Scope,
    models: tuple[str, ...] | None,
    ends_at: int | None,
) -> keys.NewSecret:
    digest, hint = credentials.digest(secret), credentials.hint(secret)
    return keys.NewSecret(digest, key_id, kind.value, user, scope, models, hint, ends_at)


def _record(row: KeyRow, hints: Sequence[str]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        tenant=row.tenant_id,
        user=row.user,
        models=keys.models_of(row.models),
        hints=tuple(hints),
        created_at=rfc3339(row.created_at),
        expires_at=_time(row.expires_at),
        revoked_at=_time(row.revoked_at),
        last_used_at=_time(row.last_used_at),
    )


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)


def _to_caller(credential: keys.Credential) -> Caller:
    tenant = credential.tenant_id or ""
    return Caller(
        tenant=f"{tenant}/{credential.user}" if credential.user else tenant,
        scope=Scope(credential.scope),
        actor=credential.key_id,
        digest=credential.digest,
        is_bound=credential.user is not None,
        models=keys.models_of(credential.models),
    )
