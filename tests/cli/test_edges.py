"""The command line at its edges: files it must not destroy, pipes, full disks, Ctrl-C, damage."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.test_archive import CHATGPT
from tests.process import PATIENCE, Server, run_command, until
from tests.upstream import Upstream

PAGE_BYTES = 4_096
SESSIONS = 150

SCRIPT = (str(Path(sys.executable).with_name("chatkeep")),)
MODULE = (sys.executable, "-m", "chatkeep")

COMMANDS = {
    "list": ("sessions", "list"),
    "export": ("export",),
    "help": ("--help",),
    "doctor": ("doctor", "--no-models"),
    "search": ("search", "tides"),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream) -> Server:
    """A data folder with many sessions, which no server has open."""
    folder = tmp_path_factory.mktemp("filled")
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    server = Server(folder, env)
    source = folder / "many.json"
    many = [{**CHATGPT, "conversation_id": f"c{number}"} for number in range(SESSIONS)]
    source.write_text(json.dumps(many))
    assert chatkeep(server, "import", str(source)).returncode == 0
    return server


@pytest.fixture
def copied(filled: Server, tmp_path: Path) -> Server:
    """A copy of it that a test may harm."""
    folder = tmp_path / "copied"
    shutil.copytree(filled.folder, folder)
    return Server(folder, {**filled.env, "CHATKEEP_DATA_DIR": str(folder)})


def chatkeep(
    server: Server, *arguments: str, program: tuple[str, ...] = MODULE, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command on a data folder; there is no traceback, whatever happens."""
    env = options.pop("env", server.env)
    if program == MODULE and options.keys() <= {"input"}:
        done = run_command(
            *arguments, env=env, folder=server.folder, stdin=options.get("input", "")
        )
    else:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        done = subprocess.run(
            [*program, *arguments],
            **{"env": env, "cwd": server.folder, **streams, **options},
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert "Traceback" not in done.stderr + (done.stdout or "")
    return done


def shell(server: Server, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of Bash, in which `chatkeep` is the command."""
    return chatkeep(server, script, program=("bash", "-c"), env=in_shell(server))


def in_shell(server: Server) -> dict[str, str]:
    path = f"{Path(SCRIPT[0]).parent}{os.pathsep}{os.environ['PATH']}"
    return {**server.env, "PATH": path}


def is_one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n")


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "partial" in path.name]


def damage(server: Server, first: int, count: int) -> None:
    """Overwrite pages of the database."""
    with (server.folder / "chatkeep.db").open("r+b") as file:
        file.seek(first * PAGE_BYTES)
        file.write(b"\xff" * (count * PAGE_BYTES))


def damage_table(server: Server, name: str) -> None:
    """Overwrite the first page of a table, or of an index."""
    conn = sqlite3.connect(server.folder / "chatkeep.db")
    (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    conn.close()
    damage(server, page - 1, 1)


def middle(server: Server) -> int:
    """A page in the middle of the database."""
    return (server.folder / "chatkeep.db").stat().st_size // PAGE_BYTES // 2


# What an export and a backup may not destroy.


def test_an_export_is_written_through_a_device_and_does_not_replace_it(
    filled: Server, tmp_path: Path
) -> None:
    for device, code in (("/dev/full", 1), ("/dev/null", 0)):
        link = tmp_path / Path(device).name
        link.symlink_to(device)
        run = chatkeep(filled, "export", "-o", str(link))
        assert run.returncode == code, run.stderr
        assert link.is_symlink()
        assert Path(device).is_char_device()
        assert is_one_line(run.stderr)
    assert partials(tmp_path) == []


def test_an_export_is_written_into_a_pipe_with_a_name(filled: Server, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # Short enough for a pipe, so that nobody has to read meanwhile.
        assert chatkeep(filled, "export", "-s", "c1", "-o", str(pipe)).returncode == 0
        assert pipe.is_fifo()
        text = os.read(reader, 65_536).decode()
    finally:
        os.close(reader)
    assert text == chatkeep(filled, "export", "-s", "c1").stdout


def test_an_export_to_the_name_of_standard_output_keeps_what_is_there(
    filled: Server, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    script = f"{{ echo first; chatkeep export -o /dev/stdout; echo last; }} >> {file}"
    assert shell(filled, script).returncode == 0
    lines = file.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("first", "last")
    assert len(lines) > SESSIONS


def test_an_export_replaces_what_a_link_points_to_and_keeps_its_mode(
    filled: Server, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.jsonl", tmp_path / "link.jsonl"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert chatkeep(filled, "export", "-o", str(link)).returncode == 0
    assert link.is_symlink()
    assert target.read_text() == chatkeep(filled, "export").stdout
    assert target.stat().st_mode & 0o777 == 0o640
    assert partials(tmp_path) + partials(target.parent) == []


def test_an_export_that_fails_leaves_the_old_file(copied: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("old")
    damage_table(copied, "messages")
    run = chatkeep(copied, "export", "-o", str(file))
    assert run.returncode == 1
    assert "is incomplete" in run.stderr
    assert file.read_text() == "old"
    assert partials(tmp_path) == []


def test_an_export_on_a_full_disk_leaves_the_old_file(filled: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("old")
    with Server(filled.folder, filled.env) as server:
        run = chatkeep(server, "export", "-o", str(file), preexec_fn=limit_files(20_000))
    assert (run.returncode, is_one_line(run.stderr)) == (1, True), run.stderr
    assert "cannot be written" in run.stderr
    assert file.read_text() == "old"
    assert partials(tmp_path) == []


def test_an_export_into_a_folder_is_wrong_usage(filled: Server, tmp_path: Path) -> None:
    run = chatkeep(filled, "export", "-o", str(tmp_path))
    assert run.returncode == 2
    assert "is a directory" in run.stderr


def test_a_backup_replaces_no_database_and_no_device(copied: Server, tmp_path: Path) -> None:
    database = copied.folder / "chatkeep.db"
    before = database.stat().st_ino
    link = tmp_path / "link.db"
    link.symlink_to(database)
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    used = tmp_path / "used.db"
    shutil.copy(database, used)
    with sqlite3.connect(used) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE more (x)")
        conn.commit()
        for target in (database, link, null, used):
            run = chatkeep(copied, "backup", "--force", str(target))
            assert (run.returncode, is_one_line(run.stderr)) == (1, True), run.stderr
    conn.close()
    assert database.stat().st_ino == before
    assert null.is_symlink()
    assert partials(tmp_path) + partials(copied.folder) == []


def test_a_backup_replaces_what_a_link_points_to(filled: Server, tmp_path: Path) -> None:
    target, link = tmp_path / "real.db", tmp_path / "link.db"
    target.write_text("old")
    link.symlink_to(target)
    assert chatkeep(filled, "backup", str(link)).returncode == 1
    assert chatkeep(filled, "backup", "--force", str(link)).returncode == 0
    assert link.is_symlink()
    with sqlite3.connect(target) as conn:
        assert conn.execute("SELECT count(*) FROM sessions").fetchone() == (SESSIONS,)
    conn.close()


# Output that cannot be written.


@pytest.mark.parametrize("name", COMMANDS)
def test_output_that_cannot_be_written_is_a_failure_in_one_line(filled: Server, name: str) -> None:
    command = " ".join(COMMANDS[name])
    for target in (">&-", "> /dev/full"):
        run = shell(filled, f"chatkeep {command} {target}")
        assert (run.returncode, is_one_line(run.stderr)) == (1, True), run.stderr


def test_a_command_needs_no_standard_input_nor_error(filled: Server, full: bool) -> None:
    # The streams are opened before a command is chosen: a normal run tries two commands.
    for name in COMMANDS if full else ("export", "help"):
        command = " ".join(COMMANDS[name])
        expected = shell(filled, f"chatkeep {command}").stdout
        for target in ("2>&-", "2> /dev/full", "<&-"):
            run = shell(filled, f"chatkeep {command} {target}")
            assert (run.returncode, run.stdout) == (0, expected), (name, target)


def test_a_command_that_cannot_print_its_error_ends_with_the_same_code(filled: Server) -> None:
    for command, code in (("sessions show nobody", 3), ("nonsense", 2), ("chat", 2)):
        for target in ("2>&-", "2> /dev/full"):
            assert shell(filled, f"chatkeep {command} {target}").returncode == code


@pytest.mark.parametrize("command", ["export", "--help", "openapi"])
def test_a_pipe_that_is_closed_ends_a_command_quietly(filled: Server, command: str) -> None:
    # What follows is never read, not even what would still fit into the pipe.
    run = shell(filled, f"(sleep 0.1; exec chatkeep {command}) | true; exit ${{PIPESTATUS[0]}}")
    assert (run.returncode, run.stdout, run.stderr) == (141, "", "")


def test_no_file_takes_the_number_of_a_standard_stream(copied: Server) -> None:
    script = "exec chatkeep serve --port 0 <&- >&- 2>&-"
    with subprocess.Popen(["bash", "-c", script], env=in_shell(copied)) as server:
        try:
            until(lambda: is_held(copied))
            links = [Path(f"/proc/{server.pid}/fd/{number}") for number in (0, 1, 2)]
            assert [str(link.readlink()) for link in links] == ["/dev/null"] * 3
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0


def is_held(server: Server) -> bool:
    lock = server.folder / "chatkeep.db.lock"
    return lock.exists() and "http://" in lock.read_text()


def test_a_server_whose_log_cannot_be_written_goes_on(copied: Server) -> None:
    script = "exec chatkeep serve --port 0 2> /dev/full"
    with subprocess.Popen(["bash", "-c", script], env=in_shell(copied)) as run:
        try:
            until(lambda: is_held(copied))
            answer = chatkeep(copied, "chat", "hello there you")
            assert (answer.returncode, answer.stdout) == (0, "Reply to: hello there you\n")
        finally:
            run.terminate()
            assert run.wait(PATIENCE) == 0


# Ctrl-C.

STARTS = ("list", "export", "backup", "doctor", "openapi", "serve")
MILLISECONDS, SOME = range(60, 1_000, 20), (100, 250, 500)
"""After the start of the process, of which the interpreter itself takes the first 50 or so."""


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_ctrl_c_ends_a_command_at_any_moment_without_output(
    copied: Server, tmp_path: Path, program: tuple[str, ...], full: bool
) -> None:
    more = {
        "export": ("export", "-o", str(tmp_path / "out.jsonl")),
        "backup": ("backup", "--force", str(tmp_path / "copy.db")),
        "openapi": ("openapi",),
        "serve": ("serve", "--port", "0"),
    }
    commands = {**COMMANDS, **more}
    for name in STARTS if full else STARTS[:2]:
        for milliseconds in MILLISECONDS if full else SOME:
            with subprocess.Popen(
                [*program, *commands[name]],
                env=copied.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as run:
                time.sleep(milliseconds / 1_000)
                run.send_signal(signal.SIGINT)
                _, errors = run.communicate(timeout=PATIENCE)
            assert "chatkeep/cli" not in errors, (name, milliseconds, errors)
            # On a loaded machine it may have been the interpreter that was just starting.
            assert run.returncode in {0, 130} or "chatkeep" not in errors, (name, milliseconds)
            assert partials(tmp_path) == []
    assert chatkeep(copied, "doctor", "--no-models").returncode == 0


# Interpreters and platforms.


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("sessions", "delete", "--help"),
        ("nonsense",),
        ("models", "--url", "http://127.0.0.1:9"),
    ],
    ids=" ".join,
)
def test_help_and_errors_have_the_same_texts_without_docstrings(
    filled: Server, arguments: tuple[str, ...]
) -> None:
    usual = chatkeep(filled, *arguments)
    optimised = chatkeep(filled, *arguments, program=(sys.executable, "-OO", "-m", "chatkeep"))
    assert optimised.stdout + optimised.stderr != ""
    assert (optimised.returncode, optimised.stdout, optimised.stderr) == (
        usual.returncode,
        usual.stdout,
        usual.stderr,
    )


def test_an_error_of_the_server_has_its_text_without_docstrings(filled: Server) -> None:
    script = "from chatkeep.domain.errors import SessionNotFound; print(SessionNotFound())"
    run = chatkeep(filled, program=(sys.executable, "-OO", "-c", script))
    assert run.stdout == "There is no such session.\n"


def test_another_platform_is_refused_in_one_line(filled: Server) -> None:
    script = "import sys; sys.platform = 'win32'; from chatkeep.__main__ import main; main()"
    run = chatkeep(filled, program=(sys.executable, "-c", script))
    assert (run.returncode, run.stdout, run.stderr) == (
        2,
        "",
        "Chatkeep runs on Linux and macOS only.\n",
    )


# Wrong addresses, and questions.


@pytest.mark.parametrize(
    "address",
    ["", "not a url", "nonsense", "ftp://host", "http://", "http://[::1", "http://h:99999"],
)
def test_a_wrong_address_is_wrong_usage_at_once(filled: Server, address: str) -> None:
    for command in (("sessions", "list"), ("chat", "hello"), ("export",)):
        run = chatkeep(filled, *command, "--url", address)
        assert run.returncode == 2
        assert "is not the address of a server" in run.stderr


def test_an_empty_address_in_the_environment_is_none(filled: Server) -> None:
    env = {**filled.env, "CHATKEEP_URL": "", "CHATKEEP_API_KEY": ""}
    assert len(chatkeep(filled, "sessions", "list", env=env).stdout.splitlines()) == 50


def test_a_key_that_no_header_can_carry_is_wrong_usage(filled: Server) -> None:
    for key in ("two words", "sch\u00f6n", "a\nb"):
        run = chatkeep(filled, "sessions", "list", "--key", key)
        assert (run.returncode, key in run.stderr) == (2, False)


def test_missing_sessions_need_no_confirmation(filled: Server) -> None:
    run = chatkeep(filled, "sessions", "delete", "nobody", "--json")
    assert (run.returncode, run.stderr) == (3, "")
    assert json.loads(run.stdout) == {"deleted": [], "not_found": ["nobody"]}


def test_confirmation_is_on_standard_error_and_for_sessions_that_exist(copied: Server) -> None:
    run = chatkeep(copied, "sessions", "delete", "c1", "nobody", input="n\n")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("Delete c1 for good? [y/N]: ")
    run = chatkeep(copied, "sessions", "delete", "c1", "nobody", input="y\n")
    assert (run.returncode, run.stdout) == (1, "c1 is deleted.\n")


def test_a_program_that_reads_json_must_confirm_by_an_option(
    copied: Server, tmp_path: Path
) -> None:
    run = chatkeep(copied, "sessions", "delete", "c1", "--json")
    assert (run.returncode, run.stdout, is_one_line(run.stderr)) == (2, "", True)
    assert "--yes" in run.stderr
    copy = tmp_path / "copy.db"
    assert chatkeep(copied, "backup", str(copy)).returncode == 0
    assert chatkeep(copied, "restore", str(copy), "--json").returncode == 2
    assert chatkeep(copied, "restore", str(tmp_path / "none"), "--json").returncode == 1
    assert chatkeep(copied, "sessions", "show", "c1").returncode == 0


# Databases that are damaged.


def damaged_files(server: Server) -> dict[str, Callable[[], None]]:
    path = server.folder / "chatkeep.db"
    return {
        "the first tables": lambda: damage(server, 5, 6),
        "the middle": lambda: damage(server, middle(server), middle(server) - 1),
        "truncated": lambda: os.truncate(path, middle(server) * PAGE_BYTES + 100),
        "foreign": lambda: path.write_bytes(b"nothing of this kind" * 1_000) and None,
    }


@pytest.mark.parametrize("harm", ["the first tables", "the middle", "truncated", "foreign"])
def test_a_damaged_database_is_one_clear_line(copied: Server, tmp_path: Path, harm: str) -> None:
    damaged_files(copied)[harm]()
    (tmp_path / "one.json").write_text(json.dumps([{**CHATGPT, "conversation_id": "new"}]))
    for command in (
        ("sessions", "list", "-n", "1000"),
        ("export",),
        ("search", "tides"),
        ("sessions", "delete", "-y", "c100"),
        ("sessions", "rename", "c100", "Another title"),
        ("import", str(tmp_path / "one.json")),
        ("backup", str(tmp_path / "copy.db")),
        ("doctor", "--no-models"),
    ):
        run = chatkeep(copied, *command)
        assert run.returncode in {0, 1, 2}, (command, run.stderr)
        if run.returncode and command[0] != "doctor":
            assert is_one_line(run.stderr), (command, run.stderr)
    assert chatkeep(copied, "doctor", "--no-models").returncode == 1
    assert not (tmp_path / "copy.db").exists()


def test_a_server_does_not_start_on_a_damaged_database(copied: Server) -> None:
    damage(copied, 5, 6)
    run = chatkeep(copied, "serve", "--port", "0")
    assert run.returncode == 2
    assert "chatkeep cannot start.\nThe database is damaged." in run.stderr


def test_a_server_answers_that_its_database_is_damaged(copied: Server) -> None:
    damage_table(copied, "messages")
    damage_table(copied, "search_data")
    with copied as server, server.client() as client:
        for path in ("/history/c1", "/search?q=tides"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (
                503,
                "/problems/store-unavailable",
            )
            assert "The database is damaged" in answer.json()["detail"]
        with pytest.raises(httpx2.RemoteProtocolError):
            client.get("/export")
    log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("database_failed") == 3


# Files to import.


def archive_of(path: Path, text: bytes, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("conversations.json", text)
    return path


def test_an_archive_that_unpacks_to_too_much_is_refused(filled: Server, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("conversations.json", "w", force_zip64=True) as file,
    ):
        for _ in range(256):
            file.write(b" " * 1_048_576)
    env = {**filled.env, "CHATKEEP_MAX_IMPORT_BYTES": "5000000"}
    run = chatkeep(filled, "import", str(bomb), env=env, preexec_fn=limit_memory)
    assert (run.returncode, is_one_line(run.stderr)) == (1, True), run.stderr
    assert "larger than 5000000 bytes" in run.stderr


def test_an_archive_that_cannot_be_unpacked_is_one_line(filled: Server, tmp_path: Path) -> None:
    text = json.dumps([CHATGPT] * 50).encode()
    whole = archive_of(tmp_path / "whole.zip", text, compression=zipfile.ZIP_DEFLATED).read_bytes()
    central = whole.index(b"PK\x01\x02")
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[central + 8] |= 1
    files = {
        "encrypted": bytes(encrypted),
        "cut": whole[: len(whole) // 2],
        "harmed": whole[:200] + b"\xff" * 50 + whole[250:],
        "bzip2": archive_of(
            tmp_path / "bzip2.zip", text, compression=zipfile.ZIP_BZIP2
        ).read_bytes(),
        "unknown method": whole[:8] + b"\x63" + whole[9 : central + 10] + b"\x63"
        + whole[central + 11 :],
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        run = chatkeep(filled, "import", str(tmp_path / name))
        assert (run.returncode, is_one_line(run.stderr)) == (1, True), (name, run.stderr)
        assert "cannot be unpacked" in run.stderr


def test_an_archive_is_read_from_standard_input_whatever_else_it_contains(
    copied: Server, tmp_path: Path
) -> None:
    text = json.dumps([{**CHATGPT, "conversation_id": "in a folder"}])
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("conversations.json")
        for number in range(5_000):
            archive.writestr(f"files/{number}.png", b"")
        archive.writestr("export/of me/conversations.json", text)
    with path.open("rb") as file:
        run = chatkeep(copied, "import", "-", "--json", stdin=file)
    assert json.loads(run.stdout)["-"]["imported"] == 1


def test_a_file_that_cannot_be_read_does_not_stop_the_import_of_the_others(
    copied: Server, tmp_path: Path
) -> None:
    files = []
    for name in ("one", "three"):
        text = json.dumps([{**CHATGPT, "conversation_id": name}]).encode()
        files.append(str(archive_of(tmp_path / f"{name}.zip", text)))
    run = chatkeep(copied, "import", files[0], str(tmp_path / "none"), files[1], str(tmp_path))
    assert run.returncode == 1
    assert run.stdout.count("1 session imported, 2 messages.") == 2
    assert run.stderr.count("\n") == 2


def test_an_import_on_a_full_disk_is_one_clear_line(copied: Server, tmp_path: Path) -> None:
    text = json.dumps([{**CHATGPT, "conversation_id": f"more {number}"} for number in range(2_000)])
    (tmp_path / "more.json").write_text(text)
    size = (copied.folder / "chatkeep.db").stat().st_size
    run = chatkeep(
        copied, "import", str(tmp_path / "more.json"), preexec_fn=limit_files(size + 500_000)
    )
    assert (run.returncode, is_one_line(run.stderr)) == (1, True), run.stderr
    assert "disk" in run.stderr
    assert chatkeep(copied, "doctor", "--no-models").returncode == 0


def limit_files(size: int) -> Callable[[], None]:
    """Let no file grow beyond a size, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (700_000_000, 700_000_000))
