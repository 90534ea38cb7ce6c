"""What a person sets, copies, saves and finds again in a conversation in the terminal."""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.test_archive import CHATGPT
from tests.cli.terminal import ALT_ENTER, CTRL_D, ENTER, Terminal
from tests.cli.test_chat import CHAT, READY, answers, env, open_chat, released
from tests.process import Server
from tests.upstream import Call, Upstream, polite

UP = "\x1b[A"
COPIED = re.compile(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    """A server with two models."""
    models = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_MODELS": "openai:other"}
    with Server(tmp_path_factory.mktemp("data"), running_upstream.env | models) as running:
        yield running


def record(server: Server, session: str) -> dict[str, object]:
    row: dict[str, object] = server.get(f"/sessions/{quote(session, safe='')}")
    return row


def models_of(calls: list[Call]) -> list[str]:
    return [call.body["model"] for call in calls]


def copied(terminal: Terminal) -> str:
    """What was last put on the clipboard."""
    return base64.b64decode(COPIED.findall(terminal.raw)[-1]).decode()


def test_a_model_that_is_chosen_is_the_session_s_in_later_runs_too(
    server: Server, upstream: Upstream
) -> None:
    with open_chat(server.url, "chosen") as terminal:
        terminal.wait(READY, "›")
        terminal.type("/model" + ENTER)
        terminal.wait("→ openai:scripted (default)", "openai:other")
        terminal.type("/model openai:none" + ENTER)
        terminal.wait("The model openai:none is not available.")
        terminal.type("/model openai:other" + ENTER)
        terminal.wait("Model: openai:other", "· chosen · openai:other")
        terminal.type("one" + ENTER)
        terminal.wait("Reply to: one", "One, ", "· chosen · openai:other")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert terminal.shown.rstrip().endswith("Continue with: chatkeep chat -s chosen")
    assert record(server, "chosen")["model"] == "openai:other"
    with Terminal((*CHAT, "--url", server.url, "--continue"), env()) as terminal:
        terminal.wait("› one", "One, ", "· chosen · openai:other")
        terminal.type("two" + ENTER)
        terminal.wait("Reply to: two")
        terminal.type("/model default" + ENTER)
        terminal.wait("Model: openai:scripted", without="chosen · openai:other")
        terminal.type("three" + ENTER)
        terminal.wait("Reply to: three")
    assert models_of(upstream.replies) == ["other", "other", "scripted"]
    assert record(server, "chosen")["model"] is None


def test_a_model_of_the_command_line_is_for_the_run_alone(
    server: Server, upstream: Upstream
) -> None:
    command = (*CHAT, "--url", server.url, "-s", "run", "-m", "openai:other")
    with Terminal(command, env()) as terminal:
        terminal.wait(READY, "· run · openai:other")
        terminal.type("one" + ENTER)
        terminal.wait("Reply to: one")
        terminal.type("/model default" + ENTER)
        terminal.wait("Model: openai:scripted")
        terminal.type("/retry" + ENTER)
        terminal.wait("/retry\nReply to: one\n\n›")
    assert models_of(upstream.replies) == ["other", "scripted"]
    assert record(server, "run")["model"] is None


def test_retry_uses_the_current_model(server: Server, upstream: Upstream) -> None:
    with open_chat(server.url, "again") as terminal:
        terminal.wait(READY, "›")
        terminal.type("one" + ENTER)
        terminal.wait("Reply to: one")
        terminal.type("/model openai:other" + ENTER)
        terminal.wait("Model: openai:other")
        terminal.type("/retry" + ENTER)
        terminal.wait("/retry\nReply to: one\n\n›")
    assert models_of(upstream.replies) == ["scripted", "other"]
    assert server.contents("again") == ["one", "Reply to: one"]


def test_retry_of_an_imported_answer_is_a_branch(server: Server, upstream: Upstream) -> None:
    with server.client() as client:
        assert client.post("/import", content=json.dumps([CHATGPT])).json()["imported"] == 1
    (session,) = (name for name, row in server.sessions().items() if row["title"] == "Tides")
    question, answer = server.history(session)
    upstream.script = answers("The moon does.")
    with open_chat(server.url, session) as terminal:
        terminal.wait(answer["content"].split("\n")[0][:20], "Tides ·")
        terminal.type("/retry" + ENTER)
        terminal.wait("The moon does.\n\n›")
    assert server.contents(session) == [question["content"], "The moon does."]
    assert len(server.get(f"/messages/{server.history(session)[0]['id']}/siblings")) == 2


def test_a_system_prompt_is_shown_set_and_reset(server: Server, upstream: Upstream) -> None:
    with open_chat(server.url, "system") as terminal:
        terminal.wait(READY, "›")
        terminal.type("/system" + ENTER)
        terminal.wait("System prompt: the server's")
        terminal.type(f"/system Be brief.{ALT_ENTER}Rhyme." + ENTER)
        terminal.wait("System prompt: Be brief.\nRhyme.")
        for message in ("one", "two"):
            terminal.type(message + ENTER)
            terminal.wait(f"Reply to: {message}\n\n›")
        assert record(server, "system")["system_prompt"] == "Be brief.\nRhyme."
        terminal.type("/system none" + ENTER)
        terminal.wait("System prompt: none")
        assert record(server, "system")["system_prompt"] == ""
        terminal.type("/system default" + ENTER)
        terminal.wait("/system default\nSystem prompt: the server's")
        terminal.type("three" + ENTER)
        terminal.wait("Reply to: three\n\n›")
    prompts = [call.messages[0][1] for call in upstream.replies]
    assert prompts[:2] == ["Be brief.\nRhyme."] * 2
    assert "Rhyme" not in prompts[2]
    assert record(server, "system")["system_prompt"] is None


def test_commands_and_their_arguments_are_completed(server: Server) -> None:
    with open_chat(server.url) as terminal:
        terminal.wait(READY, "›")
        terminal.type("/co")
        terminal.wait("/copy", "Copy the last code block")
        assert terminal.shown.count("/copy") == 1
        terminal.type("\t ")
        terminal.wait("› /copy\n", "  all\n", without="Copy the last code block")
        terminal.type("\t" + ENTER)
        terminal.wait("› /copy all\nNothing to copy.")
        terminal.type("co\t" + ENTER)
        terminal.wait("Reply to: co")


def test_code_and_answers_are_copied_to_the_clipboard(server: Server, upstream: Upstream) -> None:
    reply = "Two:\n\n```sh\nls\n```\n\nor\n\n```python\nprint('é')\n\nexit()\n```\n\x1bDone."
    upstream.script = answers(reply)
    with open_chat(server.url, "copy") as terminal:
        terminal.wait(READY, "›")
        terminal.type("/copy" + ENTER)
        terminal.wait("Nothing to copy.")
        terminal.type("one" + ENTER)
        terminal.wait("Done.\n\n›")
        terminal.type("/copy" + ENTER)
        terminal.wait("Copied the last code block (3 lines).")
        assert copied(terminal) == "print('é')\n\nexit()\n"
        terminal.type("/copy all" + ENTER)
        terminal.wait("Copied the answer (14 lines).")
        assert copied(terminal) == reply.replace("\x1b", "")
        upstream.script = answers("No code.")
        terminal.type("two" + ENTER)
        terminal.wait("No code.\n\n›")
        terminal.type("/copy" + ENTER)
        terminal.wait("Copied the answer (1 line).")
        assert copied(terminal) == "No code."


def test_a_session_is_saved_as_markdown_and_replaces_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_chat(server.url, "export") as terminal:
        terminal.wait(READY, "›")
        terminal.type("/export" + ENTER)
        terminal.wait("Nothing to export.")
        terminal.type("ripe red/apples" + ENTER)
        terminal.wait("Reply to: ripe red/apples\n\n›", "· export")
        for name in ("ripe-red-apples-ripe.md", "ripe-red-apples-ripe-2.md"):
            terminal.type("/export" + ENTER)
            terminal.wait(f"Saved to {name}")
            assert "Reply to: ripe red/apples" in (tmp_path / name).read_text()
            assert (tmp_path / name).stat().st_mode & 0o077 == 0
        terminal.type("/export my own.md" + ENTER)
        terminal.wait("Saved to my own.md")
        (tmp_path / "my own.md").write_text("mine")
        terminal.type("/export my own.md" + ENTER)
        terminal.wait("my own.md exists already.")
        terminal.type("/export none/here.md" + ENTER)
        terminal.wait("none/here.md cannot be written: No such file or directory.")
    assert (tmp_path / "my own.md").read_text() == "mine"


def test_what_was_entered_is_there_in_the_next_run(server: Server, state_folder: Path) -> None:
    file = state_folder / "chatkeep" / "history"
    with open_chat(server.url, "history") as terminal:
        terminal.wait(READY, "›")
        terminal.type("two" + ALT_ENTER + "lines" + ENTER)
        terminal.wait("Reply to: two lines\n\n›")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    assert file.stat().st_mode & 0o777 == 0o600
    with open_chat(server.url) as terminal:
        terminal.wait(READY, "›")
        terminal.type(UP)
        terminal.wait("› two\n  lines")
    before = file.read_bytes()
    with Terminal((*CHAT, "--url", server.url), env() | {"CHATKEEP_HISTORY": "0"}) as terminal:
        terminal.wait(READY, "›")
        terminal.type("secret" + ENTER)
        terminal.wait("Reply to: secret\n\n›")
        terminal.type(UP + UP)
        terminal.wait("\n\n› secret")
    assert file.read_bytes() == before


def test_a_history_that_grew_too_large_keeps_its_newest_entries(
    server: Server, state_folder: Path
) -> None:
    file = state_folder / "chatkeep" / "history"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"\n# then\n+entry {number} {'x' * 100}\n" for number in range(20_000)))
    with open_chat(server.url) as terminal:
        terminal.wait(READY, "›")
        assert file.stat().st_size <= 500_000
        assert file.read_text().startswith("\n# then\n+entry ")
        terminal.type(UP)
        terminal.wait("› entry 19999 x")


