"""A model by name, its stream, its failures in our words. LangChain's types stay in here."""

from chatkeep.providers.llama_process import EmbeddedOptions
from chatkeep.providers.models import Providers
from chatkeep.providers.protocol import ProviderOptions
from chatkeep.providers.tokens import estimated

__all__ = ["EmbeddedOptions", "ProviderOptions", "Providers", "estimated"]
