"""A LangChain chat model that speaks a provider's streaming protocol itself.

A provider's own client builds and checks objects for every chunk, which costs more than the rest
of the server. Here a chunk is decoded once, and what arrives together is passed on together.

`Any` in signatures is LangChain's: a message's content, and the arguments of its methods.
"""

import asyncio
import contextlib
import json
import ssl
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi
import orjson
from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel, agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from chatkeep import __version__
from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.event_reader import NOT_AN_API, EventReader

Messages = list[tuple[str, str]] | list[BaseMessage]
"""Pairs of a role (`user`, `assistant` or `system`) and a text, or LangChain's messages."""

KEEPALIVE_SECONDS = 30
"""How long an unused connection stays open for the next call: a handshake costs round trips."""

LAST_BYTES_SECONDS = 0.2
"""How long a response may take to end when its answer is whole."""

MAX_ERROR_BYTES = 64 * 1_024
"""Of an error's body; the rest is not read."""


class ProviderError(Exception):
    """Raised for an error that a provider sent instead of an answer, or in the middle of one."""

    def __init__(
        self,
        status_code: int | None,
        body: object,
        response: aiohttp.ClientResponse,
        *,
        is_final: bool = False,
    ) -> None:
        """Describe the error.

        Args:
            status_code: The HTTP status; `None` if that was a success.
            body: The decoded body, or the object in the stream.
            response: For its headers.
            is_final: It came in place of a stream: the same call would fail the same way.

        """
        super().__init__(str(body))
        self.is_final = is_final
        self.status_code = status_code
        self.body = body
        self.response = response


class ChunkBuffer:
    """What has come of an answer since the last chunk was passed on."""

    __slots__ = ("finish_reason", "is_answer", "reasoning", "text", "tool_calls", "usage")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.tool_calls: list[ToolCallChunk] = []
        self.is_answer = False
        """Whether anything came that belongs to an answer."""
        self.usage: dict[str, int] | None = None
        self.finish_reason: str | None = None

    def set_usage(self, input_tokens: object, output_tokens: object) -> None:
        """Set the counts of tokens; anything but a positive number counts as 0."""
        tokens = [n if type(n) is int and n > 0 else 0 for n in (input_tokens, output_tokens)]
        self.usage = {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }

    def flush(self) -> AIMessageChunk:
        """Return what has come as one chunk, and empty the buffer.

        An empty chunk is a sign of life.
        """
        more: dict[str, Any] = {}
        if self.finish_reason:
            more["response_metadata"] = {"finish_reason": self.finish_reason}
        if self.reasoning:
            # Where LangChain's own clients have it.
            more["additional_kwargs"] = {"reasoning_content": self.reasoning}
        if self.tool_calls:
            more["tool_call_chunks"], self.tool_calls = self.tool_calls, []
        chunk = AIMessageChunk(content=self.text, usage_metadata=self.usage, **more)
        self.text = self.reasoning = ""
        self.usage = self.finish_reason = None
        return chunk


