"""A model by name, its stream, its failures in our words. LangChain's types stay in here."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatkeep.providers.answer import Listener
    from chatkeep.providers.models import Providers
    from chatkeep.providers.protocol import ProviderOptions
    from chatkeep.providers.tokens import estimated

__all__ = ["Listener", "ProviderOptions", "Providers", "estimated"]

_MODULES = {
    "Listener": "answer",
    "ProviderOptions": "protocol",
    "Providers": "models",
    "estimated": "tokens",
}


def __getattr__(name: str) -> object:
    """Import a name when it is used: the settings, which `--help` reads, need none of them."""
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
