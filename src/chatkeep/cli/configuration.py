"""The settings as a command gets them, and how it says that they cannot be used."""

import sys
import tomllib
from typing import NoReturn

from pydantic import ValidationError

from chatkeep.cli.output import note
from chatkeep.settings import ConfigurationError, Settings

EXIT_CONFIGURATION = 2


def read(**options: object) -> Settings:
    """The settings, with a command's options over them.

    Raises `ConfigurationError`, whose words repeat no value: it may be a key.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # Typer has checked the options' types
    except ValidationError as error:
        lines = []
        for found in error.errors():
            words = found["msg"].removeprefix("Value error, ")
            name = "_".join(str(part) for part in found["loc"])
            lines.append(f"The setting {name} cannot be used: {words}." if name else f"{words}.")
        raise ConfigurationError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The configuration file is not TOML: {error}.") from None


def settings(**options: object) -> Settings:
    """The settings, with a command's options over them; ends the program if they are wrong."""
    try:
        return read(**options)
    except ConfigurationError as error:
        fail(str(error))


def fail(words: str) -> NoReturn:
    """Say why nothing can be done with these settings, and end the program."""
    note(f"chatkeep cannot start.\n{words}")
    sys.exit(EXIT_CONFIGURATION)
