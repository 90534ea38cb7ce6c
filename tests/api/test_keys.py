"""Keys, tokens and cookies over time, in one process whose clock the test sets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from chatkeep.access import service
from chatkeep.app import create_app
from chatkeep.domain import times
from chatkeep.settings import Settings
from tests.api.asgi import Response, request

START_SECONDS = 1_800_000_000
HOUR, DAY = 3_600, 24 * 3_600
PROXY = "10.9.8.7"

Headers = dict[str, str]


class Clock:
    """The time of day and the time since the start, which go on together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = START_SECONDS
        monkeypatch.setattr(
            times, "time", SimpleNamespace(time_ns=lambda: self.seconds * 1_000_000_000)
        )
        monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: self.seconds))

    def go_on(self, seconds: int) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@dataclass(frozen=True, slots=True)
class Api:
    """A running server in memory, and the secret of its command line."""

    app: FastAPI
    local: Headers

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: Any = None,
        *,
        client: str = "127.0.0.1",
    ) -> Response:
        sent = list(headers.items())
        if body is not None:
            sent.append(("content-type", "application/json"))
        content = b"" if body is None else json.dumps(body).encode()
        return await request(self.app, method, path, sent, content, client=client)

    async def made(self, method: str, path: str, body: Any = None) -> Any:
        response = await self.send(method, path, self.local, body)
        assert response.status in {200, 201}, response
        return json.loads(response.body)

    async def me(self, headers: Headers) -> tuple[int, str]:
        """The status of `GET /me`, and the type of the problem."""
        response = await self.send("GET", "/me", headers)
        document = json.loads(response.body)
        return response.status, document.get("type", "").removeprefix("/problems/")


OK = (200, "")


def bearer(secret: str) -> Headers:
    return {"authorization": f"Bearer {secret}"}


@asynccontextmanager
async def api(folder: Path, **options: Any) -> AsyncIterator[Api]:
    settings = Settings(data_dir=folder, model="openai:any", OPENAI_API_KEY="-", **options)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Api(app, bearer(app.state.services.access.local_secret))


Scenario = Callable[[Api], Coroutine[Any, Any, None]]


def play(folder: Path, scenario: Scenario, **options: Any) -> None:
    async def run() -> None:
        async with api(folder, **options) as server:
            await scenario(server)

    asyncio.run(run())


def test_a_key_ends_at_its_time_and_says_so_to_who_has_it(tmp_path: Path, clock: Clock) -> None:
    async def scenario(server: Api) -> None:
        ends = times.rfc3339((START_SECONDS + HOUR) * 1_000_000)
        key = await server.made("POST", "/keys", {"expires_at": ends})
        token = await server.send("POST", "/tokens", bearer(key["key"]), {"user": "al"})
        long_token = json.loads(token.body)["token"]
        assert await server.me(bearer(key["key"])) == OK
        clock.go_on(HOUR - 1)
        assert await server.me(bearer(key["key"])) == OK
        assert await server.me(bearer(long_token)) == (401, "key-expired")
        clock.go_on(1)
        response = await server.send("GET", "/sessions", bearer(key["key"]))
        assert json.loads(response.body)["type"] == "/problems/key-expired"
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        assert (await server.made("GET", f"/keys/{key['id']}"))["expires_at"] == key["expires_at"]

    play(tmp_path, scenario)


def test_a_token_holds_for_its_seconds_and_not_longer_than_its_key(
    tmp_path: Path, clock: Clock
) -> None:
    async def scenario(server: Api) -> None:
        ends = times.rfc3339((START_SECONDS + HOUR) * 1_000_000)
        key = await server.made("POST", "/keys", {"expires_at": ends})
        body = {"user": "al", "seconds": DAY}
        token = json.loads((await server.send("POST", "/tokens", bearer(key["key"]), body)).body)
        assert token["expires_at"] == key["expires_at"]
        clock.go_on(HOUR)
        assert await server.me(bearer(token["token"])) == (401, "key-expired")

    play(tmp_path, scenario)


