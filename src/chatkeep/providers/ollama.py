"""Ollama, on this machine or another, by LangChain's client."""

import ipaddress
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_settings import BaseSettings

from chatkeep.addresses import NO_URL, is_ip_address, web_address
from chatkeep.domain.blocks import Block
from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.protocol import (
    Access,
    Address,
    Parameters,
    ProviderModel,
    ProviderOptions,
    host_of,
)
from chatkeep.providers.variables import variable

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from chatkeep.domain.model import Prompt

PORT = 11_434
URL = f"http://127.0.0.1:{PORT}"


def ollama_address(address: str) -> str:
    """Return the URL that Ollama's own programs make of `OLLAMA_HOST`: each part may be left out.

    https://github.com/ollama/ollama/blob/main/envconfig/config.go. LangChain's client takes a user
    name and a password too. Raises `ValueError`, which does not repeat the address.
    """
    scheme, separator, rest = address.rpartition("://")
    bare = rest.strip("[]")
    if ":" in bare and is_ip_address(bare):
        rest = f"[{bare}]"
    try:
        url = urlsplit(f"{scheme or 'http'}://{rest}")
        port = url.port or (None if separator else PORT)
    except ValueError:
        raise ValueError(NO_URL) from None
    host = url.hostname or "127.0.0.1"
    if is_ip_address(host) and ipaddress.ip_address(host).is_unspecified:
        # A server listens on every address; a client needs one of them.
        host = "::1" if ":" in host else "127.0.0.1"
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    url = url._replace(netloc=netloc, path=url.path.rstrip("/"))
    web_address(url.geturl())
    login = rest.partition("/")[0].rpartition("@")[0]
    return url._replace(netloc=f"{login}@{netloc}" if login else netloc).geturl()


def _check_host(host: str | None) -> str | None:
    return ollama_address(host) if host else None


class OllamaSettings(BaseSettings):
    """Where Ollama is."""

    ollama_host: Annotated[
        str | None,
        AfterValidator(_check_host),
        variable(
            "OLLAMA_HOST",
            "The address of Ollama, if not its default port on this machine: a URL, or, as for "
            "Ollama itself, `host`, `host:port` or `:port`.",
        ),
    ] = None


class OllamaModel(ProviderModel):
    """A model that Ollama runs."""

    provider = "ollama"
    capabilities = Capabilities(chooses_tools=False)

    def __init__(self, name: str, settings: OllamaSettings, options: ProviderOptions) -> None:
        super().__init__(name, options)
        self._url = settings.ollama_host
        self.access = Access(host_of(self._url or URL), "OLLAMA_HOST")

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        pull = f"`ollama pull {self.name}` downloads the model."
        return f"Is Ollama running at the address in OLLAMA_HOST? {pull}"

    def parameters(self, prompt: "Prompt") -> Parameters:
        """What a prompt demands, by Ollama's names: https://docs.ollama.com/api/chat.

        Ollama itself decides whether a tool is called.
        """
        limits = {
            "temperature": prompt.temperature,
            "num_predict": prompt.max_tokens,
            "top_p": prompt.top_p,
            "stop": prompt.stop,
        }
        options = {name: limit for name, limit in limits.items() if limit is not None}
        parameters: Parameters = {"options": options} if options else {}
        if prompt.tools and prompt.tool_choice != "none":
            parameters["tools"] = list(prompt.tools)
        if prompt.response_format is not None:
            parameters["format"] = _format(prompt.response_format)
        if prompt.reasoning_effort is not None:
            effort = prompt.reasoning_effort
            parameters["reasoning"] = effort if effort in _EFFORTS else effort not in _OFF
        return parameters

    def create_client(self, _address: Address | None) -> "BaseChatModel":
        """Make the client."""
        from langchain_ollama import ChatOllama

        from chatkeep.providers.http_client import reject_non_stream

        timeout = self.options.timeout
        return ChatOllama(
            model=self.name,
            base_url=self._url,
            async_client_kwargs={
                # To connect, between two reads, between two writes, for a free connection.
                "timeout": (timeout, self.options.silence_timeout, timeout, timeout),
                "event_hooks": {"response": [reject_non_stream]},
                "follow_redirects": False,
            },
        )


_EFFORTS, _OFF = {"low", "medium", "high"}, {"none", "minimal"}


def _format(response_format: Block) -> object:
    """OpenAI's form of a reply in Ollama's words: a JSON schema, or any JSON."""
    schema = (response_format.get("json_schema") or {}).get("schema")
    return schema if isinstance(schema, dict) else "json"
