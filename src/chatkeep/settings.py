"""Every setting, with its default and unit. Only `app` and `cli` read it; they pass values down."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chatkeep.addresses import HOST_NAME, is_ip_address, is_loopback
from chatkeep.providers.registry import PROVIDERS, ProviderSettings

PREFIX = "CHATKEEP_"
EMBEDDED_MODEL = "local:smollm2-135m-instruct"

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
IMAGE_HOST = re.compile(rf"\*|(\*\.)?({_LABEL}\.)*{_LABEL}(:[1-9][0-9]{{0,4}})?")
"""Every host, or a name, perhaps with all below it, perhaps with a port: a CSP's host-source."""

_AUTHORITY = rf"({HOST_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?"
ALLOWED_HOST = re.compile(rf"\*|{_AUTHORITY}")
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_AUTHORITY}")
"""As a browser sends it: https://www.rfc-editor.org/rfc/rfc6454#section-6.2"""


def _split(value: object) -> object:
    value = str(value) if isinstance(value, int) else value
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

WEEK = 604_800
Seconds = Annotated[float, Field(le=WEEK, allow_inf_nan=False)]
"""More than a week is no limit that is meant, and too large for the timers of some systems."""


class ConfigurationError(Exception):
    """Raised for settings that cannot be used; its text names them, and why."""


