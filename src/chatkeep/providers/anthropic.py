"""Anthropic, and every other server with its API, by LangChain's client."""

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from chatkeep.domain.blocks import Block, tool_calls
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

    from chatkeep.domain.model import Prompt

URL = "https://api.anthropic.com"


class AnthropicSettings(BaseSettings):
    """Where Anthropic's models are, and the key for them."""

    anthropic_api_key: Annotated[
        APIKey, variable("ANTHROPIC_API_KEY", "The API key for Anthropic.")
    ] = None
    anthropic_base_url: Annotated[
        BaseURL,
        variable(
            "ANTHROPIC_BASE_URL",
            "The base URL of `anthropic:` models, for another server with that API.",
        ),
    ] = None


class AnthropicModel(ProviderModel):
    """A model of Anthropic, or of a server with its API."""

    provider = "anthropic"
    capabilities = Capabilities(
        needs_user_first=True,
        reads_documents=True,
        fetches_urls=True,
        formats=frozenset({"json_schema"}),
        wants_signed_reasoning=True,
    )

    def __init__(self, name: str, settings: AnthropicSettings, options: ProviderOptions) -> None:
        super().__init__(name, options)
        self._key = revealed(settings.anthropic_api_key)
        self._url = settings.anthropic_base_url
        self.access = Access(
            host_of(self._url or URL),
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_KEY",
            is_public=not self._url,
        )

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        return "Check ANTHROPIC_API_KEY, the name of the model, and the network."

    def parameters(self, prompt: "Prompt") -> Parameters:
        """What a prompt demands, by the names of LangChain's client."""
        parameters = super().parameters(prompt)
        if prompt.tools:
            from langchain_anthropic import convert_to_anthropic_tool

            parameters["tools"] = [convert_to_anthropic_tool(tool) for tool in prompt.tools]
            if prompt.tool_choice is not None or prompt.parallel_tool_calls is False:
                choice = _tool_choice(prompt.tool_choice or "auto")
                if prompt.parallel_tool_calls is False and choice["type"] != "none":
                    choice["disable_parallel_tool_use"] = True
                parameters["tool_choice"] = choice
        elif names := _called(prompt):
            # A conversation with calls is refused without tools, though none is on offer now.
            schema = {"type": "object", "properties": {}}
            parameters["tools"] = [{"name": name, "input_schema": schema} for name in names]
            parameters["tool_choice"] = {"type": "none"}
        if prompt.response_format is not None:
            parameters["response_format"] = prompt.response_format
        if prompt.reasoning_effort is not None:
            parameters["reasoning_effort"] = prompt.reasoning_effort
        return parameters

    def create_client(self, _address: Address | None) -> "BaseChatModel":
        """Make the client. Raises `ModelMisconfigured` where Anthropic itself needs a key."""
        if not self._key and not self._url:
            raise missing_key("ANTHROPIC_API_KEY")

        from anthropic import AsyncClient
        from langchain_anthropic import ChatAnthropic

        from chatkeep.providers.http_client import connections, timeouts

        timeout = timeouts(self.options.timeout, self.options.silence_timeout)

        class Anthropic(ChatAnthropic):
            """With a pool of connections of its own."""

            http_async_client: Any = Field(exclude=True, repr=False)  # no type that pydantic checks

            @cached_property
            def _async_client(self) -> AsyncClient:
                params = {**self._client_params, "timeout": timeout}
                return AsyncClient(**params, http_client=self.http_async_client)

        # `Any`: the field's alias is not in the types of its class.
        address: dict[str, Any] = {"base_url": self._url} if self._url else {}
        return Anthropic(
            model_name=self.name,
            api_key=SecretStr(self._key or "none"),
            max_retries=0,
            http_async_client=connections(),
            **address,
        )


def _called(prompt: "Prompt") -> list[str]:
    """The names of the tools that were called in the conversation."""
    calls = (call for message in prompt.messages for call in tool_calls(message.blocks))
    return sorted({call.name for call in calls})


def _tool_choice(choice: str | Block) -> Block:
    """OpenAI's choice of tools in Anthropic's words.

    https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use
    """
    if isinstance(choice, str):
        return {"type": {"required": "any"}.get(choice, choice)}
    return {"type": "tool", "name": choice["function"]["name"]}
