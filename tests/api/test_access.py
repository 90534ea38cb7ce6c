"""Who may do what: every address with every kind of caller, and the victim's real ids."""

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from chatkeep.access import credentials, tenants
from chatkeep.api.access import ANYONE, ROUTES, WEBSOCKET
from chatkeep.app import create_app
from chatkeep.domain.model import Scope
from chatkeep.settings import Settings
from tests.api.asgi import Response, handshake, request
from tests.upstream import Upstream

CANARY = "cormorant-7731"
"""In the victim's texts, in a title, in the name of a key and the id of a session."""

VICTIM, VICTIMS_SESSION = "alice", "cormorant-7731/diary"
PICTURE = b"\x89PNG\r\n\x1a\n" + CANARY.encode()
MESSAGE = {
    "session_id": VICTIMS_SESSION,
    "message": f"My secret is {CANARY}.",
    "images": [f"data:image/png;base64,{b64encode(PICTURE).decode()}"],
}
IDEMPOTENCY_KEY = "the-victims-own"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNKNOWN = ("/nothing", "/v1/engines", "/admin", "/keys/", "/.env", "/metrics")
PAGE = ("/", "/assets/app.js", "/assets/nothing.js")
PROXY, STRANGER = "10.9.8.7", "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Attacker:
    """A kind of caller: the headers that it sends, from where, and the scope that it has."""

    headers: tuple[tuple[str, str], ...]
    scope: Scope | None
    client: str = STRANGER
    refused: int = 401
    """The status of everything that needs a key, where it has no scope."""
    is_foreign: bool = False
    """True for a page of another origin, which is refused whatever it wants."""
    only_reads: bool = False
    """True for a browser that does not say which page has caused a request."""


@dataclass(frozen=True, slots=True)
class Victim:
    """Real ids of the one whose things nobody else may see."""

    ids: dict[str, str]
    export: bytes
    usage: bytes


@dataclass(frozen=True, slots=True)
class World:
    """A server with a victim, and everybody who is not allowed to see what is the victim's."""

    app: FastAPI
    local: tuple[str, str]
    victim: Victim
    attackers: dict[str, Attacker]

    async def send(self, caller: Attacker, method: str, path: str, body: Any = None) -> Response:
        return await send(self.app, caller, method, path, body)


async def send(
    app: FastAPI, caller: Attacker, method: str, path: str, body: Any = None
) -> Response:
    headers = list(caller.headers)
    content = b""
    if body is not None:
        headers.append(("content-type", "application/json"))
        content = json.dumps(body).encode()
    return await request(app, method, path, headers, content, client=caller.client)


