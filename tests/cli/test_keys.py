"""Commands of somebody who is not at the server's machine, and needs a key."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import ENTER, Terminal
from tests.process import PATIENCE, Server, run_command
from tests.upstream import Answer, Upstream, polite

CHAT = (sys.executable, "-m", "chatkeep", "chat")


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_HEARTBEAT_SECONDS": "0.3",
    }
    with Server(tmp_path / "data", env) as running:
        yield running


def at_the_server(server: Server, *arguments: str) -> str:
    done = run_command(*arguments, env=server.env, folder=server.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def elsewhere(**more: str) -> dict[str, str]:
    """The environment of somebody else's machine."""
    ours = ("CHATKEEP_", "OPENAI_", "NO_COLOR", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=elsewhere(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_message_from_another_machine_takes_a_key(server: Server, tmp_path: Path) -> None:
    key = at_the_server(server, "keys", "create", "--user", "alice", "a laptop").strip()
    ask = (*CHAT, "--url", server.url, "--session", "s", "hello there you")

    without = run(*ask)
    assert without.returncode == 1
    assert without.stderr.strip() == (
        "This server requires a key. Set CHATKEEP_API_KEY, or use --key."
    )
    assert "not valid" in run(*ask, CHATKEEP_API_KEY="ckp_nothing").stderr
    assert run(*ask, CHATKEEP_API_KEY=key).stdout.strip() == "Reply to: hello there you"
    again = run(*CHAT, "--url", server.url, "--key", key, "--session", "s", "and another one")
    assert again.stdout.strip() == "Reply to: and another one"
    # The entry in the user's configuration.
    folder = tmp_path / "config" / "chatkeep"
    folder.mkdir(parents=True)
    (folder / "chatkeep.toml").write_text(f'url = "{server.url}"\napi_key = "{key}"\n')
    command = (sys.executable, "-m", "chatkeep", "sessions", "list")
    listed = run(*command, XDG_CONFIG_HOME=str(folder.parent))
    assert listed.stdout.split("\t")[1:3] == ["s", "4"], listed
    # It is one user's; the server's own list has nothing of it.
    assert "s\t" not in at_the_server(server, "sessions", "list")


def test_the_secret_of_this_machine_is_sent_through_no_proxy(server: Server) -> None:
    # Where nobody listens: whoever asks there gets no answer.
    nowhere = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    env = {**server.env, **nowhere, "NO_PROXY": "", "no_proxy": ""}
    done = run_command("keys", "create", "one", env=env, folder=server.folder)
    assert (done.returncode, done.stdout[:4]) == (0, "ckp_"), done.stderr


def test_a_key_that_is_revoked_ends_the_answer_in_the_terminal_and_says_so(
    server: Server, upstream: Upstream
) -> None:
    pace = threading.Semaphore(1)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["So ", "far."], pace=pace)
    )
    key = at_the_server(server, "keys", "create", "a laptop").strip()
    [row] = at_the_server(server, "keys", "list").splitlines()
    with Terminal(
        (*CHAT, "--url", server.url, "--session", "s"), elsewhere(CHATKEEP_API_KEY=key)
    ) as terminal:
        terminal.wait("Ctrl-D quits")
        terminal.type("Go on and on" + ENTER)
        terminal.wait("So")
        at_the_server(server, "keys", "revoke", "--yes", row.split("\t")[0])
        terminal.wait("The key was revoked.")
    pace.release(10)
