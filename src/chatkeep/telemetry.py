"""Structured log lines for the operator of a server. Texts of messages are never in them."""

import contextlib
import logging
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import IO, AnyStr, BinaryIO, Generic, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Lossy(Generic[AnyStr]):
    """A file whose lines are lost when they cannot be written: no turn may fail over the log."""

    def __init__(self, file: IO[AnyStr]) -> None:
        self._file: IO[AnyStr] = file

    def write(self, data: AnyStr) -> None:
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

    Args:
        level: The least important lines that are written; of libraries, no less than warnings.
        form: `auto` is `console` in a terminal, else `json`: one object a line.
        redact: Strikes secrets out of a line.
        without: Names of events that are left out.

    """
    colours = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    is_console = form == "console" or (form == "auto" and colours)
    renderers = _renderers(colours=colours, is_console=is_console)
    tail: list[Processor] = [*renderers, lambda *line: redact(str(line[-1]))]
    factory: structlog.PrintLoggerFactory | structlog.BytesLoggerFactory
    if is_console:
        factory = structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr)))
        end: list[Processor] = []
    else:
        factory = structlog.BytesLoggerFactory(cast("BinaryIO", _Lossy(sys.stderr.buffer)))
        end = [_encoded]
    left_out: list[Processor] = [_without(without)] if without else []
    _configure_libraries(shared, tail, LEVELS[level])
    structlog.configure(
        processors=[*left_out, *shared, *tail, *end],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # Ours bypass the logging of the standard library, and go as bytes: that costs a tenth.
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _renderers(*, colours: bool, is_console: bool) -> list[Processor]:
    if not is_console:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain, because a rich traceback shows local variables: message texts and keys.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]


def _configure_libraries(shared: list[Processor], tail: list[Processor], level: int) -> None:
    """Give the lines of libraries the form of ours."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler(_Lossy(sys.stderr))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries log only what is wrong: their "info" would name every request.
    root.setLevel(max(level, logging.WARNING))


def _without(names: Collection[str]) -> Processor:
    def leave_out(_logger: object, _method: str, event: EventDict) -> EventDict:
        if event["event"] in names:
            raise structlog.DropEvent
        return event

    return leave_out


def _encoded(_logger: object, _method: str, line: EventDict | str) -> bytes:
    return str(line).encode()


def logger(name: str) -> FilteringBoundLogger:
    """The logger of one part of the program: `logger.info("event", key=value)`."""
    bound: FilteringBoundLogger = structlog.get_logger(f"chatkeep.{name}")
    return bound


def bound(**values: object) -> AbstractContextManager[None]:
    """Add values to all log lines of the block, and of the tasks that are started in it."""
    return structlog.contextvars.bound_contextvars(**values)
