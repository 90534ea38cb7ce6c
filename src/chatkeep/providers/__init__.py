"""A model by name, its stream, its failures in our words. LangChain's types stay in here."""

from chatkeep.providers.clients import ProviderOptions
from chatkeep.providers.embedded import EmbeddedOptions
from chatkeep.providers.models import Providers
from chatkeep.providers.tokens import estimated

__all__ = ["EmbeddedOptions", "ProviderOptions", "Providers", "estimated"]
