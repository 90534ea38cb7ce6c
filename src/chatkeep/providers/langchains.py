"""LangChain's own clients of OpenAI, Anthropic and Ollama, made to behave as the server's own does.

Each package is imported when its first model is made. What their HTTP client is given here: no
redirects, no web page in place of an answer, and a pool that can be closed.
"""

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import Field, SecretStr

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.event_reader import NOT_AN_API

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_openai import ChatOpenAI

NOT_STREAMED = "The model's provider does not stream its answers, which Chatkeep needs."


async def refuse_what_is_no_stream(response: Any) -> None:
    """Raise `ModelMisconfigured` for a success that is a web page, or a whole document.

    A hook of httpx and of httpx2: called with each response before its body is read.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not 200 <= response.status_code < 300:
        return
    if kind == "text/html":
        raise ModelMisconfigured(NOT_AN_API)
    # A stream has no length; some servers call theirs JSON all the same.
    if kind == "application/json" and "content-length" in response.headers:
        raise ModelMisconfigured(NOT_STREAMED)


def _connections(**more: Any) -> httpx2.AsyncClient:
    hooks = {"response": [refuse_what_is_no_stream]}
    return httpx2.AsyncClient(event_hooks=hooks, follow_redirects=False, **more)


def _timeout(seconds: float, silence_seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, read=silence_seconds)


def openai(
    model: str,
    *,
    url: str | None,
    key: str,
    timeout: float,
    silence_timeout: float,
    is_local: bool,
) -> "BaseChatModel":
    """OpenAI's client. A local server is reached without proxies, by a connection for each call."""
    # llama.cpp's server closes connections behind an answer.
    limits = {"limits": httpx2.Limits(max_keepalive_connections=0)} if is_local else {}
    return _openai_class()(
        model=model,
        base_url=url,
        api_key=SecretStr(key),
        timeout=_timeout(timeout, silence_timeout),
        stream_chunk_timeout=None,
        max_retries=0,
        stream_usage=True,
        http_async_client=_connections(trust_env=not is_local, **limits),
    )


@cache
def _openai_class() -> type["ChatOpenAI"]:
    from langchain_core.outputs import ChatGenerationChunk
    from langchain_openai import ChatOpenAI

    class OpenAI(ChatOpenAI):
        """Keeps what LangChain leaves out of a chunk: reasoning, and a refusal's words."""

        def _convert_chunk_to_generation_chunk(
            self, chunk: dict[str, Any], *rest: Any
        ) -> ChatGenerationChunk | None:
            generation = super()._convert_chunk_to_generation_chunk(chunk, *rest)
            choices = chunk.get("choices")
            delta = (choices[0].get("delta") or {}) if choices else {}
            if generation is not None:
                message = generation.message
                if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                    message.additional_kwargs["reasoning_content"] = str(reasoning)
                if isinstance(refusal := delta.get("refusal"), str) and not message.content:
                    message.content = refusal
            return generation

    return OpenAI


def anthropic(
    model: str, *, url: str | None, key: str, timeout: float, silence_timeout: float
) -> "BaseChatModel":
    """Anthropic's client."""
    from anthropic import AsyncClient
    from langchain_anthropic import ChatAnthropic

    class Anthropic(ChatAnthropic):
        """With a pool of connections of its own."""

        http_async_client: Any = Field(exclude=True, repr=False)

        @cached_property
        def _async_client(self) -> AsyncClient:
            given = {**self._client_params, "timeout": _timeout(timeout, silence_timeout)}
            return AsyncClient(**given, http_client=self.http_async_client)

    address: dict[str, Any] = {"base_url": url} if url else {}
    return Anthropic(
        model_name=model,
        api_key=SecretStr(key),
        max_retries=0,
        http_async_client=_connections(),
        **address,
    )


def ollama(
    model: str, *, host: str | None, timeout: float, silence_timeout: float
) -> "BaseChatModel":
    """Ollama's client."""
    from langchain_ollama import ChatOllama

    return ChatOllama(
        model=model,
        base_url=host,
        async_client_kwargs={
            "timeout": (timeout, silence_timeout, timeout, timeout),
            "event_hooks": {"response": [refuse_what_is_no_stream]},
            "follow_redirects": False,
        },
    )
