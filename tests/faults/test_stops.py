"""Servers that are killed, stopped, or started wrongly: nothing is lost, nothing hangs."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from chatkeep.settings import Settings
from tests.process import PATIENCE, Server, until
from tests.upstream import Answer, Call, Upstream, polite


@pytest.fixture
def env(upstream: Upstream) -> dict[str, str]:
    return {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}


def post_and_forget(server: Server, session_id: str, message: str) -> threading.Thread:
    def post() -> None:
        with contextlib.suppress(httpx2.TransportError):  # the server is killed under it
            server.chat(session_id, message)

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_turns_that_run_and_wait_when_the_server_is_killed_are_run_at_the_next_start(
    tmp_path: Path, upstream: Upstream, env: dict[str, str]
) -> None:
    never = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=never)
    with Server(tmp_path, env) as server:
        first = post_and_forget(server, "s", "one")
        until(lambda: len(upstream.replies) == 1)
        second = post_and_forget(server, "s", "two")
        other = post_and_forget(server, "t", "elsewhere")
        until(lambda: len(upstream.replies) == 2)
        until(lambda: _turns(tmp_path) == 3)
        server.kill()
        for thread in (first, second, other):
            thread.join()
        upstream.calls.clear()
        upstream.script = polite

        server.start()
        until(lambda: len(server.contents("s")) == 4 and len(server.contents("t")) == 2)

        assert server.contents("s") == ["one", "Reply to: one", "two", "Reply to: two"]
        assert server.contents("t") == ["elsewhere", "Reply to: elsewhere"]
        assert {m["status"] for m in server.history("s")} == {"completed"}
        assert len(upstream.replies) == 3
    never.set()


def _turns(folder: Path) -> int:
    with contextlib.closing(
        sqlite3.connect(f"file:{folder}/chatkeep.db?mode=ro", uri=True)
    ) as conn:
        (count,) = conn.execute("SELECT count(*) FROM turns").fetchone()
    return int(count)


def test_a_turn_that_is_killed_three_times_is_interrupted_and_the_session_goes_on(
    tmp_path: Path, upstream: Upstream, env: dict[str, str]
) -> None:
    never = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=never)
    with Server(tmp_path, env) as server:
        for attempt in range(1, 4):
            if attempt == 1:
                post_and_forget(server, "s", "deadly")
            until(lambda number=attempt: len(upstream.replies) == number)
            server.kill()
            server.start()

        upstream.script = polite
        assert [m["status"] for m in server.history("s")] == ["interrupted"]
        assert server.chat("s", "alive?").status_code == 200
        assert server.contents("s") == ["deadly", "alive?", "Reply to: alive?"]
    never.set()


def test_a_title_that_is_owed_when_the_server_is_killed_is_made_at_the_next_start(
    tmp_path: Path, upstream: Upstream, env: dict[str, str]
) -> None:
    never = threading.Event()
    upstream.script = lambda call: Answer(gate=never) if call.is_title else polite(call)
    with Server(tmp_path, {**env, "CHATKEEP_TITLE_WAIT": "0"}) as server:
        server.chat("s", "flowers for the balcony")
        assert server.sessions()["s"]["title_source"] == "provisional"
        server.kill()
        upstream.script = polite

        server.start()

        titled = until(
            lambda: row if (row := server.sessions()["s"])["title_source"] == "model" else None
        )
        assert titled["title"] == "flowers for the"
    never.set()


def test_a_server_that_is_signalled_to_stop_lets_running_turns_end(
    tmp_path: Path, upstream: Upstream, env: dict[str, str]
) -> None:
    go_on = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["Done."], gate=go_on)
    with Server(tmp_path, env) as server, ThreadPoolExecutor(2) as pool:
        assert server.process is not None
        answer = pool.submit(server.chat, "s", "take your time")
        until(lambda: len(upstream.replies) == 1)
        following = pool.submit(server.chat, "s", "and this")
        until(lambda: _turns(tmp_path) == 2)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not _connects(server))
        go_on.set()

        assert answer.result().json()["response"] == "Done."
        assert following.result().json()["response"] == "Done."
        assert server.process.wait(PATIENCE) == 0

        server.start()
        assert server.contents("s") == ["take your time", "Done.", "and this", "Done."]


def _connects(server: Server) -> bool:
    try:
        server.get("/healthz")
    except httpx2.TransportError:
        return False
    return True


def test_a_turn_that_outlasts_the_stop_is_run_again_at_the_next_start(
    tmp_path: Path, upstream: Upstream, env: dict[str, str]
) -> None:
    never = threading.Event()

    def script(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer(gate=never)

    upstream.script = script
    with Server(tmp_path, {**env, "CHATKEEP_DRAIN_SECONDS": "1"}) as server:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.chat, "s", "endless")
            until(lambda: len(upstream.replies) == 1)

            assert server.stop() == 0

            assert answer.result().status_code == 503
            assert answer.result().json()["type"] == "/problems/draining"
            assert answer.result().json()["turn_id"].startswith("turn_")
        upstream.script = polite
        server.start()
        until(lambda: server.contents("s") == ["endless", "Reply to: endless"])
    never.set()


def test_a_second_server_on_the_same_data_or_port_says_why_it_cannot_start(
    tmp_path: Path, env: dict[str, str]
) -> None:
    with Server(tmp_path, env) as server:
        for port in ("0", server.url.rpartition(":")[2]):
            second = subprocess.run(
                [sys.executable, "-m", "chatkeep", "serve", "--port", port],
                env=server.env,
                cwd=tmp_path,
                capture_output=True,
                check=False,
                text=True,
                timeout=PATIENCE,
            )
            assert second.returncode == 2
            assert "chatkeep cannot start." in second.stderr
            assert "Traceback" not in second.stderr
            assert ("Another Chatkeep" if port == "0" else "in use") in second.stderr
        assert server.chat("s", "still well?").status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CHATKEEP_MODEL", "gpt-5", "is not a model"),
        ("CHATKEEP_MODEL", "local:/nowhere/model.gguf", "path of a GGUF file"),
        ("CHATKEEP_HOST", "0.0.0.0", "CHATKEEP_LISTEN_WITHOUT_KEY"),
        ("CHATKEEP_DATA_DIR", "/dev/null/x", "data folder"),
        ("CHATKEEP_DATABASE_URL", "sqlite:///:memory:", "stored in a file"),
        ("CHATKEEP_READER_TIMEOUT", "inf", "finite"),
        ("CHATKEEP_DRAIN_SECONDS", "1e20", "less than or equal to"),
        ("OPENAI_BASE_URL", "127.0.0.1:1/v1", "not a URL"),
    ],
)
def test_settings_that_cannot_work_are_explained(
    tmp_path: Path, name: str, value: str, reason: str
) -> None:
    server = Server(tmp_path, {name: value})
    with pytest.raises(AssertionError, match="did not start") as refused:
        server.start()
    assert reason in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert server.process is not None
    assert server.process.returncode == 2


def test_a_turn_works_with_every_limit_at_its_largest_and_nothing_else_set(
    tmp_path: Path, upstream: Upstream
) -> None:
    schema = Settings.model_json_schema(by_alias=False)["properties"]
    limits = {name: str(rule["maximum"]) for name, rule in schema.items() if "maximum" in rule}
    # A limit of PostgreSQL's.
    del limits["workers"]
    empty = dict.fromkeys(schema.keys() - limits.keys(), "")
    names = {name: field.validation_alias for name, field in Settings.model_fields.items()}
    env = {
        name.upper() if names[name] else f"CHATKEEP_{name.upper()}": value
        for name, value in (limits | empty).items()
    }
    env |= {"CHATKEEP_DATA_DIR": str(tmp_path), "CHATKEEP_MODEL": "openai:scripted"}
    env |= {name: upstream.env[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")}
    with Server(tmp_path, env) as server:
        answer = server.chat("s", "hello there now")
        assert answer.status_code == 200, answer.text
        assert server.stop() == 0


def test_a_file_that_is_no_database_is_explained_and_left_alone(
    tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "chatkeep.db").write_text("a letter to my grandmother\n" * 100)
    before = (tmp_path / "chatkeep.db").read_bytes()

    with pytest.raises(AssertionError, match="file is not a database") as refused:
        Server(tmp_path, env).start()

    assert "Traceback" not in str(refused.value)
    assert (tmp_path / "chatkeep.db").read_bytes() == before