@pytest.mark.parametrize("obstacle", ["a folder", "a file above it", "a full disk"])
def test_a_history_that_cannot_be_written_is_no_error(
    server: Server, state_folder: Path, obstacle: str
) -> None:
    if obstacle == "a file above it":
        state_folder.write_text("no folder")
    elif obstacle == "a folder":
        (state_folder / "chatkeep" / "history").mkdir(parents=True)
    limit = "ulimit -f 0;" if obstacle == "a full disk" else ""
    command = ("bash", "-c", f'{limit} exec "$@"', "bash", *CHAT, "--url", server.url)
    with Terminal(command, env()) as terminal:
        terminal.wait(READY, "›")
        terminal.type("one" + ENTER)
        terminal.wait("Reply to: one\n\n›")
        terminal.type(UP)
        terminal.wait("Reply to: one\n\n› one")
        terminal.type("\x03" + CTRL_D)
        assert terminal.end() == 0


def test_a_run_without_a_message_names_no_session(server: Server) -> None:
    with open_chat(server.url) as terminal:
        terminal.wait(READY, "›")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert "Continue with" not in terminal.shown


def test_what_is_set_before_a_stopped_first_turn_is_stored(
    server: Server, upstream: Upstream
) -> None:
    pace = released(1)
    upstream.script = answers("It began", " and ended", pace=pace)
    with open_chat(server.url, "stopped") as terminal:
        terminal.wait(READY, "›")
        terminal.type("/model openai:other" + ENTER)
        terminal.wait("Model: openai:other")
        terminal.type("one" + ENTER)
        terminal.wait("It began")
        terminal.type("\x03")
        terminal.wait("stopped\n\n›")
    upstream.script = polite
    pace.release(1_000)
    assert record(server, "stopped")["model"] == "openai:other"


def test_a_session_is_shown_as_it_is_in_a_conversation(server: Server, upstream: Upstream) -> None:
    line = "print('" + "long " * 20 + "')"
    upstream.script = answers(f"So \\(a\\,b\\):\n\n```python\n{line}\n```\n")
    server.chat("shown", "show me everything")
    command = (sys.executable, "-m", "chatkeep", "sessions", "show", "shown", "--url", server.url)
    with Terminal(command, env() | {"PAGER": "cat"}, columns=60) as terminal:
        assert terminal.end() == 0
        parts = "\n".join(line[start : start + 60] for start in range(0, len(line), 60))
        assert f"So \\(a\\,b\\):\n\npython\n{parts}\n" in terminal.shown
