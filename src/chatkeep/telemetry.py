"""How the server speaks to its operator: structured log lines. Message texts are never in them."""

import logging
import sys
from typing import Any, Literal

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(*, level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send every log line, ours and the libraries', to standard error in one form."""
    colours = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "console" or (form == "auto" and colours):
        # Plain, because a rich traceback shows local variables: message texts and keys.
        plain = structlog.dev.plain_traceback
        tail: list[Any] = [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
        lines: Any = structlog.PrintLoggerFactory(sys.stderr)
        end: list[Any] = []
    else:
        tail = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        lines = structlog.BytesLoggerFactory(sys.stderr.buffer)
        end = [_encoded]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries talk only when something is wrong: their "info" would name every request.
    root.setLevel(max(LEVELS[level], logging.WARNING))
    structlog.configure(
        processors=[*shared, *tail, *end],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # Ours go past the logging of the standard library, and as bytes: that costs a tenth.
        logger_factory=lines,
        cache_logger_on_first_use=True,
    )


def _encoded(_logger: object, _method: str, line: str) -> bytes:
    return line.encode()


def logger(name: str) -> Any:
    """The log of one room, as a structlog logger: `log.info("event", key=value)`."""
    return structlog.get_logger(f"chatkeep.{name}")
