"""Settings whose names are their providers' own, such as `OPENAI_API_KEY`."""

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic.fields import FieldInfo

from chatkeep.addresses import web_address


def variable(name: str, description: str) -> FieldInfo:
    """What makes a field read the variable `name`, and its lower-case name in the file."""
    aliases = AliasChoices(name, name.lower())
    field: FieldInfo = Field(validation_alias=aliases, description=description)
    return field


def _check_key(key: SecretStr | None) -> SecretStr | None:
    """Refuse what no HTTP header can carry. White space alone is no key."""
    text = key.get_secret_value().strip() if key is not None else ""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("it contains characters that a key cannot contain")
    return SecretStr(text) if text else None


def _check_url(url: str | None) -> str | None:
    return web_address(url) if url else None


APIKey = Annotated[SecretStr | None, AfterValidator(_check_key)]
BaseURL = Annotated[str | None, AfterValidator(_check_url)]


def revealed(key: SecretStr | None) -> str | None:
    """The text of a key, for the header that it is sent in."""
    return key.get_secret_value() if key is not None else None