def test_a_rotated_key_lets_both_secrets_in_until_the_grace_is_over(
    tmp_path: Path, clock: Clock
) -> None:
    async def scenario(server: Api) -> None:
        old = await server.made("POST", "/keys", {"name": "shop"})
        login = await server.send("POST", "/login", {}, {"key": old["key"]})
        browser = {"cookie": login.headers["set-cookie"].partition(";")[0]}
        new = await server.made("POST", f"/keys/{old['id']}/rotate", {"grace_seconds": 60})
        assert (new["id"], new["name"]) == (old["id"], "shop")
        assert new["key"] != old["key"]
        clock.go_on(59)
        assert await server.me(bearer(old["key"])) == OK
        assert await server.me(bearer(new["key"])) == OK
        assert await server.me(browser) == OK
        clock.go_on(1)
        assert await server.me(browser) == (401, "key-expired")
        assert await server.me(bearer(old["key"])) == (401, "key-expired")
        assert await server.me(bearer(new["key"])) == OK
        await server.made("DELETE", f"/keys/{old['id']}")
        refused = await server.send("POST", f"/keys/{old['id']}/rotate", server.local, {})
        assert refused.status == 409
        assert await server.me(bearer(new["key"])) == (401, "key-revoked")

    play(tmp_path, scenario)


def test_when_a_key_was_used_last_is_known_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    keys: list[Any] = []

    async def use(server: Api) -> None:
        keys.append(await server.made("POST", "/keys", {}))
        assert keys[0]["last_used_at"] is None
        clock.go_on(90)
        assert await server.me(bearer(keys[0]["key"])) == OK

    async def look(server: Api) -> None:
        key = await server.made("GET", f"/keys/{keys[0]['id']}")
        assert key["last_used_at"] == times.rfc3339((START_SECONDS + 90) * 1_000_000)

    play(tmp_path, use)
    play(tmp_path, look)


def test_a_browser_stays_signed_in_while_it_is_used_for_thirty_days_at_most(
    tmp_path: Path, clock: Clock
) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})

        async def sign_in() -> Headers:
            answer = await server.send("POST", "/login", {}, {"key": key["key"]})
            return {"cookie": answer.headers["set-cookie"].partition(";")[0]}

        used, unused = await sign_in(), await sign_in()
        for _ in range(65):
            clock.go_on(11 * HOUR)
            assert await server.me(used) == OK
        assert await server.me(unused) == (401, "key-expired")
        clock.go_on(5 * HOUR)
        assert await server.me(used) == (401, "key-expired")
        assert await server.me(bearer(key["key"])) == OK

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("client", "header", "is_secure"),
    [
        (PROXY, "https", True),
        (PROXY, "http", False),
        (PROXY, None, False),
        ("127.0.0.1", "https", False),
    ],
)
def test_the_cookie_is_for_tls_alone_where_a_trusted_proxy_says_that_there_is_tls(
    tmp_path: Path, client: str, header: str | None, is_secure: bool
) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        headers = {} if header is None else {"x-forwarded-proto": header}
        answer = await server.send("POST", "/login", headers, {"key": key["key"]}, client=client)
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        assert cookie.startswith("__Host-chatkeep=ckb_" if is_secure else "chatkeep=ckb_")
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
        assert ("Secure" in attributes) is is_secure
        assert await server.me({"cookie": cookie}) == OK
        out = await server.send(
            "POST",
            "/logout",
            {**headers, "cookie": cookie, "origin": "http://localhost:8000"},
            client=client,
        )
        assert out.status == 204
        assert await server.me({"cookie": cookie}) == (401, "key-invalid")

    play(tmp_path, scenario, trusted_proxies=(PROXY,))


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "chatkeep-user", "chatkeep-tenant"])
def test_a_header_that_says_who_calls_is_not_sent_twice(tmp_path: Path, name: str) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        value = {"authorization": f"Bearer {key['key']}", "x-api-key": key["key"]}.get(name, "al")
        sent = [*bearer(key["key"]).items()] if name.startswith("chatkeep") else []
        answer = await request(server.app, "GET", "/me", [*sent, (name, value), (name, value)])
        assert answer.status == 400

    play(tmp_path, scenario)


def test_the_first_key_ends_what_was_let_in_without_one(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        stream = asyncio.create_task(server.send("GET", "/events", {}))
        await server.made("POST", "/keys", {})
        await stream
        assert await server.me({}) == (401, "key-missing")

    play(tmp_path, scenario, heartbeat_seconds=0.2)


def test_what_a_bound_key_may_not_choose(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        for user in ("al", "bo"):
            key = await server.made("POST", "/keys", {"user": user, "models": ["openai:any"]})
            body = {"session_id": "s", "message": "m", "model": "openai:another"}
            refused = await server.send("POST", "/chat", bearer(key["key"]), body)
            problem = json.loads(refused.body)
            assert (refused.status, problem["pointer"]) == (403, "#/model")
            users = await server.send("GET", "/users?limit=1", bearer(key["key"]))
            assert json.loads(users.body) == []

    play(tmp_path, scenario)
