"""The README is true: every command in it is run, as it stands there."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chatkeep.settings import Settings
from tests.process import START_SECONDS
from tests.titlerule import keeps_the_rule
from tests.upstream import Upstream

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
INSTALL_SECONDS = 3_000

SERVE = next(block for block in BLOCKS if block.rstrip().endswith("chatkeep serve"))
SWITCHES = [block for block in BLOCKS if "chatkeep serve --model" in block]
CALLS = [block for block in BLOCKS if block.startswith("curl")]
BACKUP = next(block for block in BLOCKS if "chatkeep backup" in block)
COMMANDS = [block for block in BLOCKS if re.match(r"\S+chatkeep (chat|sessions)", block)]
TESTS = next(block for block in BLOCKS if block.rstrip().endswith("pytest"))
FULL = next(block for block in BLOCKS if block.rstrip().endswith("--full"))
BENCHMARKS = next(block for block in BLOCKS if "-m benchmarks" in block)
SITE = next(block for block in BLOCKS if "zensical" in block)


def test_every_block_is_known_to_a_test() -> None:
    assert {SERVE, *SWITCHES, *CALLS, *COMMANDS, BACKUP, TESTS, FULL, BENCHMARKS, SITE} == set(
        BLOCKS
    )


@contextmanager
def serving(command: str, folder: Path, env: dict[str, str], seconds: float) -> Iterator[str]:
    """Run a command that serves, until it says where."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, **env, "CHATKEEP_PORT": "0"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while "Chatkeep answers on " not in (said := log.read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield said.split("Chatkeep answers on ")[1].split(" ")[0]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(START_SECONDS)


def bash(command: str, folder: Path, env: dict[str, str] | None = None) -> str:
    run = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        check=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    return run.stdout


def test_one_command_serves_on_a_fresh_machine_and_the_calls_do_what_is_said(
    tmp_path: Path,
) -> None:
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    env = {"HOME": str(home), "XDG_DATA_HOME": "", "CHATKEEP_MODEL_TIMEOUT": "600"}
    # The embedded model is a talker, and nothing here depends on its last words.
    env["CHATKEEP_MAX_REPLY_CHARS"] = "400"

    with serving(SERVE, clone, env, INSTALL_SECONDS) as url:
        shown = re.findall(r"^\$ (curl .*)$", README, re.MULTILINE)
        talk = [bash(call.replace("http://127.0.0.1:8000", url), clone) for call in shown]
        calls = [bash(call.replace("http://127.0.0.1:8000", url), clone) for call in CALLS]
        asked, listed_here = [bash(command, clone, env) for command in COMMANDS]
        backup = bash(BACKUP, clone, env)

    assert [json.loads(answer)["session_id"] for answer in talk] == ["geography"] * 2
    chat, text, stream, keyed, sessions, history, headers, found, renamed, deleted, error = calls
    assert set(json.loads(chat)) == set(json.loads(_json_block(0)))
    assert json.loads(chat)["response"].strip()
    assert text.strip()
    assert not text.startswith("{")
    assert stream.count("event: turn.started") == stream.count("event: turn.completed") == 1
    assert json.loads(keyed)["session_id"] == "trip/lisbon"
    listed = json.loads(sessions)
    assert [session["session_id"] for session in listed] == ["trip/lisbon", "geography"]
    assert all(keeps_the_rule(session["title"]) for session in listed)
    roles = [message["role"] for message in json.loads(history)]
    assert roles == ["user", "assistant"] * 4
    assert 'rel="prev"' in headers
    assert json.loads(error) == json.loads(_json_block(1))
    assert {hit["session_id"] for hit in json.loads(found)} == {"trip/lisbon"}
    assert json.loads(renamed)["title"] == "A Week in Lisbon"
    assert deleted == ""
    assert asked.strip()
    assert listed_here.splitlines()[-1].startswith("A Week in Lisbon\ttrip/lisbon\t8\t")
    assert "checked" in backup
    with closing(sqlite3.connect(clone / "chatkeep-backup.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM messages").fetchone() == (10,)


def _json_block(number: int) -> str:
    return re.findall(r"```json\n(.*?)```", README, re.DOTALL)[number]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda block: block.split()[-1])
def test_one_line_switches_to_another_provider(
    tmp_path: Path, upstream: Upstream, switch: str
) -> None:
    command = switch.replace(".venv/bin/chatkeep", f"{sys.executable} -m chatkeep")
    command = command.replace("http://127.0.0.1:11434", upstream.url)
    env = {key: value for key, value in upstream.env.items() if key.endswith("BASE_URL")}
    env |= {"CHATKEEP_DATA_DIR": str(tmp_path)}

    with serving(command, tmp_path, env, START_SECONDS) as url:
        body = json.dumps({"session_id": "s", "message": "good morning to you"})
        answer = bash(f"curl -sS {url}/chat --json '{body}'", tmp_path)

    model = switch.rsplit(maxsplit=1)[-1]
    assert json.loads(answer)["response"] == "Reply to: good morning to you"
    assert json.loads(answer)["model"] == model
    assert upstream.replies[0].body["model"] == model.partition(":")[2]


def test_every_setting_that_is_named_exists_with_its_default() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    rows = re.findall(r"^\| (`CHATKEEP_.*?) \| .*? \| (.*?) \|$", README, re.MULTILINE)
    assert len(rows) >= 10
    for names, default in rows:
        settings = [name.lower() for name in re.findall(r"`CHATKEEP_(\w+)`", names)]
        shown = re.findall(r"`([^`]*)`", default)
        for setting in settings:
            assert setting in defaults
        # Words describe some defaults; those in code style are the values themselves.
        if len(shown) == len(settings) and not set(settings) & {"database_url", "log_format"}:
            values = [str(defaults[setting]).lower() for setting in settings]
            assert [value.removesuffix(".0") for value in values] == shown
    named = set(re.findall(r"`([A-Z]+_(?:API_KEY|BASE_URL|HOST))`", README))
    assert named - {"CHATKEEP_HOST"} == {
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "OLLAMA_HOST",
    }


def test_what_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_readmes_own_test_command() -> None:
    """`.ci/run` takes the command from the README, so that it cannot be another."""
    printed = subprocess.run(
        ["bash", ".ci/run", "--print-test-command"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert printed.strip() == TESTS.strip()


def test_lock_files_name_versions_and_no_host() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text
        assert "//" not in text
        assert "index-url" not in text
