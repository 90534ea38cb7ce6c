"""`chatkeep export` and `chatkeep import`: files out and in, with a bar that shows how far."""

import contextlib
import sys
import zipfile
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from chatkeep.cli.show import FAILED, Json, Key, Url, as_json, complain

if TYPE_CHECKING:
    from rich.progress import Progress

PIECE_BYTES = 65_536
STANDARD = Path("-")


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
        typer.Option("--format", "-f", help="jsonl is lossless; markdown is for people."),
    ] = Format.JSONL,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file; - is standard output.")
    ] = STANDARD,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Carry conversations away: one, or all.

    \b
    Examples:
      chatkeep export -o everything.jsonl
      chatkeep export --session trip/lisbon --format markdown -o lisbon.md
    """
    from httpx2 import RequestError

    from chatkeep.cli.chat_api import unreachable
    from chatkeep.cli.reach import checked, server

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
    """Bring conversations in. What is here already is skipped.

    \b
    Examples:
      chatkeep import everything.jsonl
      chatkeep import chatgpt-export.zip
    """
    from chatkeep.cli.chat_api import Refused
    from chatkeep.cli.reach import call, found, server

    reports: dict[str, Any] = {}
    is_refused = False
    with server(url, key) as client:
        for path in files:
            with _opened(path) as (source, size), _bar(path.name, size) as (progress, task):

                def pieces(
                    source: IO[bytes] = source, progress: "Progress" = progress, task: Any = task
                ) -> Iterator[bytes]:
                    while piece := source.read(PIECE_BYTES):
                        progress.update(task, advance=len(piece))
                        yield piece

                try:
                    report = found(call(client, "POST", "/import", content=pieces()))
                except Refused as refused:
                    complain(f"{path}: {refused}")
                    is_refused = True
                else:
                    reports[str(path)] = report
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


def _tell(name: str, report: dict[str, Any]) -> None:
    from chatkeep.cli.chat_api import one_line

    imported, messages = report["imported"], report["messages"]
    typer.echo(f"{name}: {imported:,} sessions with {messages:,} messages came in.")
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
    """A file that appears under its name when it is whole, or standard output."""
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            partial.chmod(0o600)
            yield file
        partial.replace(path)
    except OSError as error:
        complain(f"{path} cannot be written: {error.strerror}.")
        raise typer.Exit(FAILED) from None
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """A file to import and its size; of an archive the conversations in it."""
    if path == STANDARD:
        yield sys.stdin.buffer, None
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next(
                    info
                    for info in archive.infolist()
                    if PurePosixPath(info.filename).name == "conversations.json"
                )
                with archive.open(inside) as file:
                    yield file, inside.file_size
            return
        with path.open("rb") as file:
            yield file, path.stat().st_size
    except StopIteration:
        complain(f"{path} has no conversations.json in it.")
        raise typer.Exit(FAILED) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        complain(f"{path} cannot be unpacked: {error}.")
        raise typer.Exit(FAILED) from None
    except OSError as error:
        complain(f"{path} cannot be read: {error.strerror}.")
        raise typer.Exit(FAILED) from None


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
