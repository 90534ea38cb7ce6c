"""`chatkeep export` and `chatkeep import`: files out and in, with a bar that shows how far."""

import contextlib
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from chatkeep.cli.output import FAILED, Json, Key, Url, as_json, complain
from chatkeep.files import is_stream, replacement

if TYPE_CHECKING:
    from httpx2 import Client
    from rich.progress import Progress

PIECE_BYTES = 65_536
STANDARD = Path("-")
ZIP, CONVERSATIONS = b"PK\x03\x04", "conversations.json"

BROKE_OFF = (
    "The export broke off and is not whole. `chatkeep doctor` says whether the database is damaged."
)

UNPACKING = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
)
"""What is raised for an archive that is damaged, encrypted, or made by unknown means."""


class Format(StrEnum):
    """The forms of an export."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    OPENAI = "openai"


def export(
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Only this session.")
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            help="jsonl is lossless; markdown is for reading; openai has only the messages.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File to write; - is standard output.",
            dir_okay=False,
            writable=True,
            allow_dash=True,
        ),
    ] = STANDARD,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Export one conversation or all.

    \b
    Examples:
      chatkeep export -o everything.jsonl
      chatkeep export --session trip/lisbon --format markdown -o lisbon.md
    """
    from httpx2 import RemoteProtocolError, RequestError

    from chatkeep.cli.chat.api import Refused, unreachable
    from chatkeep.cli.client import checked, server

    params = {"format": form.value} | ({"session_id": session} if session is not None else {})
    size = 0
    with server(url, key) as client:
        try:
            with (
                client.stream("GET", "/export", params=params) as response,
                _bar("Exported", None) as (progress, task),
            ):
                if not response.is_success:
                    response.read()
                    checked(response)
                with _written(output) as target:
                    for piece in response.iter_bytes():
                        target.write(piece)
                        size += len(piece)
                        progress.update(task, advance=len(piece))
        except RemoteProtocolError:
            raise Refused(BROKE_OFF) from None
        except RequestError as error:
            raise unreachable(client, error) from None
    if json and output != STANDARD:
        as_json({"file": str(output), "format": form.value, "bytes": size})
    elif output != STANDARD:
        typer.echo(f"{output}: {size:,} bytes.", err=True)


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Exports of Chatkeep, of ChatGPT (conversations.json or the whole .zip), or of "
            "Open WebUI; - is standard input."
        ),
    ],
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Import conversations; duplicates are skipped.

    \b
    Examples:
      chatkeep import everything.jsonl
      chatkeep import chatgpt-export.zip
    """
    from chatkeep.cli.chat.api import Refused
    from chatkeep.cli.client import server

    reports: dict[str, Any] = {}
    is_refused = False
    with server(url, key) as client:
        for path in files:
            try:
                reports[str(path)] = _send(client, path)
            except Refused as refused:
                complain(f"{path}: {refused}")
                is_refused = True
    if json:
        as_json(reports)
    else:
        for name, report in reports.items():
            _tell(name, report)
    if is_refused or (
        not any(report["imported"] for report in reports.values())
        and any(
            skipped["reason"] != "is here already"
            for report in reports.values()
            for skipped in report["skipped"]
        )
    ):
        raise typer.Exit(FAILED)


def _send(client: "Client", path: Path) -> Any:
    """Import a file; return the server's report. Raises `Refused`."""
    from chatkeep.cli.client import call, found

    with _opened(path) as (source, size), _bar(path.name, size) as (progress, task):

        def pieces() -> Iterator[bytes]:
            while piece := source.read(PIECE_BYTES):
                progress.update(task, advance=len(piece))
                yield piece

        return found(call(client, "POST", "/import", content=pieces()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tell(name: str, report: dict[str, Any]) -> None:
    from chatkeep.cli.chat.api import one_line

    imported, messages = report["imported"], report["messages"]
    typer.echo(f"{name}: {_count(imported, 'session')} imported, {_count(messages, 'message')}.")
    for note in report["notes"]:
        left_out = ", ".join(note["left_out"])
        typer.echo(f"  {one_line(note['session_id'])}: left out {left_out}")
    for skipped in report["skipped"]:
        where = f" (line {skipped['line']:,})" if "line" in skipped else ""
        who = one_line(skipped["session_id"] or "something")
        typer.echo(f"  skipped {who}{where}: {one_line(skipped['reason'])}")
    if report["skipped_count"] > len(report["skipped"]):
        typer.echo(f"  … {report['skipped_count']:,} were skipped in all.")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole, or whatever else takes bytes."""
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
        complain(f"{path} cannot be written: {error.strerror}.")
        raise typer.Exit(FAILED) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """A file to import and its size; of an archive the conversations in it. Raises `Refused`."""
    from chatkeep.cli.chat.api import Refused

    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if path == STANDARD else stack.enter_context(path.open("rb"))
            yield _unpacked(file, stack) if file.seekable() else (file, None)
        except UNPACKING as error:
            raise Refused(f"It cannot be unpacked: {error}.") from None
        except OSError as error:
            raise Refused(f"It cannot be read: {error.strerror}.") from None


def _unpacked(file: IO[bytes], stack: contextlib.ExitStack) -> tuple[IO[bytes], int]:
    """A file and its size, or what an archive of ChatGPT has inside. Raises as `zipfile` does."""
    start = file.tell()
    is_archive = file.read(len(ZIP)) == ZIP
    if not is_archive:
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        return file, size
    archive = stack.enter_context(zipfile.ZipFile(file))
    names = (info for info in archive.infolist() if not info.is_dir())
    inside = next((info for info in names if Path(info.filename).name == CONVERSATIONS), None)
    if inside is None:
        raise zipfile.BadZipFile(f"there is no {CONVERSATIONS} in it")
    # The other methods are unpacked without a limit of memory.
    if inside.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise zipfile.BadZipFile("it is not compressed by deflation, which is all that is read")
    return stack.enter_context(archive.open(inside)), inside.file_size


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[tuple["Progress", Any]]:
    """A progress bar on standard error, if that is a terminal."""
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
        yield bar, bar.add_task(what, total=total)
