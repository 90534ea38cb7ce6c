"""The providers. To add one, write its file as the others are written, and name it here."""

import re
from collections.abc import Callable

from chatkeep.providers.anthropic import AnthropicModel, AnthropicSettings
from chatkeep.providers.embedded import EmbeddedModel, EmbeddedSettings
from chatkeep.providers.ollama import OllamaModel, OllamaSettings
from chatkeep.providers.openai import OpenAIModel, OpenAISettings
from chatkeep.providers.protocol import ProviderModel, ProviderOptions
from chatkeep.providers.python_model import PythonModel


class ProviderSettings(EmbeddedSettings, OllamaSettings, AnthropicSettings, OpenAISettings):
    """The settings of all providers, in the order of `PROVIDERS`: the last base comes first."""


PROVIDERS: dict[str, Callable[[str, ProviderSettings, ProviderOptions], ProviderModel]] = {
    OpenAIModel.provider: OpenAIModel,
    AnthropicModel.provider: AnthropicModel,
    OllamaModel.provider: OllamaModel,
    EmbeddedModel.provider: EmbeddedModel,
    PythonModel.provider: PythonModel,
}
"""What makes a provider's models, by what is before the colon in their names."""


_ALIAS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)


def split_alias(name: str) -> tuple[str, str]:
    """The name of a model, and what it is: `alias=provider:name`, or both are `provider:name`."""
    match = _ALIAS.fullmatch(name)
    return (match[1], match[2]) if match else (name, name)


def create_model(
    full_name: str, settings: ProviderSettings, options: ProviderOptions
) -> ProviderModel:
    """Make the model that is called `provider:name`. Raises `ModelMisconfigured`."""
    provider, _, name = full_name.partition(":")
    return PROVIDERS[provider](name, settings, options)