class DirectModel(BaseChatModel):
    """What streaming protocols have in common: POST some JSON, read objects until the last."""

    model: str
    url: str
    headers: dict[str, str] = Field(repr=False)
    timeout: float
    """Seconds to connect."""
    silence_timeout: float
    """Seconds between two pieces of an answer, of whatever kind."""
    trusts_env: bool = True
    """Whether the proxies of the environment are used."""
    keeps_connections: bool = True
    """False for a server that closes a connection after its answer without announcing it."""

    @property
    def _llm_type(self) -> str:
        return f"chatkeep-{type(self).__name__.lower()}"

    @abstractmethod
    def _request_body(
        self, messages: Messages, stop: list[str] | None, params: dict[str, Any]
    ) -> dict[str, Any]:
        """The body of a request. `params` are the keyword arguments of `astream`."""

    @abstractmethod
    def _read_payload(self, payload: dict[str, Any], chunk: ChunkBuffer) -> None:
        """Add one object of an answer to the chunk. What is not as expected is left out."""

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  (LangChain's name)
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream an answer. Where nothing traces it, LangChain's book-keeping is left out.

        That keeps all chunks until the end, and costs as much as the call.
        """
        if config or self._is_traced:
            return super().astream(input, config, stop=stop, **kwargs)
        return self._chunks(self._messages(input), stop, kwargs)

    async def close(self) -> None:
        """Close the connections."""
        if "_connections" in self.__dict__:
            await self._connections.close()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._chunks(self._messages(messages), stop, kwargs)) as chunks:
            async for message in chunks:
                chunk = ChatGenerationChunk(message=message)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("This model is called on an event loop.")

    def _messages(self, prompt: LanguageModelInput) -> Messages:
        """The messages. LangChain takes pairs of texts too: those are not made into objects."""
        if isinstance(prompt, list) and all(isinstance(message, tuple) for message in prompt):
            return prompt
        return self._convert_input(prompt).to_messages()

    async def _chunks(
        self, messages: Messages, stop: list[str] | None, params: dict[str, Any]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Call the model, and pass on its answer. Raises `ProviderError` and aiohttp's errors."""
        request = self._connections.post(
            self.url,
            data=orjson.dumps(self._request_body(messages, stop, params)),
            proxy=self._proxy,
            # The conversation goes to the address that was configured, and nowhere else.
            allow_redirects=False,
        )
        # The prompt need not stay in memory while its answer comes.
        del messages
        async with request as response:
            del request
            if not 200 <= response.status < 300:
                raise ProviderError(response.status, await _body(response), response)
            reader, chunk = EventReader(), ChunkBuffer()
            while not reader.is_done:
                received = await response.content.readany()
                failure = None
                try:
                    payloads = reader.feed(received) if received else reader.end()
                    self._read(payloads, chunk, reader, response)
                # What came before it in the same read is passed on first.
                except Exception as raised:  # noqa: BLE001  (raised again below)
                    failure = raised
                if received or chunk.is_answer:
                    yield chunk.flush()
                if failure is not None:
                    raise failure
                if not received:
                    break
            if reader.has_payloads and not chunk.is_answer:
                raise ModelMisconfigured(NOT_AN_API)
            await _finish(response.content)

    def _read(
        self,
        payloads: Iterator[dict[str, Any]],
        chunk: ChunkBuffer,
        reader: EventReader,
        response: aiohttp.ClientResponse,
    ) -> None:
        """Read the objects that came. Raises `ProviderError` for one that is an error."""
        for payload in payloads:
            self._read_payload(payload, chunk)
            if payload.get("error"):
                raise ProviderError(None, payload, response, is_final=bool(reader.is_document))

    @cached_property
    def _connections(self) -> aiohttp.ClientSession:
        """One pool for the life of the model; as many connections as there are turns."""
        connector = aiohttp.TCPConnector(
            limit=0,
            force_close=not self.keeps_connections,
            keepalive_timeout=KEEPALIVE_SECONDS if self.keeps_connections else None,
            ssl=_trusted() if self._is_secure else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"chatkeep/{__version__}",
                **self.headers,
            },
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.timeout, sock_read=self.silence_timeout
            ),
        )

    @cached_property
    def _is_traced(self) -> bool:
        """Whether callbacks of LangChain's are set, by the environment or on the model."""
        return bool(AsyncCallbackManager.configure(None, self.callbacks).handlers)

    @property
    def _is_secure(self) -> bool:
        return self.url.startswith("https:")

    @cached_property
    def _proxy(self) -> str | None:
        """The proxy of the environment for this URL: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`."""
        parts = urlsplit(self.url)
        if not self.trusts_env or proxy_bypass(parts.hostname or ""):
            return None
        return getproxies().get(parts.scheme)


async def _finish(content: aiohttp.StreamReader) -> None:
    """Read the end of a whole answer, so that its connection can be used again."""
    if content.at_eof():
        return
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(LAST_BYTES_SECONDS):
            while not content.at_eof():
                await content.readany()


def _trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts, and Mozilla's for a machine that has none.

    OpenSSL reads the machine's from `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


async def _body(response: aiohttp.ClientResponse) -> object:
    """The decoded body of an error, as far as it is read; its text if it is no JSON."""
    body = bytearray()
    while len(body) < MAX_ERROR_BYTES and (received := await response.content.readany()):
        body += received
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
