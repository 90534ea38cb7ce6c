"""What a run answers, and how LangChain is configured for it."""

from dataclasses import dataclass
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from chatkeep.domain.model import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What an object answers, and for which attempt of which turn."""

    messages: tuple[BaseMessage, ...]
    """All that the model reads, oldest first, each with its id. A system message comes first, and
    only if the session or the turn has one."""
    new_count: int
    """How many of the last messages are the turn's own."""
    session_id: str
    turn_id: str
    attempt: int
    """From 1."""
    tenant: str
    parent_turn_id: str | None
    """The turn that wrote the message before; `None` at a session's beginning, or after a message
    that was imported."""

    @property
    def new_messages(self) -> tuple[BaseMessage, ...]:
        """The turn's own."""
        return self.messages[len(self.messages) - self.new_count :]

    @property
    def text(self) -> str:
        """The text of the newest message."""
        return self.messages[-1].text

    @property
    def run_id(self) -> UUID:
        """The id of the run in a trace: the same for the same turn and attempt."""
        return uuid5(NAMESPACE_URL, f"chatkeep:{self.turn_id}:{self.attempt}")

    @property
    def config(self) -> RunnableConfig:
        """The configuration of the run."""
        identity = {
            "thread_id": thread_id(self.tenant, self.session_id),
            "session_id": self.session_id,
            "turn_id": self.turn_id,
            "attempt": self.attempt,
            "tenant": self.tenant,
        }
        return RunnableConfig(configurable=identity, metadata=dict(identity), run_id=self.run_id)


def thread_id(tenant: str, session_id: str) -> str:
    """Return the name of a session's thread in a checkpointer; no two sessions have the same.

    It is the session's id for the default tenant, else `tenant/session_id`. As both may contain a
    slash, those of the tenant are percent-encoded, and the default tenant is named where the
    session's id has one.
    """
    if tenant == DEFAULT_TENANT and "/" not in session_id:
        return session_id
    return f"{quote(tenant, safe='')}/{session_id}"
