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
from collections.abc import AsyncGenerator, AsyncIterator
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
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from chatkeep import __version__

SPEAKERS = {"human": "user", "ai": "assistant", "system": "system"}

Said = list[tuple[str, Any]]
"""Who says what: `user`, `assistant` or `system`, and a text."""

KEEPALIVE_SECONDS = 30
"""How long an unused connection is kept for the next call: a handshake costs round trips."""

LAST_BYTES_SECONDS = 0.2
"""How long the end of a response is waited for when its answer is whole."""

MAX_LINE_BYTES = 64 * 1_024 * 1_024
MAX_ERROR_BYTES = 64 * 1_024


class ProviderError(Exception):
    """What a provider said instead of an answer, with the HTTP status that it gave or named."""

    def __init__(
        self, status_code: int | None, body: object, response: aiohttp.ClientResponse
    ) -> None:
        """Take the status, the decoded body, and the response with its headers."""
        super().__init__(str(body))
        self.status_code = status_code
        self.body = body
        self.response = response


class Heard:
    """What has been heard of an answer since it was last passed on."""

    __slots__ = ("finish_reason", "is_whole", "text", "usage")

    def __init__(self) -> None:
        """Begin an answer."""
        self.text = ""
        self.usage: dict[str, int] | None = None
        self.finish_reason: str | None = None
        self.is_whole = False
        """Whether nothing more will come."""

    def count(self, read: object, written: object) -> None:
        """Take note of token counts; what is no count is none."""
        tokens = [n if type(n) is int and n > 0 else 0 for n in (read, written)]
        self.usage = {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }

    def take(self) -> AIMessageChunk | None:
        """What there is to pass on, which then is passed on."""
        if not self.text and self.usage is None and self.finish_reason is None:
            return None
        ended = {"finish_reason": self.finish_reason} if self.finish_reason else {}
        chunk = AIMessageChunk(
            content=self.text, usage_metadata=self.usage, response_metadata=ended
        )
        self.text, self.usage, self.finish_reason = "", None, None
        return chunk


class DirectModel(BaseChatModel):
    """What the protocols have in common: POST some JSON, read lines of JSON until the last."""

    model: str
    url: str
    headers: dict[str, str] = Field(repr=False)
    timeout: float
    """Seconds to connect, and between two pieces of the answer."""
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
        """Read one decoded line of an answer."""

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
            self.url, data=orjson.dumps(self._asked(said, stop, given)), proxy=self._proxy
        )
        # The prompt is not needed while its answer comes.
        del said
        async with asking as response:
            del asking
            if response.status != 200:
                answer = await response.content.read(MAX_ERROR_BYTES)
                raise ProviderError(
                    response.status, _decoded(answer, answer.decode("latin-1")), response
                )
            heard = Heard()
            begun = b""
            while data := await response.content.readany():
                *lines, begun = (begun + data).split(b"\n")
                if len(begun) > MAX_LINE_BYTES:
                    raise ValueError("a line without end")
                for line in lines:
                    self._read(line, heard, response)
                if (chunk := heard.take()) is not None:
                    yield chunk
                if heard.is_whole:
                    await _finish(response.content)
                    return

    def _read(self, line: bytes, heard: Heard, response: aiohttp.ClientResponse) -> None:
        """Read a line of server-sent events whose data are JSON on one line, as providers send."""
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            heard.is_whole = True
            return
        decoded = _decoded(data)
        if not isinstance(decoded, dict):
            raise TypeError("not an object")
        if (error := decoded.get("error")) is not None:
            code = error.get("code") if isinstance(error, dict) else None
            raise ProviderError(code if type(code) is int else None, decoded, response)
        self._hear(decoded, heard)

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
                total=None, sock_connect=self.timeout, sock_read=self.timeout
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


def _decoded(data: bytes, otherwise: object = None) -> Any:
    """JSON, also with halves of characters in it, which the fast reader refuses."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            if otherwise is not None:
                return otherwise
            raise
