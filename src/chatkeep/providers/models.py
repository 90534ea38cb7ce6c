"""The models on offer, by name: what they can do, and their answers, with retries."""

import asyncio
import functools
import random
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatkeep import telemetry
from chatkeep.domain.blocks import Blocks
from chatkeep.domain.errors import (
    ChatError,
    InvalidRequest,
    ModelMisconfigured,
    UnsupportedContent,
)
from chatkeep.domain.model import (
    Call,
    CallKind,
    Completion,
    MessageContent,
    Prompt,
    Role,
    Status,
    TurnOptions,
)
from chatkeep.providers import tokens
from chatkeep.providers.answer import Answer, Listener
from chatkeep.providers.call import complete
from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.demands import missing
from chatkeep.providers.messages import opening, sent_blocks
from chatkeep.providers.protocol import ProviderModel, ProviderOptions
from chatkeep.providers.python_model import ObjectModel
from chatkeep.providers.registry import ProviderSettings, create_model, split_alias
from chatkeep.providers.text import Cleaner

if TYPE_CHECKING:
    from chatkeep.providers.failures import Failure

logger = telemetry.logger("providers")

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20
"""A provider that demands a longer pause than this is not called again."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What the attempts of one answer have in common: see `Providers.answer`."""

    name: str
    model: ProviderModel
    prompt: Prompt
    listener: Listener
    kind: CallKind
    calls: list[Call]


