"""The object that a `python:` model names: how it is written, imported and made."""

import asyncio
import functools
import importlib
import inspect
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from chatkeep.domain.errors import ModelMisconfigured

CLOSE_SECONDS = 10.0

FORM = "package.module:attribute"
"""How an object is named, for people."""


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """Where an object is, and how the server may use it."""

    module: str
    attribute: str
    """May have dots: an attribute of an attribute."""
    reruns: bool = True
    """Whether a turn whose process died is run again."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read `package.module:attribute?rerun=false`. Raises `ValueError`."""
        address, _, query = name.partition("?")
        module, colon, attribute = address.partition(":")
        if not (colon and _is_dotted(module) and _is_dotted(attribute)):
            raise ValueError(f"must be written as {FORM}, perhaps with ?rerun=false")
        options = dict(parse_qsl(query, keep_blank_values=True))
        rerun = options.pop("rerun", "true")
        if options:
            raise ValueError(f"has no option {min(options)!r}; there is only rerun")
        if rerun not in {"true", "false"}:
            raise ValueError("rerun must be true or false")
        return cls(module, attribute, rerun == "true")


def load(spec: PythonSpec) -> object:
    """Import the module, also from the current folder, and return its attribute.

    May take seconds, and runs the module's code.

    Raises:
        ModelMisconfigured: Its text names neither module nor path; its cause has the reason.

    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(spec.module)
        return functools.reduce(getattr, spec.attribute.split("."), module)
    except (Exception, SystemExit) as error:  # whatever the module's code raises
        raise _misconfigured() from error


class Holder:
    """Holds a context manager open, in one task from its beginning to its end."""

    def __init__(self) -> None:
        """Begin with none."""
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to be left."""
        return self._task is not None and not self._task.done()

    async def enter(self, manager: AbstractAsyncContextManager[object]) -> object:
        """Enter it on this event loop, and return its value until `close` is called."""
        entered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(manager, entered))
        return await entered

    async def close(self) -> None:
        """Leave it, on the loop on which it was entered; wait at most `CLOSE_SECONDS` for that."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _hold(
        self, manager: AbstractAsyncContextManager[object], entered: asyncio.Future[object]
    ) -> None:
        try:
            async with manager as value:
                entered.set_result(value)
                await self._closing.wait()
        except BaseException as error:
            if not entered.done():
                # As it is, `sys.exit` would end the thread of all of them.
                entered.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
            elif isinstance(error, asyncio.CancelledError):
                raise


async def resolve(target: object, holder: Holder | None = None) -> object:
    """Return the object that answers: the target itself, or what it makes.

    A callable that requires no argument is a factory, sync or async: it is called once, on this
    event loop, to which what it makes may belong. So is a class that requires no argument. A
    callable that requires one argument or more is a chat function, and is called in each turn
    with the messages. A generator function is never a factory. If a factory makes an async context
    manager, its value is the object.

    Args:
        target: What a name stands for.
        holder: Holds the context manager open; without one there may be none.

    Raises:
        ModelMisconfigured: The factory failed, or there is nothing that can answer. Its text does
            not name the target; its cause has the reason.

    """
    if callable(target) and not _answers(target):
        try:
            made = target()
            target = await made if inspect.isawaitable(made) else made
            # It can be called too: as a decorator.
            if holder is not None and isinstance(target, AbstractAsyncContextManager):
                target = await holder.enter(target)
        except (Exception, SystemExit) as error:  # whatever the factory's code raises
            raise _misconfigured() from error
    if _answers(target):
        return target
    reason = f"{type(target).__name__} is no Runnable, and no function of one argument"
    raise _misconfigured() from TypeError(reason)


def _answers(target: object) -> bool:
    """True for a Runnable, a generator function, and what can only be called with an argument."""
    from langchain_core.runnables import Runnable  # a name is read without it

    is_generator = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
    if isinstance(target, Runnable) or is_generator:
        return True
    if not callable(target) or inspect.isclass(target):
        return False
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # of some classes that are written in C
        return False
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return any(
        parameter.kind in positional and parameter.default is inspect.Parameter.empty
        for parameter in parameters
    )


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _misconfigured() -> ModelMisconfigured:
    return ModelMisconfigured(
        "The model cannot be loaded. `chatkeep doctor` and the server's log say why."
    )
