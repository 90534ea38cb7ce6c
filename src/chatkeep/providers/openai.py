"""OpenAI, and every other server with its API.

Its models are called by the server's own client, or by LangChain's: for those that answer on the
Responses API only, and wherever the setting `model_client` demands it.
"""

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.protocol import (
    Access,
    Address,
    Parameters,
    ProviderModel,
    ProviderOptions,
    host_of,
    missing_key,
)
from chatkeep.providers.variables import APIKey, BaseURL, revealed, variable

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.outputs import ChatGenerationChunk
    from langchain_openai import ChatOpenAI

    from chatkeep.domain.model import Prompt

URL = "https://api.openai.com/v1"

_RESPONSES_ONLY = re.compile(r"codex|^gpt-5(\.\d+)?-pro|^gpt-5\.6-sol")


class OpenAISettings(BaseSettings):
    """Where OpenAI's models are, and the key for them."""

    openai_api_key: Annotated[
        APIKey,
        variable(
            "OPENAI_API_KEY", "The API key for OpenAI, or for the server at `OPENAI_BASE_URL`."
        ),
    ] = None
    openai_base_url: Annotated[
        BaseURL,
        variable(
            "OPENAI_BASE_URL",
            "The base URL of `openai:` models, for another server with that API.",
        ),
    ] = None


class OpenAIModel(ProviderModel):
    """A model of OpenAI, or of a server with its API."""

    provider = "openai"
    capabilities = Capabilities(reads_documents=True, fetches_urls=True)

    def __init__(self, name: str, settings: OpenAISettings, options: ProviderOptions) -> None:
        super().__init__(name, options)
        self._key = revealed(settings.openai_api_key)
        self._url = settings.openai_base_url
        self.access = Access(
            host_of(self._url or URL), "OPENAI_BASE_URL", "OPENAI_API_KEY", is_public=not self._url
        )

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        return "Check OPENAI_API_KEY, OPENAI_BASE_URL, the name of the model, and the network."

    def parameters(self, prompt: "Prompt") -> Parameters:
        """What a prompt demands, by OpenAI's names."""
        return super().parameters(prompt) | openai_parameters(prompt)

    def create_client(self, _address: Address | None) -> "BaseChatModel":
        """Make the client. Raises `ModelMisconfigured` where OpenAI itself needs a key."""
        # A server of one's own often needs no key; a client needs one all the same.
        if not self._key and not self._url:
            raise missing_key("OPENAI_API_KEY")
        is_direct = self.options.is_direct and has_chat_completions(self.name)
        create = direct_client if is_direct else langchain_client
        return create(self.name, url=self._url, key=self._key or "none", options=self.options)


def openai_parameters(prompt: "Prompt") -> Parameters:
    """What a prompt demands beside the limits, by the names of OpenAI's chat completions."""
    if not (prompt.tools or prompt.response_format or prompt.reasoning_effort):
        return {}
    tools: Parameters = {}
    if prompt.tools:
        tools = {
            "tools": list(prompt.tools),
            "tool_choice": prompt.tool_choice,
            "parallel_tool_calls": prompt.parallel_tool_calls,
        }
    demands = {
        **tools,
        "response_format": prompt.response_format,
        "reasoning_effort": prompt.reasoning_effort,
    }
    return {name: demand for name, demand in demands.items() if demand is not None}


def has_chat_completions(model: str) -> bool:
    """False for models of OpenAI's that answer on the newer Responses API only."""
    return _RESPONSES_ONLY.search(model) is None


def account_headers() -> dict[str, str]:
    """The headers of the organization and the project, as OpenAI's own client sends them.

    https://platform.openai.com/docs/api-reference/authentication
    """
    headers = {
        "OpenAI-Organization": os.environ.get("OPENAI_ORG_ID"),
        "OpenAI-Project": os.environ.get("OPENAI_PROJECT_ID"),
    }
    return {name: value for name, value in headers.items() if value}


def direct_client(
    model: str,
    *,
    url: str | None,
    key: str,
    options: ProviderOptions,
    is_local: bool = False,
) -> "BaseChatModel":
    """The server's own client.

    Args:
        model: Its name in requests.
        url: The base of the API; `None` is OpenAI's.
        key: Sent as a bearer token.
        options: The limits of time.
        is_local: It is this server's own llama.cpp, on loopback.

    """
    from chatkeep.providers.chat_completions import ChatCompletions

    return ChatCompletions(
        model=model,
        url=f"{(url or URL).rstrip('/')}/chat/completions",
        headers={"Authorization": f"Bearer {key}", **account_headers()},
        timeout=options.timeout,
        silence_timeout=options.silence_timeout,
        # No proxy of the environment leads to loopback.
        trusts_env=not is_local,
        # llama.cpp's server closes connections after an answer: the next call would find one that
        # is just closing.
        keeps_connections=not is_local,
    )


def langchain_client(
    model: str,
    *,
    url: str | None,
    key: str,
    options: ProviderOptions,
    is_local: bool = False,
) -> "BaseChatModel":
    """LangChain's client. The parameters are those of `direct_client`."""
    import httpx2

    from chatkeep.providers.http_client import connections, timeouts

    limits = {"limits": httpx2.Limits(max_keepalive_connections=0)} if is_local else {}
    return _langchain_class()(
        model=model,
        base_url=url,
        api_key=SecretStr(key),
        timeout=timeouts(options.timeout, options.silence_timeout),
        stream_chunk_timeout=None,
        max_retries=0,
        stream_usage=True,
        http_async_client=connections(trust_env=not is_local, **limits),
    )


@cache
def _langchain_class() -> type["ChatOpenAI"]:
    from langchain_openai import ChatOpenAI

    class OpenAI(ChatOpenAI):
        """Adds what LangChain leaves out of a chunk: reasoning, and the words of a refusal."""

        # `Any`: the types of LangChain's method.
        def _convert_chunk_to_generation_chunk(
            self, chunk: dict[str, Any], *rest: Any
        ) -> "ChatGenerationChunk | None":
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
