"""Calls of tools and their results: whatever happens, what a provider is sent it accepts."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatkeep.domain.blocks import (
    ToolCall,
    ToolResult,
    call_block,
    result_block,
    tool_calls,
    tool_result,
)
from chatkeep.domain.context import UNANSWERED
from chatkeep.domain.errors import InvalidRequest
from chatkeep.domain.ids import message_id
from chatkeep.domain.model import (
    Branch,
    Completion,
    Message,
    MessageContent,
    Prompt,
    Role,
    Status,
    TurnRequest,
)
from chatkeep.domain.times import rfc3339
from chatkeep.providers.messages import prompt_messages
from chatkeep.providers.protocol import ProviderModel, ProviderOptions
from chatkeep.providers.registry import ProviderSettings, create_model
from chatkeep.store import leases, session_changes, turn_creation, turn_records, turns
from chatkeep.store import messages as stored
from chatkeep.store.database import Store
from chatkeep.store.session_changes import SessionChanges
from chatkeep.store.turns import StartedTurn
from chatkeep.turns.context import turn_prompt
from tests import upstream
from tests.store.conftest import RUNNER, open_store, run

OPTIONS = ProviderOptions(timeout=1, first_token_timeout=1, retries=0, max_reply_chars=10)
KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OLLAMA_HOST": "http://127.0.0.1:1"}
MODELS = ("openai:any", "anthropic:any", "ollama:any")
CLOCK = itertools.count(1_700_000_000_000_000, 1_000)
TOOLS = '[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}]'


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[ProviderModel, Any]]:
    made = {name: create_model(name, ProviderSettings(**KEYS), OPTIONS) for name in MODELS}
    return {name: (model, model.create_client(None)) for name, model in made.items()}


def check_accepted(models: dict[str, tuple[ProviderModel, Any]], prompt: Prompt) -> None:
    """Build the body that each provider would be sent; what it would refuse is an error."""
    model, client = models["openai:any"]
    messages: Any = prompt_messages(model.capabilities, prompt)
    upstream._check_openai(client._request_body(messages, None, model.parameters(prompt)))
    model, client = models["anthropic:any"]
    messages = prompt_messages(model.capabilities, prompt)
    body = client._get_request_payload(messages, **model.parameters(prompt))
    upstream._check_anthropic(body)
    model, client = models["ollama:any"]
    messages = client._convert_input(prompt_messages(model.capabilities, prompt)).to_messages()
    upstream._check_ollama(client._chat_params(messages, **model.parameters(prompt)))


def check_paired(messages: tuple[MessageContent, ...]) -> None:
    """Each call is followed directly by its result, and each result follows its call."""
    pending: list[str] = []
    for message in messages:
        result = tool_result(message.blocks)
        if result is not None:
            assert result.call_id in pending
            pending.remove(result.call_id)
            continue
        assert pending == []
        pending = [call.id for call in tool_calls(message.blocks)]
    assert pending == []


def calls(count: int, *, ids: str) -> tuple[ToolCall, ...]:
    names = ("look", "functions.look up", "查", "n" * 100)
    return tuple(
        ToolCall(f"{ids}{number}", names[len(ids) % 4], {"at": number}) for number in range(count)
    )


def step(role: Role, content: str, *blocks: dict[str, Any]) -> Message:
    return Message(
        message_id(), role, content, rfc3339(next(CLOCK)), Status.COMPLETED, None, None,
        blocks,
    )  # fmt: skip


class Conversation:
    """A session to which random things happen, as its clients and its server do them."""

    def __init__(self, store: Store, name: str, models: Any, choose: random.Random) -> None:
        self.store, self.name, self.models, self.choose = store, name, models, choose
        self.limit = 5
        self.turns: list[str] = []

    async def post(self, *contents: MessageContent, **more: Any) -> None:
        """A turn from its beginning to its end, which may come in the middle of its work."""
        digest = random.randbytes(8)
        request = TurnRequest(self.name, digest, contents, **more)
        created = await self.store.write(
            turn_creation.create_turn,
            tenant="default",
            request=request,
            ids=turn_creation.NewIds.of(request),
            runner=RUNNER,
            max_queued=16,
            make_title=lambda _message, _at: "A title",
            at=next(CLOCK),
        )
        started = created.started
        self.turns.append(created.turn.turn_id)
        attempt = 1
        self.check(started)
        if self.choose.random() < 0.2:
            started, attempt = await self.crash(started), 2
        await self.end(started, attempt)
        receipt = await self.store.read(
            turn_records.receipt, tenant="default", turn_id=started.turn.turn_id
        )
        sent = turn_prompt(started, {}).messages
        assert [(m.role, m.content) for m in receipt.messages] == [m[:2] for m in sent]

    def check(self, started: StartedTurn) -> None:
        prompt = turn_prompt(started, {})
        check_paired(prompt.messages)
        check_accepted(self.models, prompt)
        read = [m for m in started.context if not self.is_step(m)]
        is_open = tool_result(started.messages[0].blocks) is not None
        # The question of an exchange that goes on is read, and not counted.
        assert not is_open or any(m.role is Role.USER for m in started.context)
        assert len(read) <= self.limit + is_open
        if started.context and not is_open:
            assert not self.is_step(started.context[0])

    @staticmethod
    def is_step(message: MessageContent) -> bool:
        return bool(tool_calls(message.blocks)) or tool_result(message.blocks) is not None

    async def crash(self, started: StartedTurn) -> StartedTurn:
        turn = started.turn
        orphan = leases.Orphan(turn.turn_id, "default", started.session_pk, RUNNER.owner, 1)
        again = await self.store.write(
            turns.take_over, orphan=orphan, runner=RUNNER, max_attempts=3
        )
        assert isinstance(again, StartedTurn)
        assert (again.context, again.messages) == (started.context, started.messages)
        return again

    async def end(self, started: StartedTurn, attempt: int) -> None:
        choose = self.choose
        # The ids of calls that models number anew are the same in each turn.
        ids = choose.choice(["call_", f"{random.randbytes(4).hex()}_", "调用", "x" * 60, "a b."])
        steps: list[Message] = []
        for number in range(choose.choice([0, 0, 1, 2])):
            made = calls(choose.randint(1, 3), ids=f"{ids}{number}_")
            steps.append(step(Role.ASSISTANT, "look()", *map(call_block, made)))
            answered = made if choose.random() < 0.7 else made[: choose.randint(0, len(made))]
            steps += (
                step(Role.TOOL, "seen", result_block(ToolResult(call.id, call.name, False)))
                for call in answered
            )
        status = choose.choice([Status.COMPLETED] * 3 + [Status.CANCELLED, Status.FAILED])
        text = choose.choice(["An answer.", "An answer.", ""])
        blocks = None
        if status is Status.COMPLETED and (not text or choose.random() < 0.3):
            blocks = tuple(map(call_block, calls(choose.randint(1, 3), ids=ids)))
            blocks = ({"type": "text"}, *blocks) if text else blocks
        outcome = turns.TurnEnd(status, text, Completion(), blocks=blocks, steps=tuple(steps))
        ended = await self.store.write(
            turns.finish_turn,
            turn_id=started.turn.turn_id,
            owner=RUNNER.owner,
            attempt=attempt,
            outcome=outcome,
            runner=RUNNER,
            at=next(CLOCK),
        )
        assert ended is not None

    async def history(self) -> list[Message]:
        path = await self.store.read(
            stored.path, tenant="default", session_id=self.name, limit=None
        )
        listed: list[Message] = await self.store.read(
            stored.of_path, session_pk=path.session_pk, seqs=path.seqs[::-1]
        )
        return listed

    async def answer(self) -> None:
        """Answer some of the calls that the branch ends with, and one that is not there."""
        open_calls: list[str] = []
        for message in await self.history():
            result = tool_result(message.blocks)
            if result is not None:
                open_calls = [call for call in open_calls if call != result.call_id]
            else:
                open_calls = [call.id for call in tool_calls(message.blocks)]
        wrong = MessageContent(Role.TOOL, "x", (result_block(ToolResult("none", None, False)),))
        with pytest.raises(InvalidRequest):
            await self.post(wrong)
        if not open_calls:
            return
        answered = self.choose.sample(open_calls, self.choose.randint(1, len(open_calls)))
        results = [
            MessageContent(Role.TOOL, "done", (result_block(ToolResult(call, None, False)),))
            for call in answered
        ]
        if self.choose.random() < 0.3:
            results.append(MessageContent(Role.USER, "and another thing"))
        await self.post(*results)

    async def branch(self) -> None:
        parent = self.choose.choice([*await self.history(), None])
        branch = Branch(parent.id if parent else None)
        await self.post(MessageContent(Role.USER, "from here"), branch=branch)

    async def regenerate(self) -> None:
        await self.post(regenerate=self.choose.choice(self.turns))

    async def resize(self) -> None:
        self.limit = self.choose.randint(0, 8)
        await self.store.write(
            session_changes.change,
            tenant="default",
            session_id=self.name,
            values=SessionChanges(context_messages=self.limit),
            expected=None,
            seen=lambda record: record,
            at=next(CLOCK),
        )


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(1_000_000))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**32),
    names=st.lists(
        st.sampled_from(["ask", "ask", "answer", "answer", "branch", "regenerate", "resize"]),
        max_size=14,
    ),
)
def test_no_provider_is_ever_sent_a_call_without_its_result_or_a_result_without_its_call(
    store: Store, models: Any, numbers: Iterator[int], seed: int, names: list[str]
) -> None:
    talk = Conversation(store, f"s{next(numbers)}", models, random.Random(seed))

    async def work() -> None:
        question = MessageContent(Role.USER, "A question?")
        await talk.post(question)
        for name in names:
            await (talk.post(question) if name == "ask" else getattr(talk, name)())

    run(work)


def test_a_call_that_nobody_answered_is_answered_when_it_is_sent(database: str) -> None:
    store = open_store(database)

    async def work() -> None:
        request = TurnRequest("s", b"1", (MessageContent(Role.USER, "look"),), tools=TOOLS)
        params: dict[str, Any] = {
            "tenant": "default",
            "runner": RUNNER,
            "max_queued": 1,
            "make_title": lambda *_: "A title",
            "at": 1,
        }
        first = await store.write(
            turn_creation.create_turn, request=request, ids=turn_creation.NewIds(), **params
        )
        assert first.started.tools == TOOLS
        (call,) = calls(1, ids="call_")
        outcome = turns.TurnEnd(Status.COMPLETED, "", Completion(), blocks=(call_block(call),))
        await store.write(
            turns.finish_turn,
            turn_id=first.turn.turn_id,
            owner=RUNNER.owner,
            attempt=1,
            outcome=outcome,
            runner=RUNNER,
            at=1,
        )
        request = TurnRequest("s", b"2", (MessageContent(Role.USER, "never mind"),))
        second = await store.write(
            turn_creation.create_turn, request=request, ids=turn_creation.NewIds(), **params
        )
        sent = [(m.role, m.text) for m in turn_prompt(second.started, {}).messages]
        assert sent == [
            (Role.USER, "look"),
            (Role.ASSISTANT, f'{call.name}({{"at":0}})'),
            (Role.TOOL, UNANSWERED),
            (Role.USER, "never mind"),
        ]

    run(work)
    store.close()
