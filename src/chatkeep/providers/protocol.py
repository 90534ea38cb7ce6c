"""What a provider is: a subclass of `ProviderModel` in a file of its own, with its settings.

`registry.py` lists the providers. A provider's package is imported when one of its models is first
called: together they cost more than the rest of the server.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.messages import prompt_messages
from chatkeep.providers.python.loop_thread import LoopThread
from chatkeep.redaction import Redactor

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

    from chatkeep.domain.model import Prompt

Output: TypeAlias = "AIMessageChunk | AIMessage | ToolMessage"
"""A piece of an answer, or a whole message before the reply."""

Parameters = dict[str, Any]
"""Keyword arguments of a client's `astream`. `Any`: LangChain leaves them to each client."""


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """The limits that hold for the calls of every provider. Times are in seconds."""

    timeout: float
    """To connect, and without a sign of life after an answer's first token."""
    first_token_timeout: float
    """Without a sign of life before the first token."""
    retries: int
    """Times that a failed call is repeated, unless its caller decides otherwise."""
    max_reply_chars: int
    is_direct: bool = True
    """Whether the server's own clients are used where they speak a model's protocol."""
    redactor: Redactor = field(default_factory=Redactor)
    """Strikes the server's keys out of answers and of providers' error messages."""
    loop_thread: LoopThread = field(default_factory=LoopThread)
    """Where the operator's own objects run, so that one that blocks stalls nobody else."""

    @property
    def silence_timeout(self) -> float:
        """The longest pause between two reads that any state of an answer allows."""
        return max(self.timeout, self.first_token_timeout)


class SilenceLimits(NamedTuple):
    """Seconds without a sign of life: before an answer's first token, and after it."""

    first: float
    next: float


@dataclass(frozen=True, slots=True)
class Access:
    """How a provider is reached, as far as people may know when that fails."""

    address: str | None = None
    """The host, and the port unless it is the usual one. `None`: nobody configured any."""
    address_variable: str | None = None
    """The variable that sets the address."""
    key_variable: str | None = None
    """The variable that sets the key; `None` if no key is sent."""
    is_public: bool = False
    """True for the provider's own address on the internet, which nobody had to set."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model listens that this server runs, and the key that it demands."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Client:
    address: Address | None
    model: "BaseChatModel"


class ProviderModel(ABC):
    """One model of a provider.

    A subclass is a provider: its constructor takes the model's name, the settings and
    `ProviderOptions`, and raises `ModelMisconfigured` for a model that can never be called.
    """

    provider: ClassVar[str]
    """What is before the colon in the names of its models."""
    capabilities: Capabilities = Capabilities()
    access: Access = Access()
    system_prompt: str | None = None
    """Its own default; `None` is the server's."""
    notice: str | None = None
    """What users should know before they rely on the model, as one line of Markdown."""

    def __init__(self, name: str, options: ProviderOptions) -> None:
        self.name = name
        self.options = options
        self._client: _Client | None = None
        self._creating = asyncio.Lock()

    @property
    @abstractmethod
    def advice(self) -> str:
        """What to check when the model does not answer, for `chatkeep doctor`."""

    @abstractmethod
    def create_client(self, address: Address | None) -> "BaseChatModel":
        """Import the provider's package and make its chat model. Runs in a thread.

        `address` is where the model listens if this server runs it, else `None`.
        Raises `ModelMisconfigured`.
        """

    def parameters(self, prompt: "Prompt") -> Parameters:
        """What a prompt demands, by the names that the client's `astream` takes."""
        limits = {
            "temperature": prompt.temperature,
            "max_tokens": prompt.max_tokens,
            "top_p": prompt.top_p,
            "stop": prompt.stop,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def retries(self) -> int:
        """Times that a failed call is repeated, unless its caller decides otherwise."""
        return self.options.retries

    @property
    def silence_limits(self) -> SilenceLimits:
        """How long the model may be silent."""
        return SilenceLimits(self.options.first_token_timeout, self.options.timeout)

    @property
    def reruns(self) -> bool:
        """Whether a turn is run again whose process has died."""
        return True

    async def prepare(self) -> None:
        """Make the client now, and start the process if the model has one.

        Raises `ModelMisconfigured`, and what `slot` raises.
        """
        async with self.client():
            pass

    @asynccontextmanager
    async def stream(self, prompt: "Prompt") -> AsyncIterator[AsyncIterator["Output"]]:
        """Ask the model. Raises what `client` raises; what is yielded, what the client raises."""
        # As `client` does: one more context costs as much as its work.
        async with self.slot() as address:
            client = await self._client_at(address)
            messages = prompt_messages(self.capabilities, prompt)
            yield client.astream(messages, **self.parameters(prompt))

    def slot(self) -> AbstractAsyncContextManager[Address | None]:
        """Reserve what one answer needs, and wait until it is free."""
        return nullcontext()

    @asynccontextmanager
    async def client(self) -> AsyncIterator["BaseChatModel"]:
        """The chat model for one call, made when it is first needed or has moved.

        Raises `ModelMisconfigured`, and what `slot` raises.
        """
        async with self.slot() as address:
            yield await self._client_at(address)

    async def _client_at(self, address: Address | None) -> "BaseChatModel":
        client = self._client
        if client is None or client.address != address:
            client = await self._created(address)
        return client.model

    async def close(self) -> None:
        """Close the connections, if they are the client's own."""
        model = self._client.model if self._client is not None else None
        if (close_all := getattr(model, "close", None)) is not None:
            await close_all()
        elif (connections := getattr(model, "http_async_client", None)) is not None:
            await connections.aclose()

    async def _created(self, address: Address | None) -> _Client:
        async with self._creating:
            if self._client is None or self._client.address != address:
                # Importing a provider's package takes a second or more: not on the event loop.
                model = await asyncio.to_thread(self._create, address)
                self._client = _Client(address, model)
            return self._client

    def _create(self, address: Address | None) -> "BaseChatModel":
        try:
            return self.create_client(address)
        except ModelMisconfigured:
            raise
        except Exception as error:  # whatever the provider's package does not like
            from chatkeep import telemetry  # `--help` reads the settings, but needs no logger

            name = f"{self.provider}:{self.name}"
            telemetry.logger("providers").exception("model_not_loaded", model=name)
            raise ModelMisconfigured(
                "The model cannot be used. The server's log says what is wrong."
            ) from error


def host_of(url: str) -> str:
    """The host and port of a URL, without a user name and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def missing_key(variable: str) -> ModelMisconfigured:
    """The error of a provider whose key is not set."""
    return ModelMisconfigured(f"The API key is missing. Set {variable} on the server.")