class ServerSettings(BaseSettings):
    """The settings that are no provider's."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 selects a free one.")
    listen_without_key: bool = Field(
        False,
        description="Listen on an address that others can reach, even though no key is required.",
    )
    allowed_hosts: CommaSeparated = Field(
        (), description="Additional host names by which the server can be reached, comma-separated."
    )
    allowed_origins: CommaSeparated = Field(
        (), description="Origins of web pages that may call the server (CORS), comma-separated."
    )
    image_hosts: CommaSeparated = Field(
        (),
        description="Hosts from which the page loads images, comma-separated: "
        "`images.example.com`, `*.example.org`; `*` means every host.",
    )
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("chatkeep", appauthor=False)),
        description="The folder for the server's files.",
    )
    database_url: str = Field(
        "", description="`sqlite:///path`; if empty, `chatkeep.db` in the data folder."
    )
    reader_threads: int = Field(4, ge=1, le=64, description="Threads that read from the database.")
    write_queue: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of queued database writes.",
    )

    model: str = Field(EMBEDDED_MODEL, description="The default model, as `provider:name`.")
    models: CommaSeparated = Field(
        (), description="Additional models that can be chosen, comma-separated."
    )
    title_model: str = Field(
        "", description="The model that generates titles; if empty, the default model."
    )
    system_prompt: str = Field(
        "You are a helpful assistant. Answer in the language of the user, clearly and to the "
        "point. If you do not know something, say so.",
        description="The system prompt; in the file, an empty text means none.",
    )
    context_messages: int = Field(
        5, ge=0, le=1_000, description="Number of previous messages that the model reads."
    )
    model_client: Literal["direct", "langchain"] = Field(
        "direct", description="Which client calls OpenAI's API: the server's own, or LangChain's."
    )
    first_token_timeout: Seconds = Field(
        300,
        ge=0.01,
        description="Seconds without data before a reply's first token; a model may be reasoning "
        "silently.",
    )
    model_timeout: Seconds = Field(
        60,
        ge=0.01,
        description="Seconds without data (text, reasoning, a comment) after the first token, "
        "before a call fails.",
    )
    model_retries: int = Field(
        2, ge=0, le=10, description="Retries of a call that failed before any text arrived."
    )
    turn_timeout: Seconds = Field(900, ge=0.01, description="Seconds that a turn may run in total.")
    title_timeout: Seconds = Field(60, ge=0.01, description="Seconds that a title call may take.")
    title_wait: Seconds = Field(
        2, ge=0, description="Seconds that a first reply waits for the title."
    )
    max_reply_chars: int = Field(
        4_000_000, ge=1, le=100_000_000, description="Characters after which a reply is cut off."
    )

    max_body_bytes: int = Field(
        1_048_576, ge=1_024, le=1_073_741_824, description="Largest request body, in bytes."
    )
    body_timeout: Seconds = Field(
        30,
        ge=0.01,
        description="Seconds for a request's head to arrive, and the same again for its body.",
    )
    max_message_chars: int = Field(
        100_000, ge=1, le=100_000_000, description="Longest message, in Unicode characters."
    )
    max_requests: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of concurrent requests, including streams.",
    )
    heartbeat_seconds: Seconds = Field(
        15, ge=0.01, description="Seconds without events after which a stream sends a comment."
    )
    reader_timeout: Seconds = Field(
        30,
        ge=0.01,
        description="Seconds after which a client that does not read its stream is disconnected.",
    )
    lease_seconds: Seconds = Field(
        30,
        ge=0.01,
        description="Seconds without a sign of life after which a process that runs turns is "
        "presumed dead.",
    )
    max_queued_turns: int = Field(
        16, ge=0, le=100_000, description="Maximum number of queued turns in one session."
    )
    max_running_turns: int = Field(
        1_000, ge=1, le=1_000_000, description="Maximum number of running and queued turns."
    )
    drain_seconds: Seconds = Field(
        30, ge=0, description="Seconds that running turns get to finish when the server stops."
    )

    retention_days: CommaSeparated = Field(
        (),
        description="Days without activity after which sessions are deleted, for all tenants or, "
        "as `name=days`, for one; comma-separated. If empty, sessions never expire.",
    )
    retention_check_seconds: Seconds = Field(
        3_600, ge=0.01, description="Seconds between checks for expired sessions."
    )
    max_feed_events: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of events that a client of `GET /events` may fall behind.",
    )
    max_import_bytes: int = Field(
        4_294_967_296,
        ge=1_024,
        le=1_099_511_627_776,
        description="Largest file that can be imported, in bytes.",
    )
    max_import_record_bytes: int = Field(
        67_108_864,
        ge=1_024,
        le=1_073_741_824,
        description="Largest line or conversation in an imported file, in bytes.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level of log lines that are written."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` means `console` in a terminal, and JSON lines otherwise."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the library passes it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the library passes it)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let options of a command override the environment, and that the file."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, file

    @field_validator("data_dir", mode="before")
    @classmethod
    def _names_a_folder(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("it does not name a folder")
        return value

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host = value.lower().removeprefix("[").removesuffix("]")
        if not is_ip_address(host) and not re.fullmatch(HOST_NAME, host):
            raise ValueError(
                "it is not an address; write 127.0.0.1, ::1 or the name of this machine"
            )
        return host

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not ALLOWED_HOST.fullmatch(host.lower()):
                raise ValueError(
                    f"{host!r} is not a name; write chat.example.com, [::1] in brackets, or *"
                )
        return tuple(host.lower() for host in value)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.lower().removesuffix("/") for origin in value)
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin; write https://chat.example.com, with or "
                    "without a port, but without a path"
                )
        return origins

    @field_validator("model", "models", "title_model")
    @classmethod
    def _names_a_provider(
        cls, value: str | tuple[str, ...], info: ValidationInfo
    ) -> str | tuple[str, ...]:
        if info.field_name == "title_model" and not value:
            return value
        for name in (value,) if isinstance(value, str) else value:
            provider, _, model = name.partition(":")
            if provider not in PROVIDERS or not model or model != model.strip():
                raise ValueError(
                    f"{name!r} is not a model; write provider:name, "
                    f"where the provider is one of {', '.join(PROVIDERS)}"
                )
        return value

    @field_validator("image_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            # It becomes part of a header: nothing but a name may pass.
            if not IMAGE_HOST.fullmatch(host.lower()):
                raise ValueError(f"{host!r} is not a host; write images.example.com or *")
        return tuple(host.lower() for host in value)

    @field_validator("retention_days")
    @classmethod
    def _are_days(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            days = entry.rpartition("=")[2].strip()
            if not re.fullmatch("[1-9][0-9]{0,5}", days):
                raise ValueError(f"{entry!r} is not a number of days; write 365 or tenant=365")
        return value

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, value: str) -> str:
        if value and not value.startswith("sqlite:///"):
            raise ValueError("only sqlite:///path is supported so far")
        file = value.removeprefix("sqlite:///")
        if file == ":memory:":
            raise ValueError("conversations are stored in a file, not in memory")
        if value and (not file or "?" in file):
            raise ValueError("write sqlite:///path, with nothing after the path")
        return value

    # The last validator of the class: the library runs it first.
    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object, info: ValidationInfo) -> object:
        """Drop white space around a value, and reject control characters."""
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, str):
                _check_text(part.strip(), allowed="\n\r\t" * (info.field_name == "system_prompt"))
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_safe_to_listen(self) -> Self:
        if not self.listen_without_key and not is_loopback(self.host):
            raise ValueError(
                f"others can reach host {self.host}, and this server does not require a key; "
                "listen on 127.0.0.1 behind a reverse proxy that authenticates clients, or set "
                f"{PREFIX}LISTEN_WITHOUT_KEY=true"
            )
        return self

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'chatkeep.db'}"

    @property
    def retention(self) -> dict[str | None, int]:
        """Days without activity after which a tenant's sessions are deleted.

        `None` is every other tenant.
        """
        pairs = [entry.rpartition("=") for entry in self.retention_days]
        return {tenant.strip() if equals else None: int(days) for tenant, equals, days in pairs}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of all settings that nobody may see."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @property
    def models_on_offer(self) -> tuple[str, ...]:
        """Every model that a request may ask for; the default is the first."""
        return tuple(dict.fromkeys((self.model, *self.models)))


class Settings(ProviderSettings, ServerSettings):
    """All settings: the environment (`CHATKEEP_…`) first, then the TOML file."""


def _check_text(text: str, *, allowed: str) -> None:
    characters = set(text) - set(allowed)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in characters):
        raise ValueError("it contains control characters, or bytes that are not UTF-8")


def config_file() -> Path | None:
    """The TOML file to read: `CHATKEEP_CONFIG`, else the first `chatkeep.toml` that exists.

    It may be in the working directory, or in the user's configuration folder.
    Raises `ConfigurationError` if `CHATKEEP_CONFIG` names no file.
    """
    if path := os.environ.get(f"{PREFIX}CONFIG"):
        if not Path(path).is_file():
            raise ConfigurationError(f"{PREFIX}CONFIG names {path}, which is not a file.")
        return Path(path)
    folder = Path(platformdirs.user_config_dir("chatkeep", appauthor=False))
    candidates = (Path("chatkeep.toml"), folder / "chatkeep.toml")
    return next((path for path in candidates if path.is_file()), None)


def unknown_variables() -> list[str]:
    """Variables that begin with `CHATKEEP_` and are no setting: most likely misspelt."""
    fields = Settings.model_fields.items()
    known = {PREFIX + name.upper() for name, field in fields if field.validation_alias is None}
    # These are read by the commands that speak to a server.
    known |= {f"{PREFIX}{name}" for name in ("CONFIG", "URL", "API_KEY", "HISTORY")}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
