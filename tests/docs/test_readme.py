"""Every command in the README runs, unchanged, and does what the README says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatkeep.settings import Settings
from tests.process import PATIENCE, START_SECONDS
from tests.titlerule import keeps_the_rule
from tests.upstream import Upstream

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
INSTALL_SECONDS = 3_000
QUICK = {"PIP_NO_COMPILE": "1"}
"""Modules are compiled when they are imported, which saves compiling all packages."""

SERVE = next(block for block in BLOCKS if block.rstrip().endswith("chatkeep serve"))
SWITCHES = [block for block in BLOCKS if "chatkeep serve --model" in block]
CALLS = [block for block in BLOCKS if block.startswith("curl")]
CHAT = next(block for block in BLOCKS if "chatkeep chat" in block)
TESTS = next(block for block in BLOCKS if block.rstrip().endswith("pytest"))
PYTHON, JAVASCRIPT = (
    re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) for language in ("python", "js")
)


def test_every_block_is_known_to_a_test() -> None:
    assert {SERVE, *SWITCHES, *CALLS, CHAT, TESTS} == set(BLOCKS)
    assert len(PYTHON) == len(JAVASCRIPT) == 1
    languages = re.findall(r"^```(\w+)$", README, re.MULTILINE)
    assert set(languages) == {"bash", "json", "python", "js"}


@contextmanager
def serving(command: str, folder: Path, env: dict[str, str], seconds: float) -> Iterator[str]:
    """Run a command that serves, and return the URL that it prints."""
    log_file = folder / "serve.log"
    with log_file.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, **env, "CHATKEEP_PORT": "0"},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while "Chatkeep answers on " not in (output := log_file.read_text()):
            assert process.poll() is None, output
            assert time.monotonic() < deadline, output
            time.sleep(0.1)
        yield output.split("Chatkeep answers on ")[1].split(" ")[0]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(START_SECONDS)


def bash(command: str, folder: Path, env: dict[str, str] | None = None) -> str:
    completed = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        check=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    return completed.stdout


def test_one_command_serves_on_a_fresh_machine_and_the_examples_work(
    tmp_path: Path,
) -> None:
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    env = {"HOME": str(home), "XDG_DATA_HOME": "", "CHATKEEP_MODEL_TIMEOUT": "600", **QUICK}

    with serving(SERVE, clone, env, INSTALL_SECONDS) as url:

        def at_url(example: str) -> str:
            return example.replace("http://127.0.0.1:8000", url)

        chat, stream, sessions, history = [bash(at_url(call), clone) for call in CALLS]
        by_python = run([sys.executable, "-c", at_url(PYTHON[0])])
        by_javascript = run(["node", "--input-type=module", "--eval", at_url(JAVASCRIPT[0])])
        by_command = bash(CHAT, clone, env)
        with_all = bash(at_url(CALLS[-1]), clone)

    assert set(json.loads(chat)) == set(json.loads(_json_block(0)))
    assert json.loads(chat)["response"].strip()
    assert stream.count("event: turn.started") == stream.count("event: turn.completed") == 1
    listed = json.loads(sessions)
    assert [session["session_id"] for session in listed] == ["trip/alps"]
    assert keeps_the_rule(listed[0]["title"])
    assert listed[0]["title_source"] == "model"
    assert [message["role"] for message in json.loads(history)] == ["user", "assistant"] * 2
    assert by_python.strip()
    assert by_javascript.strip()
    assert by_command.strip()
    replies = [message["content"] for message in json.loads(with_all)][1::2]
    assert [text.strip() for text in replies[2:]] == [by_python.strip(), by_javascript.strip()]


def run(command: list[str]) -> str:
    completed = subprocess.run(
        command, capture_output=True, check=True, text=True, timeout=PATIENCE
    )
    return completed.stdout


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


def test_every_setting_in_the_readme_exists() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"\b(?:CHATKEEP|OPENAI|ANTHROPIC|OLLAMA)_[A-Z_]*[A-Z]", README))
    assert {"CHATKEEP_CONTEXT_MESSAGES", "OPENAI_API_KEY"} <= named
    assert {name.removeprefix("CHATKEEP_") for name in named} <= settings
    number = re.search(r"\*\*the last (\d+)\s+messages\*\*", README)
    assert number is not None
    assert int(number[1]) == Settings.model_fields["context_messages"].default


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(re.sub(r"```.*?```", "", README, flags=re.DOTALL).split()) <= 1_000


def test_the_links_of_the_readme_lead_to_files() -> None:
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
