"""Keys, tokens and users with a real server: what ends with a key, and what never meets."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.process import PATIENCE, Server, files_with, run_command, until
from tests.sse import STREAM, parse
from tests.store.test_schema import database_of
from tests.upstream import Answer, Call, Upstream, polite

HEARTBEAT_SECONDS = 0.3


def bearer(secret: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", **headers}


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    """A server that needs a key."""
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "CHATKEEP_LOG_LEVEL": "debug",
    }
    with Server(tmp_path_factory.mktemp("guarded"), env) as server:
        new_key(server)
        yield server


@pytest.fixture(autouse=True)
def _polite(upstream: Upstream) -> None:
    """The model answers at once, unless a test says otherwise."""


def chatkeep(server: Server, *arguments: str) -> str:
    """Run a command of the same machine and account; return what it prints."""
    done = run_command(*arguments, env=server.env, folder=server.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(server: Server, *options: str) -> str:
    return chatkeep(server, "keys", "create", *options, "a test").strip()


def key_id(server: Server, key: str) -> str:
    """The id of a key, by the end of its secret."""
    rows = chatkeep(server, "keys", "list").splitlines()
    [row] = [row for row in rows if row.split("\t")[4].endswith(key[-4:])]
    return row.split("\t")[0]


def ask(server: Server, method: str, path: str, key: str, **options: Any) -> httpx2.Response:
    headers = {**bearer(key), **options.pop("headers", {})}
    with server.client(headers=headers) as client:
        return client.request(method, path, **options)


def say(server: Server, key: str, session: str, message: str, **headers: str) -> dict[str, Any]:
    body = {"session_id": session, "message": message}
    response = ask(server, "POST", "/chat", key, json=body, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_command_line_of_the_machine_makes_the_first_key_beside_a_running_server(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_REQUIRE_KEY": "true"}
    with Server(tmp_path / "data", env) as server, server.client() as client:
        refused = client.get("/sessions")
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/key-missing")
        assert "chatkeep keys create" in refused.json()["detail"]
        key = new_key(server)
        assert ask(server, "GET", "/sessions", key).json() == []
        chatkeep(server, "keys", "revoke", "--yes", key_id(server, key))
        assert ask(server, "GET", "/sessions", key).json()["type"] == "/problems/key-revoked"
        # To revoke the last key does not open the door again, nor does a restart.
        assert client.get("/sessions").status_code == 401
        server.kill()
        del server.env["CHATKEEP_REQUIRE_KEY"]
        server.start()
        with server.client() as again:
            assert again.get("/sessions").status_code == 401


def test_a_server_that_others_can_reach_does_not_start_without_a_key(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_HOST": "0.0.0.0"}
    server = Server(tmp_path / "data", env)
    with pytest.raises(AssertionError, match="Others can reach this address"):
        server.start()
    new_key(server)
    server.start()
    server.kill()


def revoke(server: Server, key: str, _token: str) -> None:
    chatkeep(server, "keys", "revoke", "--yes", key_id(server, key))


def rotate(server: Server, key: str, _token: str) -> None:
    chatkeep(server, "keys", "rotate", "--grace", "0s", key_id(server, key))


@pytest.mark.parametrize("end", [revoke, rotate])
@pytest.mark.parametrize("path", ["turn", "/events"])
@pytest.mark.parametrize("is_token", [False, True], ids=["key", "token"])
def test_a_stream_ends_within_a_heartbeat_after_its_key(
    guarded: Server,
    upstream: Upstream,
    session: str,
    end: Callable[[Server, str, str], None],
    path: str,
    is_token: bool,
) -> None:
    pace = threading.Semaphore(1)

    def slow(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer(["So ", "far."], pace=pace)

    upstream.script = slow
    key = new_key(guarded)
    token = ask(guarded, "POST", "/tokens", key, json={"user": "alice"}).json()["token"]
    shown = token if is_token else key
    body = {"session_id": session, "message": "go on and on"}
    started: list[str] = []
    with (
        guarded.client(headers={**bearer(shown), **STREAM}) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        with client.stream("POST", "/chat", json=body) as response:
            stream = parse(response.iter_lines())
            started.append(next(stream).data["turn_id"])
            reading = pool.submit(read_to_the_end, guarded, shown, path, started[0])
            end(guarded, key, token)
            ended = time.monotonic()
            with pytest.raises(httpx2.TransportError):
                list(stream)
        assert reading.result(PATIENCE)
        assert time.monotonic() - ended < PATIENCE / 2
    # What was accepted goes on.
    pace.release(10)
    other = new_key(guarded)
    user = {"Chatkeep-User": "alice"} if is_token else {}
    turn = f"/turns/{started[0]}"
    until(
        lambda: ask(guarded, "GET", turn, other, headers=user).json().get("status") == "completed"
    )
    assert ask(guarded, "GET", f"{turn}/events", shown).status_code == 401


def read_to_the_end(server: Server, key: str, path: str, turn_id: str) -> bool:
    """Whether a stream breaks off."""
    address = f"/turns/{turn_id}/events" if path == "turn" else path
    with server.client(headers=bearer(key)) as client:
        try:
            with client.stream("GET", address) as response:
                for _ in response.iter_lines():
                    pass
        except httpx2.TransportError:
            return True
        return response.status_code == 401


def test_a_turn_cannot_be_resumed_with_the_key_of_another(guarded: Server, session: str) -> None:
    mine, other = new_key(guarded, "--user", "ann"), new_key(guarded, "--user", "ben")
    turn_id = say(guarded, mine, session, "hello there you")["turn_id"]
    path = f"/turns/{turn_id}/events"
    assert ask(guarded, "GET", path, mine).status_code == 200
    assert ask(guarded, "GET", path, other).status_code == 404


def test_two_users_with_the_same_names_for_everything_never_meet(guarded: Server) -> None:
    """Session id, idempotency key, title and search word, at the same time."""
    keys = {user: new_key(guarded, "--user", user) for user in ("carol", "dave")}

    def converse(user: str) -> list[dict[str, Any]]:
        answers = []
        for number in range(10):
            headers = {"Idempotency-Key": f"key {number}".replace(" ", "-")}
            message = f"tides of {user} number{number}"
            answers.append(say(guarded, keys[user], "shared", message, **headers))
        return answers

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(keys, pool.map(converse, keys), strict=True))
    for user, key in keys.items():
        other = "dave" if user == "carol" else "carol"
        assert [answer["response"] for answer in answers[user]] == [
            f"Reply to: tides of {user} number{number}" for number in range(10)
        ]
        for path in ("/history/shared", "/search?q=tides", "/export", "/sessions"):
            text = ask(guarded, "GET", path, key).text
            assert other not in text, path
        assert len(ask(guarded, "GET", "/sessions", key).json()) == 1


def test_an_erased_user_is_in_no_file(guarded: Server) -> None:
    user = "mallory-of-the-canaries"
    key = new_key(guarded)
    say(guarded, key, "diary", f"I am {user}", **{"Chatkeep-User": user})
    usage = ask(guarded, "GET", "/usage", key).json()
    token = ask(guarded, "POST", "/tokens", key, json={"user": user}).json()["token"]
    assert ask(guarded, "GET", "/me", token).json()["user"] == user

    chatkeep(guarded, "users", "delete", "--yes", user)

    assert ask(guarded, "GET", "/me", token).status_code == 401
    assert user not in [each["user"] for each in ask(guarded, "GET", "/users", key).json()]
    until(lambda: files_with(guarded.folder, user) == [])
    spent = ask(guarded, "GET", "/usage", key).json()
    assert sum(row["calls"] for row in spent) > sum(row["calls"] for row in usage)


def test_a_backup_from_before_the_first_key_does_not_open_a_server_that_requires_keys(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_REQUIRE_KEY": "true"}
    old = tmp_path / "old.db"
    with Server(tmp_path / "data", env) as server:
        chatkeep(server, "backup", str(old))
        key = new_key(server)
        say(server, key, "diary", "hello there you")
        server.stop()
        chatkeep(server, "restore", "--yes", str(old))
        server.start()
        with server.client() as anybody:
            assert anybody.get("/sessions").json()["type"] == "/problems/key-missing"
            assert (
                anybody.post("/chat", json={"session_id": "s", "message": "m"}).status_code == 401
            )
        assert ask(server, "GET", "/sessions", key).json()["type"] == "/problems/key-invalid"
        # The owner of the machine lets people in again.
        assert ask(server, "GET", "/sessions", new_key(server)).json() == []


def test_a_database_from_before_there_were_keys_is_upgraded_without_a_word(
    tmp_path: Path, upstream: Upstream
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    before = database_of("0007", f"sqlite:///{folder}/chatkeep.db")
    (folder / "chatkeep.db").chmod(0o600)
    with Server(folder, {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}) as server:
        listed = {session["session_id"] for session in server.get("/sessions")}
        kept = {row["session_id"] for row in before["sessions"] if row["tenant_id"] == "default"}
        assert listed == kept > set()
        said = {row["content"] for row in before["messages"] if row["role"] == "user"}
        assert said <= {text for name in listed for text in server.contents(name)}
        assert server.chat("new", "and on it goes, without a key").status_code == 200
        assert server.get("/me")["scope"] == "chat"
        log = server.log.read_text()
    assert "key" not in log, log
