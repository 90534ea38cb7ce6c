"""Calls of models through `Providers`, before a server that answers what a test wants."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, ModelFailed
from chatkeep.domain.model import Call, CallKind, Completion, MessageContent, Prompt, Role, Status
from chatkeep.providers import Providers
from chatkeep.providers.answer import Answer, Listener, ReplyTooLongError
from chatkeep.providers.protocol import ProviderModel, ProviderOptions
from chatkeep.providers.registry import ProviderSettings, create_model
from chatkeep.providers.text import Cleaner
from chatkeep.titles import choice_prompt
from tests.unit.test_own_client import END, Provider, event

PROMPT = Prompt(None, (MessageContent(Role.USER, "Hello?"),))
MODEL = "openai:any"


class Answered:
    """What came of a call."""

    def __init__(self, provider: Provider, **options: Any) -> None:
        self.texts: list[str] = []
        self.calls: list[Call] = []
        self.lines: list[Any] = []
        self.completion: Completion | None = None
        self.error: ChatError | None = None
        with capture_logs([merge_contextvars]) as self.lines:
            asyncio.run(self._run(provider, options))

    async def _run(self, provider: Provider, options: dict[str, Any]) -> None:
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        limits = {"timeout": 20, "first_token_timeout": 20, "retries": 0, "max_reply_chars": 99}
        providers = Providers(
            (MODEL,),
            ProviderSettings.model_construct(openai_base_url=f"http://{host}:{port}"),
            ProviderOptions(**{**limits, **options}),
        )
        try:
            with telemetry.bound(turn_id="turn_1"):
                self.completion = await providers.answer(
                    MODEL,
                    PROMPT,
                    Listener(self.texts.append),
                    kind=CallKind.REPLY,
                    calls=self.calls,
                )
        except ChatError as error:
            self.error = error
        finally:
            await providers.close()
            server.close()

    @property
    def text(self) -> str:
        return "".join(self.texts)


def whole(*texts: str) -> list[bytes]:
    return [*map(event, texts), event(finish_reason="stop"), END]


@pytest.mark.parametrize(("limit", "reason"), [(9, "length"), (10, "length"), (11, "stop")])
def test_a_reply_that_reaches_the_limit_ends_there_and_counts(limit: int, reason: str) -> None:
    answered = Answered(Provider(*whole("0123456789")), max_reply_chars=limit)

    assert answered.text == "0123456789"
    assert answered.completion is not None
    assert answered.completion.finish_reason == reason
    assert [call.status for call in answered.calls] == [Status.COMPLETED]
    assert answered.lines == []


def test_what_follows_the_limit_is_not_read() -> None:
    texts: list[str] = []
    answer = Answer(Listener(texts.append), Cleaner, max_chars=10)
    answer.read(AIMessageChunk("01234"))
    answer.read(AIMessageChunk("5678"))

    with pytest.raises(ReplyTooLongError):
        answer.read(AIMessageChunk("9ab"))
    assert "".join(texts) == "0123456789ab"


def test_the_log_lines_of_a_turns_calls_carry_what_their_caller_has_bound() -> None:
    answered = Answered(Provider(b'{"error": "busy"}', status=500), retries=1)

    assert isinstance(answered.error, ModelFailed)
    assert [line["event"] for line in answered.lines] == ["model_call_failed"] * 2
    assert [line["attempt"] for line in answered.lines] == [1, 2]
    assert {line["turn_id"] for line in answered.lines} == {"turn_1"}
    assert [call.status for call in answered.calls] == [Status.FAILED] * 2


def test_a_call_is_not_repeated_once_text_has_come() -> None:
    answered = Answered(Provider(event("Half an"), END), retries=2)

    assert isinstance(answered.error, ModelFailed)
    assert answered.text == "Half an"
    assert len(answered.calls) == 1


def model(name: str) -> ProviderModel:
    options = ProviderOptions(timeout=1, first_token_timeout=1, retries=0, max_reply_chars=1)
    return create_model(name, ProviderSettings.model_construct(), options)


def test_the_grammar_of_a_title_is_sent_in_place_of_the_models_own_sampling() -> None:
    prompt = choice_prompt("How do I cook lentil soup?")
    assert prompt is not None

    parameters = model("local:smollm2-135m-instruct").parameters(prompt)

    assert parameters["extra_body"] == {"grammar": prompt.grammar}
    assert parameters["temperature"] == 0.0
    assert parameters["max_tokens"] == prompt.max_tokens


def test_a_turns_temperature_wins_over_the_embedded_models_own() -> None:
    embedded = model("local:smollm2-135m-instruct")
    chosen = Prompt(None, PROMPT.messages, temperature=0.7)

    assert embedded.parameters(PROMPT)["extra_body"]["temperature"] == 0.1
    assert embedded.parameters(chosen)["temperature"] == 0.7
    assert "temperature" not in embedded.parameters(chosen)["extra_body"]
    assert embedded.parameters(chosen)["extra_body"]["repeat_penalty"] == 1.05


@pytest.mark.parametrize("name", ["openai:any", "anthropic:any", "ollama:any"])
def test_a_provider_that_knows_no_grammar_is_sent_none(name: str) -> None:
    prompt = choice_prompt("How do I cook lentil soup?")
    assert prompt is not None

    assert "grammar" not in str(model(name).parameters(prompt))
    assert not model(name).capabilities.obeys_grammar
    assert not model(name).capabilities.is_small


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("openai:any", "OPENAI_API_KEY"),
        ("anthropic:any", "ANTHROPIC_API_KEY"),
        ("ollama:any", "`ollama pull any`"),
        ("local:smollm2-135m-instruct", "enough memory"),
    ],
)
def test_each_provider_has_advice_for_its_models(name: str, words: str) -> None:
    assert words in model(name).advice
