"""Every setting, with its default and unit. Only `app` and `cli` read it; they pass values down."""

import os
import re
import unicodedata
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import platformdirs
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chatkeep.addresses import HOST_NAME, is_ip_address
from chatkeep.providers.python.loading import PythonSpec
from chatkeep.providers.python_model import PythonModel
from chatkeep.providers.registry import PROVIDERS, ProviderSettings, split_alias

PREFIX = "CHATKEEP_"

POSTGRES = ("postgresql://", "postgres://")
"""How the URL of a PostgreSQL database begins (libpq, 34.1.1.2)."""

POSTGRES_LEAVING_SECONDS = 5
"""For how long a server that stops is still sent requests, if a balancer is in front of it."""

EMBEDDED_MODEL = "local:smollm2-135m-instruct"

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
IMAGE_HOST = re.compile(rf"\*|(\*\.)?({_LABEL}\.)*{_LABEL}(:[1-9][0-9]{{0,4}})?")
"""Every host, or a name, perhaps with all below it, perhaps with a port: a CSP's host-source."""

_AUTHORITY = rf"({HOST_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?"
ALLOWED_HOST = re.compile(rf"\*|{_AUTHORITY}")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A field name (RFC 9110, 5.1)."""
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_AUTHORITY}")
"""As a browser sends it: https://www.rfc-editor.org/rfc/rfc6454#section-6.2"""


def _split(value: object) -> object:
    value = str(value) if isinstance(value, int) else value
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


ALL_MESSAGES = 1_000_000
"""Previous messages that a model reads where it is to read all."""


def _all_messages(value: object) -> object:
    return ALL_MESSAGES if value == "all" else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

WEEK = 604_800
Seconds = Annotated[float, Field(le=WEEK, allow_inf_nan=False)]
"""More than a week is no limit that is meant, and too large for the timers of some systems."""


class ConfigurationError(Exception):
    """Raised for settings that cannot be used; its text names them, and why."""


