"""Objects of the operator's own Python code as models: any Runnable, graph, agent or function."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.messages import langchain_messages
from chatkeep.providers.protocol import (
    Address,
    Output,
    ProviderModel,
    ProviderOptions,
    SilenceLimits,
)
from chatkeep.providers.python.loading import Holder, PythonSpec, load, resolve
from chatkeep.providers.python.loop_thread import CLOSE_SECONDS, STALL_SECONDS

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from chatkeep.domain.model import Prompt
    from chatkeep.providers.python.requests import RunRequest
    from chatkeep.providers.registry import ProviderSettings

WEEK = 604_800


class ObjectModel(ProviderModel):
    """An object of this program, which runs on the event loop that the server runs on."""

    provider = "python"
    capabilities = Capabilities(
        calls_tools=False,
        reads_documents=True,
        fetches_urls=True,
        formats=frozenset(),
        reasons_by_effort=False,
        is_agent=True,
    )
    # The server's is none of its business.
    system_prompt = ""

    def __init__(self, name: str, options: ProviderOptions, target: object) -> None:
        super().__init__(name, options)
        self._source = target
        self._target: object = None
        self._loading = asyncio.Lock()
        self._holder = Holder()

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        return "The server's log says what it raised."

    @property
    def retries(self) -> int:
        """None: what an object has done is not done again."""
        return 0

    @property
    def silence_limits(self) -> SilenceLimits:
        """None but that of the turn: a tool may take its time."""
        return SilenceLimits(WEEK, WEEK)

    def create_client(self, _address: Address | None) -> "BaseChatModel":
        """There is none."""
        raise ModelMisconfigured

    async def prepare(self) -> None:
        """Make what answers, if it is to be made. Raises `ModelMisconfigured`."""
        await self._loaded()

    async def close(self) -> None:
        """Leave what the object was made with."""
        if self._holder.is_open:
            await self._holder.close()

    @asynccontextmanager
    async def stream(self, prompt: "Prompt") -> AsyncIterator[AsyncIterator[Output]]:
        """Run the object. Raises `ModelMisconfigured`."""
        yield self._run(await self._loaded(), self._request(prompt))

    def _run(self, target: object, request: "RunRequest") -> AsyncIterator[Output]:
        # It brings LangChain along.
        from chatkeep.providers.python import runs

        return runs.stream(target, request)

    def _request(self, prompt: "Prompt") -> "RunRequest":
        from chatkeep.providers.python.requests import RunRequest

        run = prompt.run
        if run is None:
            raise ModelMisconfigured("This model answers turns only.")
        return RunRequest(
            messages=tuple(langchain_messages(self.capabilities, prompt)),
            new_count=run.new_count,
            session_id=run.session_id,
            turn_id=run.turn_id,
            attempt=run.attempt,
            tenant=run.tenant,
            parent_turn_id=run.parent_turn_id,
        )

    async def _loaded(self) -> object:
        """What answers. Raises `ModelMisconfigured`, whose cause has the reason."""
        async with self._loading:
            if self._target is None:
                try:
                    self._target = await self._make()
                except ModelMisconfigured as error:
                    from chatkeep import telemetry  # `--help` needs no logger

                    reason = f"{type(error.__cause__).__name__}: {error.__cause__}"
                    logger = telemetry.logger("providers")
                    logger.error("model_not_loaded", model=self.name, reason=reason)
                    raise
            return self._target

    async def _make(self) -> object:
        return await resolve(self._source, self._holder)


class PythonModel(ObjectModel):
    """An object that the settings name.

    It is imported when it is first used, and runs on an event loop in a thread of its own.
    """

    def __init__(self, name: str, _settings: "ProviderSettings", options: ProviderOptions) -> None:
        super().__init__(name, options, None)
        try:
            self._spec = PythonSpec.parse(name)
        except ValueError as error:
            raise ModelMisconfigured(f"python:{name} {error}.") from None

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        return "Start the server where the module can be imported, and look into its log."

    @property
    def reruns(self) -> bool:
        """Whether a turn is run again whose process has died."""
        return self._spec.reruns

    async def close(self) -> None:
        """Leave what the object was made with, on the loop where it is."""
        if self._holder.is_open:
            with suppress(TimeoutError):
                async with asyncio.timeout(STALL_SECONDS + CLOSE_SECONDS):
                    await self.options.loop_thread.run(self._holder.close)

    def _run(self, target: object, request: "RunRequest") -> AsyncIterator[Output]:
        from chatkeep.providers.python import runs

        return self.options.loop_thread.iterate(lambda: runs.stream(target, request))

    async def _make(self) -> object:
        async def make() -> object:
            return await resolve(load(self._spec), self._holder)

        # On the loop on which it will run: what is made may belong to that.
        return await self.options.loop_thread.run(make)
