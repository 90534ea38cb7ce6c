"""The settings as a command reads them, and the error for settings that cannot be used."""

import sys
import tomllib
from typing import NoReturn

from pydantic import ValidationError

from chatkeep.cli.errors import ExitCode
from chatkeep.cli.output import print_note
from chatkeep.settings import ConfigurationError, Settings


def read(**options: object) -> Settings:
    """Read the settings.

    Args:
        options: Of the command line; they win over every other source, unless they are `None`.

    Raises:
        ConfigurationError: They cannot be used. Its text repeats no value: it may be a key.

    """
    set_options = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**set_options)  # type: ignore[arg-type]  # Typer has checked the types
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            reason = problem["msg"].removeprefix("Value error, ")
            name = "_".join(str(part) for part in problem["loc"])
            lines.append(f"The setting {name} cannot be used: {reason}." if name else f"{reason}.")
        raise ConfigurationError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The configuration file is not TOML: {error}.") from None


def settings(**options: object) -> Settings:
    """Read the settings as `read` does; end the program if they cannot be used."""
    try:
        return read(**options)
    except ConfigurationError as error:
        fail(str(error))


def fail(reason: str) -> NoReturn:
    """End the program because no server can start."""
    print_note(f"chatkeep cannot start.\n{reason}")
    sys.exit(ExitCode.USAGE)