def _passwords(url: str) -> set[str]:
    """What a PostgreSQL URL has of passwords, as it stands there and as it is meant."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    passwords = {parts.password or "", unquote(parts.password or "")}
    passwords.update(*(query.get(name, ()) for name in ("password", "sslpassword")))
    return passwords - {""}


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
    url: str = Field(
        "", description="For commands: the address of the server that they call, if not this one."
    )
    api_key: SecretStr | None = Field(None, description="For commands: the key that they show.")
    require_key: bool = Field(
        False, description="Refuse callers without a key, even while none was ever made."
    )
    admin_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="A secret of at least 32 characters that is accepted as a key with the scope "
        "`admin`.",
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        description="Addresses or networks of reverse proxies whose headers are believed, "
        "comma-separated: `127.0.0.1`, `10.0.0.0/8`.",
    )
    trusted_user_header: str = Field(
        "",
        description="Header in which those proxies name the person that they have signed in; a "
        "key is required of everybody else.",
    )
    audit_days: int = Field(
        365, ge=1, le=36_500, description="Days for which the audit log is kept."
    )
    trace_texts: bool = Field(
        False,
        description="Let LangChain send all texts to a tracing service, as its own variables "
        "(`LANGSMITH_TRACING` …) say.",
    )
    allowed_hosts: CommaSeparated = Field(
        (),
        description="Additional host names by which the server can be reached, comma-separated. "
        "While nobody needs a key there are none but its own; with keys, empty means any.",
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
        "",
        description="`sqlite:///path` or `postgresql://user:password@host/name`; if empty, "
        "`chatkeep.db` in the data folder.",
    )
    database_connections: int = Field(
        8,
        ge=2,
        le=200,
        description="Connections of a process to PostgreSQL for requests and turns; it has three "
        "more for what processes tell each other.",
    )
    database_listen_url: str = Field(
        "",
        description="Where PostgreSQL's `LISTEN` works, if it does not at `database_url`: behind a "
        "pooler, the address of the server itself.",
    )
    database_prepared_statements: bool = Field(
        True,
        description="Whether connections to PostgreSQL keep prepared statements; `false` behind a "
        "pooler in transaction mode that cannot, as PgBouncer before 1.21.",
    )
    reader_threads: int = Field(4, ge=1, le=64, description="Threads that read from the database.")
    write_queue: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of queued database writes.",
    )

    model: str = Field(
        EMBEDDED_MODEL,
        description="The default model, as `provider:name` or `alias=provider:name`; with the "
        "provider `python`, an object of your own: `support=python:package.module:attribute`.",
    )
    models: CommaSeparated = Field(
        (), description="Additional models that can be chosen, comma-separated."
    )
    title_model: str = Field(
        "",
        description="The model that generates titles; if empty, the default model, or the first "
        "that is no object of your own.",
    )
    system_prompt: str = Field(
        "You are a helpful assistant. Answer in the language of the user, clearly and to the "
        "point. If you do not know something, say so.",
        description="The system prompt; in the file, an empty text means none.",
    )
    context_messages: Annotated[int, BeforeValidator(_all_messages)] = Field(
        5,
        ge=0,
        le=ALL_MESSAGES,
        description="Number of previous messages that the model reads; `all` is a million.",
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
    max_file_bytes: int = Field(
        10_485_760, ge=1_024, le=268_435_456, description="Largest picture or document, in bytes."
    )
    max_chat_bytes: int = Field(
        20_971_520,
        ge=1_024,
        le=1_073_741_824,
        description="Largest body of a message with pictures or documents, in bytes.",
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
        4,
        ge=0.1,
        description="Seconds without a sign of life after which another process at the same "
        "PostgreSQL takes over the turns of one.",
    )
    max_queued_turns: int = Field(
        16, ge=0, le=100_000, description="Maximum number of queued turns in one session."
    )
    max_running_turns: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of running and queued turns of a process, with those of other "
        "processes that it streams to a client.",
    )
    drain_seconds: Seconds = Field(
        30, ge=0, description="Seconds that running turns get to finish when the server stops."
    )
    shutdown_delay: Seconds | None = Field(
        None,
        ge=0,
        description="Seconds from SIGTERM, when `/readyz` begins to answer 503, until the server "
        "takes no more requests: a balancer needs them to notice. By default 5 with PostgreSQL, "
        "else 0.",
    )
    workers: int = Field(
        1, ge=1, le=256, description="Processes that serve; more than one need PostgreSQL."
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
        return init_settings, env_settings, _SecretFiles(settings_cls), file

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

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"{proxy!r} is not an address or a network; write 10.0.0.2 or 10.0.0.0/8"
                ) from None
        return value

    @field_validator("trusted_user_header")
    @classmethod
    def _is_a_header(cls, value: str) -> str:
        if value and not HEADER.fullmatch(value):
            raise ValueError("it is not the name of a header; write X-Forwarded-User")
        return value

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
            _, spec = split_alias(name)
            if info.field_name == "title_model" and ":" not in spec:
                continue  # an alias: see `_check_aliases`
            provider, _, model = spec.partition(":")
            if provider not in PROVIDERS or not model or model != model.strip():
                raise ValueError(
                    f"{name!r} is not a model; write provider:name or alias=provider:name, "
                    f"where the provider is one of {', '.join(PROVIDERS)}"
                )
            if provider == PythonModel.provider:
                try:
                    PythonSpec.parse(model)
                except ValueError as error:
                    raise ValueError(f"{name!r} {error}") from None
        return value

    @model_validator(mode="after")
    def _check_aliases(self) -> Self:
        specs: dict[str, str] = {}
        for name, spec in map(split_alias, (self.model, *self.models, self.title_model)):
            if name and specs.setdefault(name, spec) != spec and name != spec:
                raise ValueError(f"models: {name!r} is the alias of two of them")
        if self.title_model and ":" not in specs[split_alias(self.title_model)[0]]:
            raise ValueError(f"title_model: {self.title_model!r} is neither a model nor an alias")
        return self

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

    @field_validator("database_listen_url")
    @classmethod
    def _is_of_postgres(cls, value: str) -> str:
        if value and not value.startswith(POSTGRES):
            raise ValueError("write postgresql://user:password@host/name")
        return value

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, value: str) -> str:
        if value.startswith(POSTGRES):
            if not urlsplit(value).path.strip("/"):
                raise ValueError("write postgresql://user:password@host/name, with its name")
            return value
        if value and not value.startswith("sqlite:///"):
            raise ValueError("write sqlite:///path or postgresql://user:password@host/name")
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
    def _knows_its_proxies(self) -> Self:
        if self.trusted_user_header and not self.trusted_proxies:
            raise ValueError(
                f"the setting trusted_user_header needs {PREFIX}TRUSTED_PROXIES: from whom else "
                "the header comes, it is not believed"
            )
        return self

    @property
    def requires_key(self) -> bool:
        """Whether callers need a key even while none was made.

        So it is where a proxy signs people in: whoever passes it by is nobody. And where the first
        key is made with another secret than the command line's.
        """
        return self.require_key or bool(self.trusted_user_header or self.admin_key)

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
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        for url in (getattr(self, name) for name in DATABASE_URLS):
            if url.startswith(POSTGRES):
                secrets += _passwords(url)
        return tuple(secrets)

    @property
    def leaving_seconds(self) -> float:
        """How long a server that stops still takes requests."""
        if self.shutdown_delay is not None:
            return self.shutdown_delay
        return POSTGRES_LEAVING_SECONDS if self.uses_postgres else 0

    @property
    def uses_postgres(self) -> bool:
        """Whether the database is PostgreSQL, which other processes may have too."""
        return self.database_url.startswith(POSTGRES)

    @property
    def models_on_offer(self) -> tuple[str, ...]:
        """Every model that a request may ask for; the default is the first."""
        return tuple(dict.fromkeys((self.model, *self.models)))


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads each secret from the file that `<variable>_FILE` names, as orchestrators mount them.

    Such a file is for one process, while the environment is inherited by each child and shown by
    many tools.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return the content of a setting's file, without its last line end."""
        variable = variable_of(field_name, field)
        path = os.environ.get(f"{variable}_FILE")
        if not path or not is_secret(field_name, field):
            return None, field_name, False
        if os.environ.get(variable):
            raise ConfigurationError(f"{variable} and {variable}_FILE are both set.")
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigurationError(f"{variable}_FILE cannot be read: {reason}.") from None
        return text.removesuffix("\n").removesuffix("\r"), field_name, False

    def __call__(self) -> dict[str, object]:
        """Return the values of all settings that have a file."""
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                alias = field.validation_alias
                names = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
                values[str(names[0])] = value
        return values


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a setting: a provider's has the provider's own name."""
    return name.upper() if field.validation_alias else PREFIX + name.upper()


DATABASE_URLS = ("database_url", "database_listen_url")


def is_secret(name: str, field: FieldInfo) -> bool:
    """Return whether a setting holds a secret; the URL of a database may have a password in it."""
    return name in DATABASE_URLS or "SecretStr" in str(field.annotation)


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
    known = {variable_of(name, field) for name, field in fields}
    known |= {
        f"{variable_of(name, field)}_FILE" for name, field in fields if is_secret(name, field)
    }
    # These are read by the commands that speak to a server.
    known |= {f"{PREFIX}{name}" for name in ("CONFIG", "HISTORY", "TENANT", "USER")}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
