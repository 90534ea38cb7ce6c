"""How the server speaks to its operator: structured log lines. Message texts are never in them."""

import contextlib
import logging
import sys
from collections.abc import Callable, Collection
from typing import IO, Any, BinaryIO, Literal, TextIO, cast

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Lossy:
    """A file whose lines are lost when they cannot be written: no turn may fail over the log."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    def write(self, data: Any) -> None:
        with contextlib.suppress(OSError):
            self._file.write(data)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


def configure(
    *,
    level: str,
    form: Literal["auto", "console", "json"],
    redact: Callable[[str], str] = lambda line: line,
    without: Collection[str] = (),
) -> None:
    """Send every log line, ours and the libraries', to standard error in one form.

    `redact` strikes secrets out of a line. Events that are named `without` are left out.
    """
    colours = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    is_console = form == "console" or (form == "auto" and colours)
    tail = [*_renderers(colours=colours, is_console=is_console), lambda *line: redact(line[-1])]
    if is_console:
        lines: Any = structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr)))
        end: list[Any] = []
    else:
        lines = structlog.BytesLoggerFactory(cast("BinaryIO", _Lossy(sys.stderr.buffer)))
        end = [_encoded]
    left_out: list[Any] = [_without(without)] if without else []
    _configure_libraries(shared, tail, LEVELS[level])
    structlog.configure(
        processors=[*left_out, *shared, *tail, *end],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # Ours go past the logging of the standard library, and as bytes: that costs a tenth.
        logger_factory=lines,
        cache_logger_on_first_use=True,
    )


def _renderers(*, colours: bool, is_console: bool) -> list[Any]:
    if not is_console:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain, because a rich traceback shows local variables: message texts and keys.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]


def _configure_libraries(shared: list[Any], tail: list[Any], level: int) -> None:
    """Have what libraries log look as our lines do."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler(_Lossy(sys.stderr))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries talk only when something is wrong: their "info" would name every request.
    root.setLevel(max(level, logging.WARNING))


def _without(names: Collection[str]) -> Any:
    def leave_out(_logger: object, _method: str, event: Any) -> Any:
        if event["event"] in names:
            raise structlog.DropEvent
        return event

    return leave_out


def _encoded(_logger: object, _method: str, line: str) -> bytes:
    return line.encode()


def bound(**values: str) -> contextlib.AbstractContextManager[None]:
    """Add these members to every log line of this task and of tasks that it makes meanwhile."""
    return structlog.contextvars.bound_contextvars(**values)


def logger(name: str) -> Any:
    """The log of one room, as a structlog logger: `log.info("event", key=value)`."""
    return structlog.get_logger(f"chatkeep.{name}")
