"""The commands: on a running server, on the database alone, and as other programs use them."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from chatkeep.cli import cli
from tests.process import Server, run_command
from tests.upstream import Answer, Upstream, polite


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", env) as running:
        yield running


def chatkeep(
    server: Server, *arguments: str, stdin: str | None = None, code: int = 0, **env: str
) -> str:
    """Run a command with the server's settings; return what it printed."""
    done = run_command(
        *arguments, env={**server.env, **env}, folder=server.folder, stdin=stdin or ""
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + (done.stderr if code else "")


def from_json(server: Server, *arguments: str, **more: Any) -> Any:
    return json.loads(chatkeep(server, *arguments, "--json", **more))


def both_ways(server: Server, *arguments: str) -> Any:
    """A command's output on the running server, by itself or by address, and without a server."""
    running = from_json(server, *arguments)
    assert from_json(server, *arguments, CHATKEEP_URL=server.url) == running
    server.stop()
    assert from_json(server, *arguments) == running
    server.start()
    return running


def test_sessions_are_listed_shown_searched_and_counted_with_and_without_a_server(
    server: Server,
) -> None:
    server.chat("trip/lisbon", "what shall I pack?")

    (listed,) = both_ways(server, "sessions", "list")
    assert listed["session_id"] == "trip/lisbon"
    shown = from_json(server, "sessions", "show", "trip/lisbon")
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    assert len(both_ways(server, "search", "pack")) == 2
    assert {row["kind"] for row in from_json(server, "usage")} == {"reply", "title"}
    assert from_json(server, "models")["default"] == "openai:scripted"
    assert "trip/lisbon" in chatkeep(server, "sessions", "list")
    assert "## User" in chatkeep(server, "sessions", "show", "trip/lisbon")
    assert "what shall I pack?" in chatkeep(server, "search", "pack")
    assert "reply" in chatkeep(server, "usage")
    assert chatkeep(server, "models") == "* openai:scripted\n"


def test_a_session_is_renamed_and_deleted(server: Server) -> None:
    server.chat("trip/lisbon", "what shall I pack?")
    server.chat("other", "stays here then")

    assert from_json(server, "sessions", "rename", "trip/lisbon", "Mine")["title"] == "Mine"
    chatkeep(server, "sessions", "delete", "trip/lisbon", stdin="n\n", code=1)
    assert "trip/lisbon" in server.sessions()
    assert "is deleted" in chatkeep(server, "sessions", "delete", "trip/lisbon", stdin="y\n")

    assert list(server.sessions()) == ["other"]
    chatkeep(server, "sessions", "delete", "--yes", "trip/lisbon", code=3)
    chatkeep(server, "sessions", "show", "trip/lisbon", code=3)
    chatkeep(server, "sessions", "rename", "trip/lisbon", "x", code=3)
    report = from_json(server, "sessions", "delete", "-y", "other", "nobody", code=1)
    assert report == {"deleted": ["other"], "not_found": ["nobody"]}


def test_one_question_is_answered_with_what_is_piped_in(server: Server, upstream: Upstream) -> None:
    assert chatkeep(server, "chat", "hello there you") == "Reply to: hello there you\n"
    chatkeep(server, "chat", "summarise", stdin="a long\ntext\n")
    assert upstream.replies[-1].messages[-1][1] == "summarise\n\na long\ntext\n"
    first = from_json(server, "chat", "--session", "mine", "good morning to you")
    assert (first["session_id"], first["response"]) == ("mine", "Reply to: good morning to you")
    again = from_json(server, "chat", "--continue", "once more then")
    assert again["session_id"] == "mine"
    chatkeep(server, "chat", code=2)
    output = chatkeep(server, "chat", "-m", "openai:none", "x", code=1)
    assert output == "The model openai:none is not available. Choose from: openai:scripted.\n"


def test_files_are_part_of_the_message(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Some `code`:\n```sh\nls\n```\n")
    (tmp_path / "empty").write_text("")
    files = ("-f", str(tmp_path / "notes.md"), "--file", str(tmp_path / "empty"))
    chatkeep(server, "chat", *files, "summarise", stdin="the end")
    assert upstream.replies[-1].messages[-1][1] == (
        "summarise\n\nnotes.md\n````md\nSome `code`:\n```sh\nls\n```\n````\n\n"
        "empty\n```\n```\n\nthe end"
    )
    chatkeep(server, "chat", *files[:2])
    assert upstream.replies[-1].messages[-1][1].startswith("notes.md\n````md\n")


def test_a_file_that_cannot_be_part_of_a_message_is_wrong_usage(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    (tmp_path / "utf16.txt").write_bytes("words".encode("utf-16-be"))
    (tmp_path / "large.txt").write_text("x" * 1_000_001)
    (tmp_path / "long.txt").write_text("x" * 100_001)
    for name, words in (
        ("picture.png", "is not text in UTF-8."),
        ("utf16.txt", "is not text in UTF-8."),
        ("large.txt", "is too large for a message."),
        ("long.txt", "The message is longer than 100000 characters."),
        ("none", "cannot be read: No such file or directory."),
        (".", "cannot be read: Is a directory."),
    ):
        output = chatkeep(server, "chat", "-f", str(tmp_path / name), "summarise", code=2)
        assert output.endswith(f"{words}\n")
        assert output.count("\n") == 1
    assert upstream.calls == []


def test_the_first_code_of_an_answer_is_printed_alone(server: Server, upstream: Upstream) -> None:
    reply = "So:\n\n1. First\n\n   ```sh\n   ls\n     -l\n   ```\n\n```\nsecond\n```\n"
    upstream.script = lambda call: polite(call) if call.is_title else Answer([reply])
    for option in ("-x", "--extract"):
        assert chatkeep(server, "chat", option, "list files") == "ls\n  -l\n"
    upstream.script = polite
    output = chatkeep(server, "chat", "-x", "list files", code=1)
    assert output == "There is no code block in the answer.\n"
    chatkeep(server, "chat", "-x", code=2)
    chatkeep(server, "chat", "-x", "--json", "list files", code=2)
    assert len(upstream.replies) == 3


def test_sessions_are_pinned_and_archived_and_back(server: Server) -> None:
    for name in ("one", "two/three"):
        server.chat(name, "good morning to you")

    def states(field: str) -> list[bool]:
        return [bool(server.sessions()[name][field]) for name in ("one", "two/three")]

    output = chatkeep(server, "sessions", "pin", "one", "two/three")
    assert output == "one is pinned.\ntwo/three is pinned.\n"
    assert states("pinned") == [True, True]
    changed = from_json(server, "sessions", "unpin", "one", "one", "nobody", code=1)
    assert changed == {"unpinned": ["one"], "not_found": ["nobody"]}
    assert states("pinned") == [False, True]
    assert from_json(server, "sessions", "archive", "one", "two/three") == {
        "archived": ["one", "two/three"],
        "not_found": [],
    }
    assert states("archived") == [True, True]
    assert chatkeep(server, "sessions", "unarchive", "one") == "one is no longer archived.\n"
    assert states("archived") == [False, True]
    chatkeep(server, "sessions", "archive", "nobody", code=3)


def test_a_question_is_answered_without_a_server(server: Server) -> None:
    server.stop()
    assert from_json(server, "chat", "-s", "alone", "hello there you")["session_id"] == "alone"
    assert [session["session_id"] for session in from_json(server, "sessions", "list")] == ["alone"]


def test_an_export_is_imported_again(server: Server, tmp_path: Path) -> None:
    server.chat("trip/lisbon", "what shall I pack?")
    server.chat("another", "good morning to you")
    file = tmp_path / "out.jsonl"

    chatkeep(server, "export", "-o", str(file))
    assert chatkeep(server, "export") == file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert "# " in chatkeep(server, "export", "-s", "another", "-f", "markdown")
    chatkeep(server, "export", "-s", "nobody", code=3)
    chatkeep(server, "sessions", "delete", "-y", "trip/lisbon")

    report = from_json(server, "import", str(file))[str(file)]
    assert (report["imported"], report["skipped_count"]) == (1, 1)
    assert "is here already" in chatkeep(server, "import", "-", stdin=file.read_text())
    chatkeep(server, "import", str(tmp_path / "none"), code=1)
    file.write_text("nothing of this kind")
    chatkeep(server, "import", str(file), code=1)


def test_the_archive_of_chatgpt_is_read_as_it_comes(server: Server, tmp_path: Path) -> None:
    from tests.api.test_archive import CHATGPT

    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("shared_conversations.json", "[]")
        archive.writestr("conversations.json", json.dumps([CHATGPT]))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("user.json", "{}")

    assert "1 session imported, 2 messages" in chatkeep(
        server, "import", str(tmp_path / "export.zip")
    )
    assert [session["title"] for session in server.sessions().values()] == ["Tides"]
    chatkeep(server, "import", str(tmp_path / "other.zip"), code=1)
    damaged = (tmp_path / "export.zip").read_bytes()
    (tmp_path / "export.zip").write_bytes(damaged.replace(b"Tides", b"Tideq"))
    chatkeep(server, "import", str(tmp_path / "export.zip"), code=1)


def test_a_backup_is_restored(server: Server, tmp_path: Path) -> None:
    server.chat("s", "before the backup")
    copy = tmp_path / "copy.db"

    assert from_json(server, "backup", str(copy))["messages"] == 2
    server.chat("s", "after the backup")
    assert "already" in chatkeep(server, "backup", str(copy), code=1)
    assert "Another Chatkeep" in chatkeep(server, "restore", "-y", str(copy), code=1)
    server.stop()
    chatkeep(server, "restore", str(copy), stdin="n\n", code=1)
    report = from_json(server, "restore", "--yes", str(copy))

    with sqlite3.connect(report["before"]) as before:
        assert before.execute("SELECT count(*) FROM messages").fetchone() == (4,)
    server.start()
    assert server.contents("s") == ["before the backup", "Reply to: before the backup"]
    assert server.chat("s", "and it goes on").status_code == 200
    assert copy.stat().st_mode & 0o077 == 0


def test_a_folder_that_was_copied_as_it_was_is_restored_with_its_wal(
    server: Server, tmp_path: Path
) -> None:
    for number in range(5):
        server.chat(f"s{number}", "good morning to you")
    server.kill()
    copied = tmp_path / "copied"
    shutil.copytree(server.folder, copied)
    assert (copied / "chatkeep.db-wal").stat().st_size > 0

    report = from_json(server, "restore", "--yes", str(copied / "chatkeep.db"))

    assert (report["sessions"], report["messages"]) == (5, 10)
    server.start()
    assert len(server.sessions()) == 5


def test_what_is_no_backup_is_not_restored(server: Server, tmp_path: Path) -> None:
    server.chat("s", "stays where it is")
    copy = tmp_path / "copy.db"
    chatkeep(server, "backup", str(copy))
    server.stop()
    whole = copy.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + os.urandom(40_000) + whole[middle + 40_000 :]
    for bad in (b"", b"not a database", damaged, whole[: len(whole) // 2]):
        copy.write_bytes(bad)
        chatkeep(server, "restore", "-y", str(copy), code=1)
    copy.write_bytes(whole)
    with sqlite3.connect(copy) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in chatkeep(server, "restore", "-y", str(copy), code=1)
    chatkeep(server, "backup", str(tmp_path / "nowhere" / "copy.db"), code=1)

    server.start()
    assert len(server.history("s")) == 2
    assert [path.name for path in server.folder.glob("*before*")] == []


def test_the_doctor_shows_what_is_wrong_and_what_to_do(server: Server) -> None:
    def states(code: int = 0, **env: str) -> dict[str, str]:
        findings = from_json(server, "doctor", code=code, **env)
        return {finding["what"]: finding["state"] for finding in findings}

    well = states(CHATKEEP_PROT="9")
    assert well["CHATKEEP_PROT is not a setting and has no effect"] == "warning"
    assert well["openai:scripted answers"] == "ok"
    assert well[f"A server answers at {server.url}"] == "ok"
    assert well["No key is needed, because only this machine can reach the server"] == "ok"
    assert "error" not in well.values()
    many = states(CHATKEEP_TRUSTED_PROXIES="10.0.0.0/8")
    assert many["16,777,216 addresses are trusted as proxies (10.0.0.0/8)"] == "warning"
    open_to_all = states(1, CHATKEEP_HOST="0.0.0.0")
    assert open_to_all["Without a key the server does not listen on 0.0.0.0"] == "error"
    chatkeep(server, "keys", "create", "one")
    assert states(CHATKEEP_HOST="0.0.0.0")["Every caller needs a key (1 valid)"] == "ok"

    server.stop()
    assert "error" in states(1, OPENAI_BASE_URL="http://127.0.0.1:9/v1").values()
    (server.folder / "chatkeep.db").write_bytes(b"nothing of this kind" * 1_000)
    assert "is not a Chatkeep database" in chatkeep(server, "doctor", "--no-models", code=1)
    assert "cannot be used" in chatkeep(server, "doctor", CHATKEEP_PORT="many", code=1)
    output = chatkeep(server, "doctor", OPENAI_API_KEY="sk-secret key", code=1)
    assert "openai_api_key" in output.lower()
    assert "secret" not in output


def test_a_server_that_cannot_be_reached_is_named(server: Server) -> None:
    output = chatkeep(server, "sessions", "list", "--url", "http://127.0.0.1:9", code=1)
    assert "No server answers at http://127.0.0.1:9" in output
    chatkeep(server, "sessions", "list", "--url", "nonsense", code=2)
    output = chatkeep(server, "export", "--url", "http://127.0.0.1:9", code=1)
    assert "No server answers" in output
    chatkeep(server, "sessions", "show", "\udcff", code=2)
    chatkeep(server, "nonsense", code=2)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def test_the_help_of_every_command_has_an_example() -> None:
    every = list(commands(get_command(cli)))
    assert len(every) > 14
    for command in every:
        result = CliRunner().invoke(cli, [*command, "--help"])
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert any(line.startswith(f"    chatkeep {' '.join(command)}") for line in lines), command
        if command not in {("serve",), ("openapi",)}:
            assert "--json" in result.stdout


def test_a_shell_completes_the_commands() -> None:
    completion = {
        "_CHATKEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": "chatkeep sess",
        "COMP_CWORD": "1",
    }
    command = Path(sys.executable).with_name("chatkeep")
    run = subprocess.run([command], env=os.environ | completion, capture_output=True, check=True)
    assert run.stdout.split() == [b"sessions"]


def test_usage_names_sessions_where_the_first_is_deleted(server: Server) -> None:
    for name in ("gone", "gone", "other"):
        server.chat(name, "good morning to you")
    chatkeep(server, "sessions", "delete", "--yes", "gone")
    assert "other\treply\t1\t" in chatkeep(server, "usage", "--by", "session")