def bearer(secret: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"), *more.items())


async def cookie_for(app: FastAPI, key: Any) -> str:
    login = await send(app, Attacker((), None), "POST", "/login", {"key": key["key"]})
    return login.headers["set-cookie"].partition(";")[0]


async def make_world(app: FastAPI) -> World:
    local = Attacker(bearer(app.state.services.access.local_secret), Scope.LOCAL)

    async def made(caller: Attacker, method: str, path: str, body: Any = None) -> Any:
        response = await send(app, caller, method, path, body)
        assert response.status in {200, 201}, response
        return json.loads(response.body)

    async def key(**members: Any) -> Any:
        return await made(local, "POST", "/keys", members)

    for tenant in ("acme", "globex"):
        await made(local, "PUT", f"/tenants/{tenant}")
    keys = {
        "acme": await key(tenant="acme", name=CANARY),
        "other": await key(tenant="globex"),
        "read": await key(tenant="acme", scope="read"),
        "admin": await key(scope="admin"),
        "metrics": await key(scope="metrics"),
        "bob": await key(tenant="acme", user="bob"),
        "revoked": await key(tenant="acme"),
        "decoy": await key(tenant="globex"),
    }
    await made(local, "DELETE", f"/keys/{keys['revoked']['id']}")
    expired = await key(tenant="globex")
    await made(local, "POST", f"/keys/{expired['id']}/rotate", {"grace_seconds": 0})
    own = Attacker(bearer(keys["acme"]["key"], **{"chatkeep-user": VICTIM}), Scope.CHAT)
    keyed = replace(own, headers=(*own.headers, ("idempotency-key", IDEMPOTENCY_KEY)))
    turn = await made(keyed, "POST", "/chat", MESSAGE)
    application = Attacker(bearer(keys["acme"]["key"]), Scope.CHAT)
    bobs = await made(application, "POST", "/tokens", {"user": "bob"})
    cookie, silent = await cookie_for(app, keys["bob"]), await cookie_for(app, keys["bob"])
    ids = {
        "session_id": VICTIMS_SESSION,
        "turn_id": turn["turn_id"],
        "message_id": turn["message_id"],
        "response_id": turn["turn_id"].replace("turn_", "resp_"),
        "model": "no-such-model",
        "conversation_id": VICTIMS_SESSION,
        "item_id": turn["turn_id"].replace("turn_", "msg_"),
        "user_message_id": turn["user_message_id"],
        "file_id": sha256(PICTURE).hexdigest(),
        "key_id": keys["decoy"]["id"],
        "user": VICTIM,
        "tenant": "decoy-tenant",
        "name": "app.js",
    }
    # Once the title has been made: then all of it is there.
    async with asyncio.timeout(30):
        while b'"title_source":"model"' not in (await send(app, own, "GET", "/sessions")).body:
            await asyncio.sleep(0.02)
    await made(own, "PATCH", f"/sessions/{VICTIMS_SESSION}", {"title": f"About {CANARY}"})
    export = await send(app, own, "GET", "/export")
    usage = await send(app, own, "GET", "/usage")
    unknown = credentials.new_secret(credentials.Kind.KEY)
    spoilt = keys["acme"]["key"][:-1] + ("0" if keys["acme"]["key"][-1] != "0" else "1")
    proxied = (("x-forwarded-user", VICTIM),)
    attackers = {
        "none": Attacker((), None),
        "malformed": Attacker((("authorization", "Basic YWxpY2U6"),), None),
        "bad checksum": Attacker(bearer(spoilt), None),
        "unknown": Attacker(bearer(unknown), None),
        "expired": Attacker(bearer(expired["key"]), None),
        "revoked": Attacker(bearer(keys["revoked"]["key"]), None),
        "two keys": Attacker((*bearer(keys["other"]["key"]), ("x-api-key", unknown)), None),
        "another tenant": Attacker(bearer(keys["other"]["key"]), Scope.CHAT),
        "another tenant, as the user": Attacker(
            bearer(keys["other"]["key"], **{"chatkeep-user": VICTIM}), Scope.CHAT
        ),
        "another tenant, by name": Attacker(
            bearer(keys["other"]["key"], **{"chatkeep-tenant": "acme"}), None, refused=403
        ),
        "another user": Attacker(bearer(keys["bob"]["key"]), Scope.CHAT),
        "another user, as the user": Attacker(
            bearer(keys["bob"]["key"], **{"chatkeep-user": VICTIM}), None, refused=403
        ),
        "token of another user": Attacker(bearer(bobs["token"]), Scope.USER),
        "read": Attacker(bearer(keys["read"]["key"]), Scope.READ),
        "metrics": Attacker(bearer(keys["metrics"]["key"]), Scope.METRICS),
        "admin": Attacker(bearer(keys["admin"]["key"]), Scope.ADMIN),
        "admin, as the user": Attacker(
            bearer(keys["admin"]["key"], **{"chatkeep-user": VICTIM}), Scope.ADMIN
        ),
        "cookie": Attacker((("cookie", cookie), ("sec-fetch-site", "same-origin")), Scope.CHAT),
        "cookie, without a word": Attacker((("cookie", silent),), Scope.CHAT, only_reads=True),
        "cookie, another site": Attacker(
            (("cookie", cookie), ("origin", "http://localhost:9999")), None, is_foreign=True
        ),
        "proxy's header, from elsewhere": Attacker(proxied, None),
        "proxy's header, twice": Attacker((*proxied, ("x-forwarded-user", "bob")), None, PROXY),
        "proxy's other person": Attacker((("x-forwarded-user", "carol"),), Scope.CHAT, PROXY),
    }
    return World(app, local.headers[0], Victim(ids, export.body, usage.body), attackers)


@contextlib.asynccontextmanager
async def world(folder: Path, upstream: Upstream) -> AsyncIterator[World]:
    settings = Settings(
        data_dir=folder,
        model="openai:scripted",
        trusted_user_header="X-Forwarded-User",
        trusted_proxies=(f"{PROXY}/32",),
        OPENAI_BASE_URL=f"{upstream.url}/v1",
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield await make_world(app)


IDS = ("session_id", "turn_id", "message_id", "file_id", "response_id", "model", "conversation_id")
"""Of whatever is not the caller's there is nothing at an address."""

QUERIES = {
    "GET /sessions": ("limit=5", "title=About", "pinned=false"),
    "GET /history/{session_id:path}": ("limit=5", "details=true"),
    "GET /search": (f"q={CANARY}", f"q={CANARY}&session_id={VICTIMS_SESSION}"),
    "GET /usage": ("by=session", "by=session,model&since=2020-01-01"),
    "GET /export": ("format=markdown", "format=openai", f"session_id={VICTIMS_SESSION}"),
    "GET /users": ("limit=5",),
    "GET /audit": ("limit=5",),
}
"""What else is asked at an address."""


def bodies(victim: Victim) -> dict[str, Any]:
    """What is posted, with the victim's ids in it."""
    return {
        "POST /chat": {"session_id": VICTIMS_SESSION, "regenerate": victim.ids["turn_id"]},
        "POST /v1/chat/completions": {
            "model": "openai:scripted",
            "messages": [{"role": "user", "content": "Mine?"}],
        },
        "POST /v1/responses": {
            "model": "openai:scripted",
            "input": "Mine?",
            "previous_response_id": victim.ids["response_id"],
        },
        "POST /v1/conversations": {"metadata": {"mine": "yes"}},
        "POST /v1/conversations/{conversation_id:path}": {"metadata": {"mine": "yes"}},
        "POST /v1/conversations/{conversation_id:path}/items": {
            "items": [{"role": "user", "content": "Mine?"}]
        },
        "PATCH /sessions/{session_id:path}": {"title": "mine", "head": victim.ids["message_id"]},
        "POST /import": json.loads(victim.export.splitlines()[0]),
        "POST /tokens": {"user": VICTIM},
        "POST /keys": {"name": "another", "tenant": "globex"},
        "PATCH /keys/{key_id}": {"name": "mine"},
        "POST /keys/{key_id}/rotate": {"grace_seconds": 60},
        "POST /login": {"key": "nothing"},
    }


def cells(victim: Victim) -> Iterator[tuple[str, str, str | None]]:
    """Method, path, and the route of the table that it is, if it is one."""
    templates = {route.partition(" ")[2] for route in ROUTES}
    # A caller that has signed out is another one from then on.
    for template in sorted(templates, key=lambda path: (path == "/logout", path)):
        path = template.replace(":path", "")
        for name, value in victim.ids.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, template
        for method in METHODS:
            known = "GET" if method == "HEAD" else method
            route = f"{known} {template}"
            yield method, path, route if route in ROUTES else ""
            for query in QUERIES.get(route, ()):
                yield method, f"{path}?{query}", route
    for path in (*UNKNOWN, *PAGE):
        for method in METHODS:
            known = f"{'GET' if method == 'HEAD' else method} {path}"
            yield method, path, known if known in ROUTES else None


def expected(attacker: Attacker, route: str) -> set[int] | None:
    """The statuses that the table says; `None` where the route itself decides."""
    scopes = ROUTES[route]
    if attacker.only_reads and scopes != ANYONE and not route.startswith("GET "):
        return {403}
    if scopes == ANYONE:
        return None
    if attacker.scope is None:
        return {attacker.refused}
    return None if attacker.scope in scopes else {403}


async def check_cell(
    world: World, name: str, attacker: Attacker, method: str, path: str, route: str | None
) -> None:
    body = bodies(world.victim).get(route or "")
    response = await world.send(attacker, method, path, body)
    cell = f"{name}: {method} {path} → {response.status}"
    if attacker.is_foreign:
        assert response.status == 403, cell
    elif route is None:
        assert response.status in {404, 405, 200}, cell
    elif route == "":
        assert response.status == 405, cell
    elif (statuses := expected(attacker, route)) is not None:
        assert response.status in statuses, cell
        if response.status == 401:
            assert "www-authenticate" in response.headers, cell
    else:
        assert response.status not in {401, 405, 500} or route == "POST /login", cell
        if "?" not in path and (any(f"{{{name}" in route for name in IDS)):
            assert response.status == 404, cell
    is_managing = attacker.scope is Scope.ADMIN
    assert CANARY.encode() not in response.body or is_managing, cell


def websocket_cells(victim: Victim) -> Iterator[tuple[str, str | None]]:
    """Every path, and the route of the table if a WebSocket can be opened there."""
    for path in dict.fromkeys(path for _, path, _ in cells(victim)):
        route = f"{WEBSOCKET} {path}"
        yield path, route if route in ROUTES else None


async def check_handshake(
    app: FastAPI, name: str, attacker: Attacker, path: str, route: str | None
) -> None:
    response = await handshake(app, path, list(attacker.headers), client=attacker.client)
    cell = f"{name}: {WEBSOCKET} {path} → {response.status}"
    if attacker.is_foreign:
        assert response.status == 403, cell
    elif route is None:
        assert response.status == 404, cell
    elif (statuses := expected(attacker, route)) is not None:
        assert response.status in statuses, cell
        if response.status == 401:
            assert "www-authenticate" in response.headers, cell
    else:
        assert response.status == 101, cell


def test_the_table_has_every_route_of_the_document(tmp_path: Path) -> None:
    app = create_app(Settings.model_construct(data_dir=tmp_path, model="openai:any"))
    documented = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    undocumented = {
        "GET /",
        "GET /assets/{name}",
        "GET /openapi.json",
        f"{WEBSOCKET} /v1/responses",
    }
    assert {route.replace(":path", "") for route in ROUTES} == documented | undocumented


def test_every_address_with_every_caller(
    tmp_path: Path,
    upstream: Upstream,
    summarise: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An erasure that cannot be done says so before the test gives up.
    monkeypatch.setattr(tenants, "WAIT_SECONDS", 5)

    async def run() -> int:
        count = 0
        async with world(tmp_path, upstream) as made:
            # Before any of them signs out.
            for name, attacker in made.attackers.items():
                for path, route in websocket_cells(made.victim):
                    await check_handshake(made.app, name, attacker, path, route)
                    count += 1
            for name, attacker in made.attackers.items():
                for method, path, route in cells(made.victim):
                    await check_cell(made, name, attacker, method, path, route)
                    count += 1
            for name, attacker in made.attackers.items():
                await repeat_the_victims_request(made, name, attacker)
            await erase_others(made)
            assert await of_the_victim(made, "/export") == made.victim.export
            assert await of_the_victim(made, "/usage") == made.victim.usage
        return count

    count = asyncio.run(run())
    summarise(f"{count} cells of addresses and callers have the status of the table")
    assert count > 3_000


async def repeat_the_victims_request(made: World, name: str, attacker: Attacker) -> None:
    """With the key of the victim's own request, whose answer has the canary in it."""
    headers = (*attacker.headers, ("idempotency-key", IDEMPOTENCY_KEY))
    body = {**MESSAGE, "message": "My secret is another one."}
    response = await made.send(replace(attacker, headers=headers), "POST", "/chat", body)
    # For another request of the victim's own it would be 422.
    assert response.status in {200, 401, 403}, (name, response)


async def erase_others(made: World) -> None:
    """Another user, and another tenant: what is the victim's stays."""
    local = Attacker((made.local,), Scope.LOCAL)
    acme = Attacker((made.local, ("chatkeep-tenant", "acme")), Scope.LOCAL)
    for caller, path in ((acme, "/users/bob"), (local, "/tenants/globex")):
        response = await made.send(caller, "DELETE", path)
        assert response.status == 204, response
    assert b'"bob"' not in (await made.send(acme, "GET", "/users")).body
    assert b'"globex"' not in (await made.send(local, "GET", "/tenants")).body
    # What an administrator asks for of one tenant is of that one, and stays.
    entries = json.loads((await made.send(local, "GET", "/audit?tenant=acme")).body)
    assert {entry["tenant"] for entry in entries} == {"acme", f"acme/{VICTIM}"}
    keys = json.loads((await made.send(local, "GET", "/keys?tenant=acme")).body)
    assert {key["tenant"] for key in keys} == {"acme"}


async def of_the_victim(made: World, path: str) -> bytes:
    headers = (made.local, ("chatkeep-tenant", "acme"), ("chatkeep-user", VICTIM))
    response = await made.send(Attacker(headers, Scope.LOCAL), "GET", path)
    assert response.status == 200
    return response.body
