"""A LangChain chat model that speaks a provider's streaming protocol itself.

A provider's own client builds and checks objects for every chunk, which costs more than the rest
of the server. Here a chunk is decoded once, and what arrives together is passed on together. Only
text is spoken: no tools, no pictures.
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
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from chatkeep import __version__
from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.event_reader import NOT_AN_API, EventReader

SPEAKERS = {"human": "user", "ai": "assistant", "system": "system"}

Said = list[tuple[str, Any]]
"""Who says what: `user`, `assistant` or `system`, and a text."""

KEEPALIVE_SECONDS = 30
"""How long an unused connection is kept for the next call: a handshake costs round trips."""

LAST_BYTES_SECONDS = 0.2
"""How long the end of a response is waited for when its answer is whole."""

MAX_ERROR_BYTES = 64 * 1_024


class ProviderError(Exception):
    """What a provider said instead of an answer; its HTTP status if that was one of failure."""

    def __init__(
        self,
        status_code: int | None,
        body: object,
        response: aiohttp.ClientResponse,
        *,
        is_final: bool = False,
    ) -> None:
        """Take the status, the decoded body, and the response with its headers.

        `is_final`: it came in place of a stream, so that the same call would end the same way.
        """
        super().__init__(str(body))
        self.is_final = is_final
        self.status_code = status_code
        self.body = body
        self.response = response


class Heard:
    """What has been heard of an answer since it was last passed on."""

    __slots__ = ("calls_tool", "finish_reason", "is_answer", "reasoning", "text", "usage")

    def __init__(self) -> None:
        """Begin an answer."""
        self.text = ""
        self.reasoning = ""
        self.calls_tool = False
        self.is_answer = False
        """Whether anything came that belongs to an answer."""
        self.usage: dict[str, int] | None = None
        self.finish_reason: str | None = None

    def count(self, read: object, written: object) -> None:
        """Take note of token counts; what is no count is none."""
        tokens = [n if type(n) is int and n > 0 else 0 for n in (read, written)]
        self.usage = {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }

    def take(self) -> AIMessageChunk:
        """What there is to pass on, which then is passed on; empty where it was a sign of life."""
        more: dict[str, Any] = {}
        if self.finish_reason:
            more["response_metadata"] = {"finish_reason": self.finish_reason}
        if self.reasoning:
            # Where LangChain's own clients have it.
            more["additional_kwargs"] = {"reasoning_content": self.reasoning}
        if self.calls_tool:
            more["tool_call_chunks"] = [tool_call_chunk()]
        chunk = AIMessageChunk(content=self.text, usage_metadata=self.usage, **more)
        self.text = self.reasoning = ""
        self.usage = self.finish_reason = None
        self.calls_tool = False
        return chunk


class DirectModel(BaseChatModel):
    """What the protocols have in common: POST some JSON, read lines of JSON until the last."""

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
    """False for a server that closes a connection behind its answer without saying so."""

    @property
    def _llm_type(self) -> str:
        return f"chatkeep-{type(self).__name__.lower()}"

    @abstractmethod
    def _asked(self, said: Said, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        """The body of a request."""

    @abstractmethod
    def _hear(self, data: Any, heard: Heard) -> None:
        """Read one object of an answer. What is not as expected is left out."""

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
        return self._told(self._said(input), stop, kwargs)

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
        async with aclosing(self._told(self._said(messages), stop, kwargs)) as told:
            async for message in told:
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
        raise NotImplementedError("This model is asked on an event loop.")

    def _said(self, given: LanguageModelInput) -> Said:
        """Who says what. Pairs are what LangChain takes too: here they are not made into more."""
        if isinstance(given, list) and all(isinstance(said, tuple) for said in given):
            return given
        messages = self._convert_input(given).to_messages()
        return [(SPEAKERS[message.type], message.content) for message in messages]

    async def _told(
        self, said: Said, stop: list[str] | None, given: dict[str, Any]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Ask, and pass on what is told. Raises `ProviderError` and what aiohttp raises."""
        asking = self._connections.post(
            self.url,
            data=orjson.dumps(self._asked(said, stop, given)),
            proxy=self._proxy,
            # The conversation goes to the address that was configured, and nowhere else.
            allow_redirects=False,
        )
        # The prompt is not needed while its answer comes.
        del said
        async with asking as response:
            del asking
            if not 200 <= response.status < 300:
                raise ProviderError(response.status, await _body(response), response)
            reader, heard = EventReader(), Heard()
            while not reader.is_done:
                received = await response.content.readany()
                failure = None
                try:
                    payloads = reader.feed(received) if received else reader.end()
                    self._read(payloads, heard, reader, response)
                # What came before it in the same read is passed on first.
                except Exception as raised:  # noqa: BLE001  (raised again below)
                    failure = raised
                if received or heard.is_answer:
                    yield heard.take()
                if failure is not None:
                    raise failure
                if not received:
                    break
            if reader.has_payloads and not heard.is_answer:
                raise ModelMisconfigured(NOT_AN_API)
            await _finish(response.content)

    def _read(
        self,
        payloads: Iterator[dict[str, Any]],
        heard: Heard,
        reader: EventReader,
        response: aiohttp.ClientResponse,
    ) -> None:
        """Hear the objects that came. Raises `ProviderError` for one that is an error."""
        for payload in payloads:
            self._hear(payload, heard)
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
        """Whether the environment or whoever made the model asks for traces of its calls."""
        return bool(AsyncCallbackManager.configure(None, self.callbacks).handlers)

    @property
    def _is_secure(self) -> bool:
        return self.url.startswith("https:")

    @cached_property
    def _proxy(self) -> str | None:
        parts = urlsplit(self.url)
        if not self.trusts_env or proxy_bypass(parts.hostname or ""):
            return None
        return getproxies().get(parts.scheme)


async def _finish(content: aiohttp.StreamReader) -> None:
    """Read the end of a whole answer, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(None if content.at_eof() else LAST_BYTES_SECONDS):
            while not content.at_eof():
                await content.readany()


def _trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts, and those of the web for one that has none."""
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