class Providers:
    """The models on offer."""

    def __init__(
        self,
        names: tuple[str, ...],
        settings: ProviderSettings,
        options: ProviderOptions,
        *,
        hidden: tuple[str, ...] = (),
        objects: Mapping[str, object] | None = None,
    ) -> None:
        """Make the models, whose clients are made when they are first called.

        Args:
            names: Models that a request may choose, as `provider:name` or `alias=provider:name`;
                the first is the default.
            settings: Addresses and keys.
            options: Limits of every call.
            hidden: Models that only the server itself may call.
            objects: Objects of this program by the names of models, before the others.

        Raises:
            ModelMisconfigured: The file or the runtime of an embedded model is missing.

        """
        specs = dict(map(split_alias, names))
        objects = objects or {}
        self.names = tuple(dict.fromkeys((*objects, *specs)))
        self._options = options
        self._is_closed = False
        specs |= {name: spec for name, spec in map(split_alias, hidden) if name not in specs}
        self._models = {
            name: create_model(spec, settings, options) for name, spec in sorted(specs.items())
        }
        for name, target in objects.items():
            self._models[name] = ObjectModel(name, options, target)

    @property
    def default(self) -> str:
        """The model of a turn for which nothing else is chosen."""
        return self.names[0]

    def check(self, name: str) -> None:
        """Raise `InvalidRequest` unless the model is on offer."""
        if name not in self.names:
            # The name of a model from a file is a path of this machine.
            offer = ", ".join(known for known in self.names if "/" not in known)
            detail = f"is not available; choose from: {offer}" if offer else "is not available"
            raise InvalidRequest(
                f"#/model: {detail}", errors=[{"pointer": "#/model", "detail": detail}]
            )

    def check_demands(
        self,
        name: str,
        options: TurnOptions,
        messages: Sequence[MessageContent],
        *,
        has_tools: bool,
    ) -> None:
        """Raise `UnsupportedContent` if a model cannot do what a turn demands of it.

        What it cannot see of earlier messages is left out of its prompt.

        Args:
            name: The model.
            options: Those of the turn.
            messages: What it takes in.
            has_tools: Whether it offers tools.

        """
        model = self._models.get(name)
        if model is None:
            return
        demand = missing(model.capabilities, options, messages, has_tools=has_tools)
        if demand is not None:
            raise UnsupportedContent(f"{demand} Choose another model.")

    def capabilities(self, name: str) -> Capabilities:
        """What a model can do; of one that is no longer on offer, nothing in particular."""
        model = self._models.get(name)
        return Capabilities() if model is None else model.capabilities

    def provider(self, name: str) -> str:
        """The provider of a model on offer."""
        return self._models[name].provider

    def reruns(self, name: str) -> bool:
        """Whether a turn of a model is run again whose process has died."""
        model = self._models.get(name)
        return model is None or model.reruns

    @property
    def title_model(self) -> str | None:
        """The model that makes titles by default: the first on offer that is no agent."""
        plain = (name for name in self.names if not self.capabilities(name).is_agent)
        return next(plain, None)

    async def load(self, name: str) -> None:
        """Prepare a model without calling it. Raises `ChatError`."""
        await self._models[name].prepare()

    def advice(self, name: str) -> str:
        """What to check when a model on offer does not answer."""
        return self._models[name].advice

    @property
    def notice(self) -> str | None:
        """What users should know of the default model, as one line of Markdown."""
        return self._models[self.default].notice

    @property
    def system_prompts(self) -> dict[str, str]:
        """The default system prompt of each model that has one of its own."""
        prompts = {name: model.system_prompt for name, model in self._models.items()}
        return {name: prompt for name, prompt in prompts.items() if prompt is not None}

    def opening(self, name: str, first: Role) -> MessageContent | None:
        """The message that is sent before a context whose first message has this role."""
        return opening(self.capabilities(name), first)

    def sent_blocks(self, name: str, blocks: Blocks | None) -> Blocks | None:
        """Those of a message's blocks that a model is sent; `None` for a mere text."""
        return sent_blocks(self.capabilities(name), blocks)

    async def warm_up(self) -> None:
        """Make the client of the default model now, and start its process if it is embedded."""
        try:
            await self._models[self.default].prepare()
        except ChatError as error:
            logger.error(
                "model_not_ready", model=self.default, code=error.code, detail=error.detail
            )
        except Exception:
            logger.exception("model_not_ready", model=self.default)

    @property
    def is_busy(self) -> bool:
        """Whether an object of the operator's works that cannot be cancelled."""
        return self._options.loop_thread.is_busy

    async def close(self) -> None:
        """Close the connections, and stop the embedded models. Safe to repeat."""
        if self._is_closed:
            return
        self._is_closed = True
        for model in self._models.values():
            await model.close()
        await self._options.loop_thread.close()

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        listener: Listener,
        *,
        kind: CallKind,
        calls: list[Call],
        retries: int | None = None,
    ) -> Completion:
        """Have a model answer a prompt, and return how the answer ended.

        A call that fails before any text was passed on is repeated after a random pause that grows,
        or after the one that the provider demands. Log lines of the calls carry whatever the caller
        has bound with `telemetry.bound`.

        Args:
            name: The model, as `provider:name`.
            prompt: What it is sent.
            listener: Who gets the answer as it comes.
            kind: What the calls are counted as.
            calls: Gets an entry for each call that is made, whatever becomes of it.
            retries: Times that a call may be repeated; by default those of the options.

        Raises:
            ChatError: As `failures.translate_error` makes it of what the provider's client raised.

        """
        model = self._models.get(name)
        if model is None:
            raise ModelMisconfigured("This model is no longer available. Choose another one.")
        request = _Request(name, model, prompt, listener, kind, calls)
        return await self._complete(request, model.retries if retries is None else retries)

    async def _complete(self, request: _Request, retries: int) -> Completion:
        """Call a model until it has answered. Raises `ChatError`."""
        number = 0
        while True:
            answer, started = self._answer(request), time.monotonic()
            try:
                return await _call(request, answer)
            except Exception as raised:
                failure = self._failure(raised, request.model, answer)
                delay = _delay(number, failure.retry_after)
                logger.warning(
                    "model_call_failed",
                    model=request.name,
                    code=failure.error.code,
                    cause=type(raised).__name__,
                    **_where(raised, request.model),
                    attempt=number + 1,
                    seconds=round(time.monotonic() - started, 3),
                )
                is_last = number >= retries or answer.has_text or delay > LONGEST_DELAY_SECONDS
                if is_last or not failure.retryable:
                    raise failure.error from raised
            await asyncio.sleep(delay)
            number += 1

    def _answer(self, request: _Request) -> Answer:
        splits = request.model.capabilities.splits_characters
        make_cleaner = functools.partial(
            Cleaner, without_replacements=splits, redactor=self._options.redactor
        )
        return Answer(
            request.listener,
            make_cleaner,
            max_chars=self._options.max_reply_chars,
            offers_tools=bool(request.prompt.tools),
            has_steps=request.model.capabilities.is_agent,
        )

    def _failure(self, raised: Exception, model: ProviderModel, answer: Answer) -> "Failure":
        # It brings LangChain along.
        from chatkeep.providers.failures import translate_agent_error, translate_error

        if model.capabilities.is_agent:
            return translate_agent_error(raised, self._options.redactor)
        return translate_error(
            raised, self._options.redactor, model.access, has_begun=answer.has_begun
        )


async def _call(request: _Request, answer: Answer) -> Completion:
    """Call a model once, and count the call."""
    status = Status.FAILED
    try:
        completion = await complete(request.model, request.prompt, answer)
        status = Status.COMPLETED
        return completion
    except asyncio.CancelledError:
        status = Status.CANCELLED
        raise
    finally:
        request.calls.append(
            tokens.call(
                request.kind,
                request.name,
                status,
                prompt=request.prompt,
                usage=answer.usage,
                written_bytes=answer.bytes,
            )
        )


def _where(raised: Exception, model: ProviderModel) -> dict[str, str]:
    """Where the operator's own code has failed: without its words, which may be of a message."""
    frames = traceback.extract_tb(raised.__traceback__)
    if not model.capabilities.is_agent or not frames:
        return {}
    return {"where": f"{frames[-1].filename}:{frames[-1].lineno}"}


def _delay(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next attempt: what the provider demands, else exponential with jitter."""
    if retry_after is not None:
        return retry_after
    longest: float = min(FIRST_DELAY_SECONDS * 2**attempt, LONGEST_DELAY_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311  (jitter is no secret)
