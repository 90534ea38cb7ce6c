"""`chatkeep export` and `chatkeep import`: files out and in, with a progress bar."""

import contextlib
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from chatkeep.cli.client import Client, connect
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.options import Json, Key, Url
from chatkeep.cli.output import one_line, print_error, print_json
from chatkeep.cli.responses import ImportReport
from chatkeep.files import is_stream, replacement

commands = typer.Typer()

PIECE_BYTES = 65_536
STANDARD = Path("-")
ZIP, CONVERSATIONS = b"PK\x03\x04", "conversations.json"

UNPACKING_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
)
"""What `zipfile` raises for an archive that is damaged, encrypted, or made by unknown means."""

IS_DUPLICATE = "is here already"
"""Why the server skips a session that it has."""


class Format(StrEnum):
    """The forms of an export."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    OPENAI = "openai"


OnlySession = Annotated[str | None, typer.Option("--session", "-s", help="Only this session.")]
Form = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        help="jsonl is lossless; markdown is for reading; openai has only the messages.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="File to write; - is standard output.",
        dir_okay=False,
        writable=True,
        allow_dash=True,
    ),
]
NewIds = Annotated[
    bool,
    typer.Option(
        "--new-ids",
        help="Give turns and messages new ids, because the server has them for someone else.",
    ),
]
Files = Annotated[
    list[Path],
    typer.Argument(
        help="Exports from Chatkeep, ChatGPT (conversations.json or the whole .zip) or Open WebUI; "
        "- is standard input."
    ),
]


@commands.command(
    help="""Export one conversation, or all of them.

    \b
    Examples:
      chatkeep export -o everything.jsonl
      chatkeep export --session trip/lisbon --format markdown -o lisbon.md
    """
)
def export(
    session: OnlySession = None,
    form: Form = Format.JSONL,
    output: Output = STANDARD,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    size = 0
    with (
        connect(url, key) as client,
        client.export({"format": form.value, "session_id": session}) as pieces,
        _progress("Exported", None) as advance,
        _open_output(output) as file,
    ):
        for piece in pieces:
            file.write(piece)
            size += len(piece)
            advance(len(piece))
    if output == STANDARD:
        return
    if json:
        print_json({"file": str(output), "format": form.value, "bytes": size})
    else:
        typer.echo(f"{output}: {size:,} bytes.", err=True)


@commands.command(
    name="import",
    help="""Import conversations; duplicates are skipped.

    \b
    Examples:
      chatkeep import everything.jsonl
      chatkeep import chatgpt-export.zip
      chatkeep --user alice import --new-ids mine.jsonl
    """,
)
def import_(
    files: Files,
    new_ids: NewIds = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    reports: dict[str, ImportReport] = {}
    has_failed = False
    with connect(url, key) as client:
        for path in files:
            try:
                reports[str(path)] = _import(client, path, new_ids=new_ids)
            except CommandError as error:
                print_error(f"{path}: {error}")
                has_failed = True
    if json:
        print_json(reports)
    else:
        for name, report in reports.items():
            _print_report(name, report)
    if has_failed or not _is_success(list(reports.values())):
        raise typer.Exit(ExitCode.FAILED)


def _is_success(reports: list[ImportReport]) -> bool:
    """Return whether something was imported, or everything was imported before."""
    return any(report["imported"] for report in reports) or all(
        skipped["reason"] == IS_DUPLICATE for report in reports for skipped in report["skipped"]
    )


def _import(client: Client, path: Path, *, new_ids: bool) -> ImportReport:
    with _open_input(path) as (file, size), _progress(path.name, size) as advance:

        def pieces() -> Iterator[bytes]:
            while piece := file.read(PIECE_BYTES):
                advance(len(piece))
                yield piece

        return client.import_records(pieces(), new_ids=new_ids)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _print_report(name: str, report: ImportReport) -> None:
    imported, messages = report["imported"], report["messages"]
    typer.echo(f"{name}: {_count(imported, 'session')} imported, {_count(messages, 'message')}.")
    for note in report["notes"]:
        left_out = ", ".join(note["left_out"])
        typer.echo(f"  {one_line(note['session_id'])}: left out {left_out}")
    for skipped in report["skipped"]:
        line = f" (line {skipped['line']:,})" if "line" in skipped else ""
        name = one_line(skipped["session_id"] or "something")
        typer.echo(f"  skipped {name}{line}: {one_line(skipped['reason'])}")
    if report["skipped_count"] > len(report["skipped"]):
        typer.echo(f"  … {report['skipped_count']:,} were skipped in total.")


@contextlib.contextmanager
def _open_output(path: Path) -> Iterator[IO[bytes]]:
    """Open what an export is written to. A regular file is replaced when the block ends well."""
    if path == STANDARD:
        yield sys.stdout.buffer
        return
    try:
        if is_stream(path):
            with path.open("ab") as file:
                yield file
        else:
            with replacement(path) as partial, partial.open("wb") as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None


@contextlib.contextmanager
def _open_input(path: Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open a file to import, or the conversations in an archive; with the size, if it is known.

    Raises:
        CommandError: It cannot be read or unpacked. In the block this holds for every read.

    """
    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if path == STANDARD else stack.enter_context(path.open("rb"))
            yield _unpack(file, stack) if file.seekable() else (file, None)
        except UNPACKING_ERRORS as error:
            raise CommandError(f"It cannot be unpacked: {error}.") from None
        except OSError as error:
            raise CommandError(f"It cannot be read: {error.strerror}.") from None


def _unpack(file: IO[bytes], stack: contextlib.ExitStack) -> tuple[IO[bytes], int]:
    """Open the conversations in an archive of ChatGPT; another file is returned as it is.

    Raises what `zipfile` raises. `stack` closes what is opened.
    """
    start = file.tell()
    is_archive = file.read(len(ZIP)) == ZIP
    if not is_archive:
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        return file, size
    archive = stack.enter_context(zipfile.ZipFile(file))
    members = (member for member in archive.infolist() if not member.is_dir())
    member = next((one for one in members if Path(one.filename).name == CONVERSATIONS), None)
    if member is None:
        raise zipfile.BadZipFile(f"there is no {CONVERSATIONS} in it")
    # The other methods are unpacked without a limit of memory.
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise zipfile.BadZipFile("it is not compressed with Deflate, the only supported method")
    return stack.enter_context(archive.open(member)), member.file_size


@contextlib.contextmanager
def _progress(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal; yield what advances it.

    Args:
        name: Stands before the bar.
        total: Bytes, if it is known how many there will be.

    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(name, total=total)
        yield lambda size: bar.update(task, advance=size)
