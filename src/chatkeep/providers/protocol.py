"""Prompts and models in LangChain's terms: its chat models made, its messages filled in.

A provider's package is imported when its first model is used: together they cost more than the
rest of the server.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chatkeep import telemetry
from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.domain.model import Prompt, Role
from chatkeep.providers.llama_process import Address, EmbeddedOptions
from chatkeep.redaction import Redactor

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

log = telemetry.logger("providers")

USER_FIRST = {"anthropic", "local"}
"""Providers that may refuse a conversation which begins with the assistant."""

SPEAKERS = {
    Role.USER: "user",
    Role.ASSISTANT: "assistant",
    # Those of imported conversations too: what a tool said belongs to the answer, and not every
    # provider takes a system's message in the middle.
    Role.SYSTEM: "user",
    Role.TOOL: "assistant",
}
"""Who says something, as LangChain names them."""

OPENAI, ANTHROPIC, OLLAMA = (
    *("https://api.openai.com", "https://api.anthropic.com"),
    "http://127.0.0.1:11434",
)
"""Where the providers are if nobody says otherwise."""

OPENING = "(The beginning of this conversation is left out.)"


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """What all providers need to know; `None` leaves an address or key to the provider."""

    timeout: float
    """Seconds to connect, and without a sign of life after an answer's first token."""
    first_token_timeout: float
    """Seconds without a sign of life before the first token."""
    retries: int
    max_reply_chars: int
    embedded: EmbeddedOptions
    direct: bool = True
    """Whether the server's own clients are used where they speak what a model needs."""
    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    ollama_host: str | None = None
    redactor: Redactor = field(default_factory=Redactor)

    @property
    def silence_timeout(self) -> float:
        """Seconds after which nothing is received any more, whatever an answer's state."""
        return max(self.timeout, self.first_token_timeout)


@dataclass(frozen=True, slots=True)
class Access:
    """How a provider is reached, as far as people may be told when that fails.

    `address` is a host, with its port unless that is the usual one; `is_public` says that it is the
    provider's own on the internet, which nobody had to set. The variables are those that set it
    and the key. `None` is what there is not.
    """

    address: str | None = None
    address_variable: str | None = None
    key_variable: str | None = None
    is_public: bool = False


def access(name: str, options: ProviderOptions) -> Access:
    """How the provider of a model is reached."""
    provider = name.partition(":")[0]
    if provider == "openai":
        url = options.openai_base_url
        return Access(_host(url or OPENAI), "OPENAI_BASE_URL", "OPENAI_API_KEY", not url)
    if provider == "anthropic":
        url = options.anthropic_base_url
        return Access(_host(url or ANTHROPIC), "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", not url)
    if provider == "ollama":
        return Access(_host(options.ollama_host or OLLAMA), "OLLAMA_HOST")
    return Access()


def _host(url: str) -> str:
    """The host and port of a URL, without the user's name and password before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def opening(name: str, first: Role) -> tuple[Role, str] | None:
    """The line before a prompt whose first message has this role, where a model needs one."""
    if first in {Role.ASSISTANT, Role.TOOL} and name.partition(":")[0] in USER_FIRST:
        return Role.USER, OPENING
    return None


def messages(name: str, prompt: Prompt) -> list[tuple[str, str]]:
    """Translate a prompt, opening it with a user's line where a provider may demand one."""
    translated = [] if prompt.system is None else [("system", prompt.system)]
    if (line := opening(name, prompt.messages[0][0])) is not None:
        translated.append((SPEAKERS[line[0]], line[1]))
    translated += [(SPEAKERS[role], content) for role, content in prompt.messages]
    return translated


def parameters(
    name: str, prompt: Prompt, sampling: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Name what a prompt asks of the model as its client does.

    `sampling` are a built-in model's defaults. They are left out where a grammar chooses the
    words: all of those are in the prompt, so that a penalty would shun them.
    """
    provider = name.partition(":")[0]
    if provider == "ollama":
        options = {"temperature": prompt.temperature, "num_predict": prompt.max_tokens}
        chosen = {key: value for key, value in options.items() if value is not None}
        return {"options": chosen} if chosen else {}
    asked: dict[str, Any] = {}
    if prompt.temperature is not None:
        asked["temperature"] = prompt.temperature
    if prompt.max_tokens is not None:
        asked["max_tokens"] = prompt.max_tokens
    if prompt.grammar is not None and provider == "local":
        asked["extra_body"] = {"grammar": prompt.grammar}
    elif sampling:
        asked["extra_body"] = {key: sampling[key] for key in sampling if key not in asked}
    return asked


def load(name: str, options: ProviderOptions, address: Address | None) -> "BaseChatModel":
    """Import a provider's package and make its chat model. Raises `ModelMisconfigured`."""
    provider, _, model = name.partition(":")
    try:
        return _LOADERS[provider](model, options, address)
    except ModelMisconfigured:
        raise
    except Exception as error:  # whatever its package does not like
        log.exception("model_not_loaded", model=name)
        raise ModelMisconfigured(
            "The model cannot be used. The server's log says what is wrong."
        ) from error


async def close(model: "BaseChatModel") -> None:
    """Close a model's connections, if they are its own."""
    if (close_all := getattr(model, "close", None)) is not None:
        await close_all()
    elif (connections := getattr(model, "http_async_client", None)) is not None:
        await connections.aclose()


def _openai(model: str, options: ProviderOptions, address: Address | None) -> "BaseChatModel":
    from chatkeep.providers import chat_completions

    url = f"{address.url}/v1" if address else options.openai_base_url
    key = address.key if address else options.openai_api_key
    # A server of one's own often wants no key; the client wants one all the same.
    if not key and not url:
        raise _without_key("OPENAI_API_KEY")
    key = key or "none"
    name = "local" if address else model
    times = {"timeout": options.timeout, "silence_timeout": options.silence_timeout}
    if not options.direct or not chat_completions.speaks(model):
        from chatkeep.providers import langchains

        return langchains.openai(name, url=url, key=key, is_local=address is not None, **times)
    return chat_completions.OpenAI(
        model=name,
        url=f"{(url or chat_completions.URL).rstrip('/')}/chat/completions",
        headers={"Authorization": f"Bearer {key}", **chat_completions.account()},
        # What listens on loopback is not reached through the proxies of the environment.
        trusts_env=address is None,
        # llama.cpp's server closes them: the next call would find one that is just going.
        keeps_connections=address is None,
        **times,
    )


def _anthropic(model: str, options: ProviderOptions, _address: Address | None) -> "BaseChatModel":
    from chatkeep.providers import langchains

    url, key = options.anthropic_base_url, options.anthropic_api_key
    if not key and not url:
        raise _without_key("ANTHROPIC_API_KEY")
    return langchains.anthropic(
        model,
        url=url,
        key=key or "none",
        timeout=options.timeout,
        silence_timeout=options.silence_timeout,
    )


def _without_key(variable: str) -> ModelMisconfigured:
    return ModelMisconfigured(f"The API key is missing. Set {variable} on the server.")


def _ollama(model: str, options: ProviderOptions, _address: Address | None) -> "BaseChatModel":
    from chatkeep.providers import langchains

    return langchains.ollama(
        model,
        host=options.ollama_host,
        timeout=options.timeout,
        silence_timeout=options.silence_timeout,
    )


_LOADERS: dict[str, Callable[[str, ProviderOptions, Address | None], "BaseChatModel"]] = {
    "openai": _openai,
    "local": _openai,
    "anthropic": _anthropic,
    "ollama": _ollama,
}
