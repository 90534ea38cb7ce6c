"""Keys, tokens and cookies over time, in one process whose clock the test sets."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from chatkeep.access import service
from chatkeep.access import tenants as access_tenants
from chatkeep.app import create_app
from chatkeep.domain import times
from chatkeep.domain.errors import Overloaded, TenantNotFound
from chatkeep.domain.records import SessionLine
from chatkeep.settings import Settings
from chatkeep.store import audit, imports, tenants
from chatkeep.store import keys as stored_keys
from tests.api.asgi import Response, request
from tests.process import PATIENCE, files_with
from tests.upstream import Answer, Upstream, polite

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
        shown = {**headers, "cookie": f'other={{"odd": [1]}}; {cookie}; more'}
        assert cookie.startswith("__Host-chatkeep=ckb_" if is_secure else "chatkeep=ckb_")
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
        assert ("Secure" in attributes) is is_secure
        assert (await server.send("GET", "/me", shown, client=client)).status == 200
        if is_secure:
            # Another host of the domain can set a cookie of the other name.
            planted = {**headers, "cookie": cookie.removeprefix("__Host-")}
            assert (await server.send("GET", "/me", planted, client=client)).status == 401
        leaving = {**shown, "origin": "http://localhost:8000"}
        assert (await server.send("POST", "/logout", leaving, client=client)).status == 204
        assert (await server.send("GET", "/me", shown, client=client)).status == 401

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


def test_a_cookie_changes_nothing_for_a_page_that_is_not_the_servers_own(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        answer = await server.send("POST", "/login", {}, {"key": key["key"]})
        cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
        import_ = ("POST", "/import")
        allowed = {"origin": "https://app.example.com", "sec-fetch-site": "same-site"}
        assert (await server.send(*import_, {**cookie, **allowed}, {})).status == 403
        assert (await server.send(*import_, cookie, {})).status == 403
        # With a key of its own that page may do what the key may.
        assert (await server.send(*import_, {**bearer(key["key"]), **allowed}, {})).status == 200
        for own in ({"origin": "http://localhost:8000"}, {"sec-fetch-site": "same-origin"}):
            assert (await server.send(*import_, {**cookie, **own}, {})).status == 200

    play(tmp_path, scenario, allowed_origins=("https://app.example.com",))


def test_tokens_and_cookies_make_nothing_that_outlives_them(tmp_path: Path, clock: Clock) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})

        async def token(shown: Headers) -> Response:
            body = {"user": "al", "scope": "chat", "seconds": DAY}
            return await server.send("POST", "/tokens", shown, body)

        first = bearer(json.loads((await token(bearer(key["key"]))).body)["token"])
        login = await server.send("POST", "/login", {}, {"key": key["key"]})
        cookie = login.headers["set-cookie"].partition(";")[0]
        browser = {"cookie": cookie, "sec-fetch-site": "same-origin"}
        for shown in (first, browser):
            assert (await token(shown)).status == 403
        # A secret that is to end makes nothing that ends later.
        await server.made("POST", f"/keys/{key['id']}/rotate", {"grace_seconds": 60})
        late = json.loads((await token(bearer(key["key"]))).body)
        assert late["expires_at"] == times.rfc3339((START_SECONDS + 60) * 1_000_000)
        login = await server.send("POST", "/login", {}, {"key": key["key"]})
        late_cookie = {"cookie": login.headers["set-cookie"].partition(";")[0]}
        assert await server.me(late_cookie) == OK
        clock.go_on(60)
        for shown in (first, bearer(late["token"]), late_cookie):
            assert await server.me(shown) == (401, "key-expired")

    play(tmp_path, scenario)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-12:00", "2000-01-01T00:00:00Z", "soon"])
def test_a_key_that_ends_at_no_time_is_not_made(tmp_path: Path, time: str) -> None:
    async def scenario(server: Api) -> None:
        refused = await server.send("POST", "/keys", server.local, {"expires_at": time})
        assert refused.status == 422
        assert await server.made("GET", "/keys") == []

    play(tmp_path, scenario)


def test_keys_are_listed_in_pages(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        made = [(await server.made("POST", "/keys", {"name": str(n)}))["id"] for n in range(5)]
        listed: list[str] = []
        path: str | None = "/keys?limit=2&tenant=default"
        while path:
            page = await server.send("GET", path, server.local)
            listed += [key["id"] for key in json.loads(page.body)]
            link = page.headers.get("link", "")
            path = f"/{link[1:].partition('>')[0]}" if link else None
        assert listed == made

    play(tmp_path, scenario)


def test_the_models_of_a_key_hold_for_its_tokens_and_for_every_turn(
    tmp_path: Path, upstream: Upstream
) -> None:
    async def scenario(server: Api) -> None:
        limited = bearer((await server.made("POST", "/keys", {"models": ["openai:cheap"]}))["key"])
        free = bearer((await server.made("POST", "/keys", {}))["key"])

        async def chat(shown: Headers, **members: Any) -> tuple[int, str]:
            body = {"session_id": "s", **members}
            if "regenerate" not in members:
                body["message"] = "hello there you"
            answer = await server.send("POST", "/chat", shown, body)
            document = json.loads(answer.body)
            return answer.status, document.get("pointer", document.get("turn_id"))

        refused = (403, "#/model")
        assert await chat(limited, model="openai:dear") == refused
        # The server's default is none of the key's either, whoever has chosen it.
        assert await chat(limited) == refused
        assert (await chat(limited, model="openai:cheap"))[0] == 200
        _, dear = await chat(free, model="openai:dear")
        assert await chat(limited, regenerate=dear) == refused
        change = ("PATCH", "/sessions/s")
        assert (await server.send(*change, limited, {"model": "openai:dear"})).status == 403
        assert (await server.send(*change, limited, {"model": None})).status == 403
        assert (await server.send(*change, free, {"model": "openai:dear"})).status == 200
        assert await chat(limited) == refused

        async def token(**members: Any) -> Response:
            return await server.send("POST", "/tokens", limited, {"user": "al", **members})

        assert json.loads((await token(models=["openai:dear"])).body)["pointer"] == "#/models"
        trusted = bearer(json.loads((await token(scope="chat")).body)["token"])
        assert await chat(trusted, model="openai:dear") == refused
        assert (await chat(trusted, model="openai:cheap"))[0] == 200
        # A user has what the application has decided, and can neither change nor unset it.
        plain = bearer(json.loads((await token()).body)["token"])
        assert await chat(plain, model="openai:cheap") == refused
        assert (await server.send(*change, plain, {"model": None})).status == 403
        assert (await chat(plain))[0] == 200

    models = ("openai:cheap", "openai:dear")
    play(tmp_path, scenario, models=models, OPENAI_BASE_URL=f"{upstream.url}/v1")


def test_the_tag_of_a_session_tells_a_user_nothing_of_what_is_hidden(
    tmp_path: Path, upstream: Upstream
) -> None:
    async def scenario(server: Api) -> None:
        key = bearer((await server.made("POST", "/keys", {}))["key"])
        owner = {**key, "chatkeep-user": "al"}
        token = json.loads((await server.send("POST", "/tokens", key, {"user": "al"})).body)
        user = bearer(token["token"])
        body = {"session_id": "s", "message": "hello there you"}
        await server.send("POST", "/chat", user, body)
        change = ("PATCH", "/sessions/s")
        await server.send(*change, user, {"title": "Mine"})

        async def tag(shown: Headers) -> str:
            return (await server.send("GET", "/sessions/s", shown)).headers["etag"]

        before, whole = await tag(user), await tag(owner)
        assert (await server.send(*change, owner, {"max_tokens": 77})).status == 200
        assert await tag(owner) != whole
        assert await tag(user) == before
        matched = await server.send(*change, {**user, "if-match": before}, {"title": "Ours"})
        assert matched.status == 200
        assert matched.headers["etag"] == await tag(user) != before

    play(tmp_path, scenario, OPENAI_BASE_URL=f"{upstream.url}/v1")


def test_what_was_accepted_before_a_key_ended_is_answered(
    tmp_path: Path, upstream: Upstream
) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["So ", "far."], pace=pace)
    )

    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        body = {"session_id": "s", "message": "hello there you"}
        posting = asyncio.create_task(server.send("POST", "/chat", bearer(key["key"]), body))
        while not upstream.calls:
            await asyncio.sleep(0.01)
        await server.made("DELETE", f"/keys/{key['id']}")
        # It is looked up a few times before the model goes on.
        await asyncio.sleep(0.5)
        pace.release(10)
        answer = await posting
        assert (answer.status, json.loads(answer.body)["response"]) == (200, "So far.")
        assert await server.me(bearer(key["key"])) == (401, "key-revoked")

    play(tmp_path, scenario, heartbeat_seconds=0.1, OPENAI_BASE_URL=f"{upstream.url}/v1")


def test_a_proxy_signs_people_in_and_lets_keys_pass(tmp_path: Path) -> None:
    header = {"x-forwarded-user": "al"}

    async def scenario(server: Api) -> None:
        key = bearer((await server.made("POST", "/keys", {"user": "bo"}))["key"])

        async def who(headers: Headers, client: str = PROXY) -> tuple[int, str | None]:
            answer = await server.send("GET", "/me", headers, client=client)
            return answer.status, json.loads(answer.body).get("user")

        assert await who(header) == (200, "al")
        assert await who(key) == (200, "bo")
        # Whom the proxy names is whom it has signed in, whatever else the browser sends.
        assert await who({**key, **header}) == (200, "al")
        assert await who({**header, "authorization": "Basic YWw6eA=="}) == (200, "al")
        assert (await who({}))[0] == 401
        assert (await who({"x-forwarded-user": ""}))[0] == 401
        assert (await who(header, "127.0.0.1"))[0] == 401
        # The command line of the machine is there too.
        assert (await server.send("GET", "/keys", server.local, client=PROXY)).status == 200

    play(tmp_path, scenario, trusted_proxies=(PROXY,), trusted_user_header="X-Forwarded-User")


def test_behind_a_proxy_that_signs_people_in_only_known_names_are_answered(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        model="openai:any",
        OPENAI_API_KEY="-",
        trusted_proxies=(PROXY,),
        trusted_user_header="X-Forwarded-User",
    )
    app = create_app(settings)

    async def scenario() -> int:
        async with app.router.lifespan_context(app):
            sent = [("x-forwarded-user", "al"), ("host", "evil.example")]
            return (await request(app, "GET", "/me", sent, client=PROXY, host="")).status

    assert asyncio.run(scenario()) == 403


def test_the_key_of_the_environment_makes_the_first_key(tmp_path: Path) -> None:
    secret = "x" * 40

    async def scenario(server: Api) -> None:
        assert await server.me({}) == (401, "key-missing")
        made = await server.send("POST", "/keys", bearer(secret), {})
        assert made.status == 201
        assert (await server.send("GET", "/sessions", bearer(secret))).status == 403

    play(tmp_path, scenario, admin_key=secret)


def test_without_keys_whatever_a_client_shows_is_ignored(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        for shown in (
            {"authorization": "Basic YWw6eA=="},
            {"authorization": "Bearer sk-1", "x-api-key": "sk-1"},
            {"x-api-key": "anything"},
            {"cookie": "chatkeep=ckb_old"},
        ):
            assert await server.me(shown) == OK

    play(tmp_path, scenario)


def test_a_user_who_only_has_a_key_can_be_erased_and_leaves_no_name(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        for tenant in ("gone", "stays"):
            await server.made("PUT", f"/tenants/{tenant}")
        application = bearer((await server.made("POST", "/keys", {"tenant": "stays"}))["key"])
        own = {
            tenant: bearer(
                (await server.made("POST", "/keys", {"tenant": tenant, "user": "carol@x"}))["key"]
            )
            for tenant in ("gone", "stays")
        }
        for key in own.values():
            login = await server.send("POST", "/login", {}, {"key": key["authorization"][7:]})
            assert login.status == 200
        # Nothing is noted of somebody who is not there.
        await server.send("GET", "/export", {**application, "chatkeep-user": "ghost@x"})

        # A person may leave with the key that is erased along with everything else.
        assert (await server.send("DELETE", "/users/carol@x", own["stays"])).status == 204
        assert (await server.send("DELETE", "/users/carol@x", application)).status == 404
        assert (await server.send("DELETE", "/tenants/gone", server.local)).status == 204
        for key in own.values():
            assert (await server.me(key))[0] == 401
        for name in ("carol", "ghost"):
            assert files_with(tmp_path, name) == []

    play(tmp_path, scenario)


def test_an_erasure_that_fails_goes_on_and_can_be_asked_for_again(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tenants, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(access_tenants, "RETRY_SECONDS", 0.2)

    async def scenario(server: Api) -> None:
        key = bearer((await server.made("POST", "/keys", {}))["key"])
        alice = {**key, "chatkeep-user": "alice"}
        body = {"session_id": "s", "message": "hello there you"}
        assert (await server.send("POST", "/chat", alice, body)).status == 200
        sessions = server.app.state.services.sessions
        monkeypatch.setattr(sessions, "soft_delete", failing)
        assert (await server.send("DELETE", "/users/alice", key)).status == 202
        assert (await server.send("DELETE", "/users/alice", key)).status == 202
        # Meanwhile nobody lets the person in again.
        another = {**body, "session_id": "another"}
        for made in (
            ("POST", "/tokens", key, {"user": "alice"}),
            ("POST", "/chat", alice, another),
        ):
            assert (await server.send(*made)).status == 404
        refused = await server.send("POST", "/keys", server.local, {"user": "alice"})
        assert refused.status == 404
        monkeypatch.undo()
        async with asyncio.timeout(PATIENCE):
            while (await server.send("DELETE", "/users/alice", key)).status == 202:
                await asyncio.sleep(0.05)
        assert (await server.send("POST", "/chat", alice, body)).status == 200

    play(tmp_path, scenario, OPENAI_BASE_URL=f"{upstream.url}/v1")


def test_an_erasure_that_a_crash_has_cut_short_is_completed_at_the_next_start(
    tmp_path: Path, upstream: Upstream
) -> None:
    keys: list[Headers] = []

    async def crash(server: Api) -> None:
        keys.append(bearer((await server.made("POST", "/keys", {}))["key"]))
        body = {"session_id": "s", "message": "hello there you, says mallory"}
        alice = {**keys[0], "chatkeep-user": "alice"}
        assert (await server.send("POST", "/chat", alice, body)).status == 200
        # What is committed before anything else of it is done.
        store = server.app.state.services.store
        owner = {"tenant": "default/alice", "actor": "test", "at": times.now()}
        await store.write(tenants.mark_deleted, **owner)

    async def look(server: Api) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await server.send("DELETE", "/users/alice", keys[0])).status != 404:
                await asyncio.sleep(0.05)
        assert files_with(tmp_path, "mallory") == files_with(tmp_path, "alice") == []

    play(tmp_path, crash, OPENAI_BASE_URL=f"{upstream.url}/v1")
    play(tmp_path, look)


def test_a_page_that_is_open_and_not_used_does_not_stay_signed_in(
    tmp_path: Path, clock: Clock
) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        login = await server.send("POST", "/login", {}, {"key": key["key"]})
        cookie = login.headers["set-cookie"].partition(";")[0]
        access = server.app.state.services.access
        caller = await access.authenticate(cookie.partition("=")[2])
        for _ in range(11):
            # What is done for a stream of events at each heartbeat.
            clock.go_on(HOUR)
            assert await access.is_valid(caller)
        clock.go_on(HOUR)
        assert not await access.is_valid(caller)
        assert await server.me({"cookie": cookie}) == (401, "key-expired")

    play(tmp_path, scenario)


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(server: Api) -> None:
        key = await server.made("POST", "/keys", {})
        store = server.app.state.services.store
        read = store.read

        async def slow(work: Any, **more: Any) -> Any:
            found = await read(work, **more)
            if work is stored_keys.find:
                monkeypatch.setattr(store, "read", read)
                await server.made("DELETE", f"/keys/{key['id']}")
            return found

        monkeypatch.setattr(store, "read", slow)
        # This request was first, the next one is not.
        assert await server.me(bearer(key["key"])) == OK
        assert await server.me(bearer(key["key"])) == (401, "key-revoked")

    play(tmp_path, scenario)


async def failing(*_args: Any, **_more: Any) -> None:
    raise Overloaded


def test_an_import_brings_nothing_to_a_user_who_is_erased_meanwhile(
    tmp_path: Path, upstream: Upstream
) -> None:
    async def scenario(server: Api) -> None:
        key = bearer((await server.made("POST", "/keys", {}))["key"])
        cy = {**key, "chatkeep-user": "cy"}
        body = {"session_id": "s", "message": "hello there you"}
        await server.send("POST", "/chat", cy, body)
        export = (await server.send("GET", "/export", cy)).body
        store = server.app.state.services.store
        await store.write(tenants.mark_deleted, tenant="default/cy", actor="test", at=times.now())
        lines = [json.loads(line) for line in export.splitlines()]
        refused = await server.send("POST", "/import?new_ids=true", cy, lines[1])
        assert refused.status in {404, 422}
        line = SessionLine.model_validate(lines[1] | {"session_id": "another"})
        with pytest.raises(TenantNotFound):
            await store.write(imports.begin, tenant="default/cy", line=line, owner="me")

    play(tmp_path, scenario, OPENAI_BASE_URL=f"{upstream.url}/v1")


def test_a_tenant_cannot_change_what_is_noted_of_another(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        await server.made("PUT", "/tenants/acme")
        acme = bearer((await server.made("POST", "/keys", {"tenant": "acme"}))["key"])
        store = server.app.state.services.store
        entry = {"actor": "proxy:dave", "tenant": "default/dave", "target": None, "at": 1}
        await store.write(audit.add, action=audit.Action.EXPORTED, **entry)
        await server.send("POST", "/tokens", acme, {"user": "dave"})
        assert (await server.send("DELETE", "/users/dave", acme)).status == 204
        actors = {entry["actor"] for entry in await server.made("GET", "/audit")}
        assert "proxy:dave" in actors
        assert (await server.send("GET", f"/audit?before={10**30}", server.local)).status == 422

    play(tmp_path, scenario)


def test_what_a_bound_key_may_not_choose(tmp_path: Path) -> None:
    async def scenario(server: Api) -> None:
        for user in ("al", "bo"):
            key = await server.made("POST", "/keys", {"user": user, "models": ["openai:any"]})
            body = {"session_id": "s", "message": "m", "model": "openai:another"}
            refused = await server.send("POST", "/chat", bearer(key["key"]), body)
            problem = json.loads(refused.body)
            assert (refused.status, problem["pointer"]) == (403, "#/model")
            users = await server.send("GET", "/users?limit=1", bearer(key["key"]))
            assert [each["user"] for each in json.loads(users.body)] == [user]

    play(tmp_path, scenario)
