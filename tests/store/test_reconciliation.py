"""A client's own copy of a conversation, and where that is in its session's tree."""

from typing import Any

from chatkeep.domain.blocks import ToolCall, ToolResult, call_block, result_block
from chatkeep.domain.model import Branch, MessageContent, Role, Status, TurnRequest
from chatkeep.store import reconciliation
from chatkeep.store.database import Store
from chatkeep.store.reconciliation import MatchedBranch
from chatkeep.store.turn_creation import CreatedTurn
from tests.store.conftest import accept, end, post, run


async def turn(store: Store, message: str | None, reply: str, **more: Any) -> Any:
    accepted = await accept(store, "s", message, **more)
    await end(store, accepted.turn.turn_id, reply)
    return accepted.turn


async def turn_of(store: Store, messages: list[MessageContent], reply: str, **more: Any) -> Any:
    created = await post(store, TurnRequest("s", b"digest", tuple(messages), **more))
    assert isinstance(created, CreatedTurn)
    await end(store, created.turn.turn_id, reply)
    return created.turn


def dialogue(*texts: str) -> list[MessageContent]:
    """Messages of the user and of the assistant by turns."""
    roles = (Role.USER, Role.ASSISTANT)
    return [MessageContent(roles[number % 2], text) for number, text in enumerate(texts)]


async def match(store: Store, *texts: str, session_id: str = "s") -> MatchedBranch:
    return await store.read(
        reconciliation.find_branch,
        tenant="default",
        session_id=session_id,
        wanted=dialogue(*texts),
    )


def test_a_conversation_that_goes_on_is_found_up_to_its_new_message(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one", "ONE")
        two = await turn(store, "two", "TWO")
        assert await match(store, "one", "ONE", "two", "TWO", "three") == MatchedBranch(
            4, two.message_id, two.user_message_id, None
        )
        assert await match(store, "one", " ONE\n") == MatchedBranch(
            2, one.message_id, one.user_message_id, None
        )

    run(work)


def test_nothing_is_found_in_a_session_that_is_not_there_or_another_tenants(store: Store) -> None:
    async def work() -> None:
        await turn(store, "one", "ONE")
        assert await match(store, "one", session_id="t") == MatchedBranch()
        assert await match(store, "other") == MatchedBranch()
        other = await store.read(
            reconciliation.find_branch, tenant="other", session_id="s", wanted=dialogue("one")
        )
        assert other == MatchedBranch()

    run(work)


def test_a_conversation_that_is_all_there_names_the_turn_of_its_last_message(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one", "ONE")
        two = await turn(store, "two", "TWO")
        assert await match(store, "one", "ONE", "two") == MatchedBranch(
            3, two.user_message_id, one.message_id, two.turn_id
        )
        assert await match(store, "one") == MatchedBranch(1, one.user_message_id, None, one.turn_id)

    run(work)


def test_a_branch_that_is_not_the_active_one_is_found_too(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one", "ONE")
        two = await turn(store, "two", "TWO")
        await turn(store, "other", "OTHER", branch=Branch(one.message_id))
        await turn(store, "first", "FIRST", branch=Branch(None))
        matched = await match(store, "one", "ONE", "two", "TWO", "three")
        assert (matched.count, matched.message_id) == (4, two.message_id)
        assert (await match(store, "one", "ONE", "other", "OTHER", "three")).count == 4
        assert (await match(store, "first", "FIRST", "two")).count == 2

    run(work)


def test_of_replies_that_are_the_same_that_one_is_chosen_that_goes_on(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one", "same")
        two = await turn(store, "two", "TWO")
        again = await turn(store, None, "same", regenerate=one.turn_id)
        matched = await match(store, "one", "same", "two", "TWO", "three")
        assert (matched.count, matched.message_id) == (4, two.message_id)
        # Where that makes no difference, it is the one that is shown.
        assert (await match(store, "one", "same", "four")).message_id == again.message_id

    run(work)


def test_a_message_with_another_role_call_or_file_is_another_message(store: Store) -> None:
    call, result = ToolCall("call_1", "look", {"b": 1, "a": 2}), ToolResult("call_1", None, False)

    async def work() -> None:
        picture = {"type": "image", "file_id": "0" * 64}
        question = (MessageContent(Role.USER, "one", ({"type": "text"}, picture)),)
        called = MessageContent(Role.ASSISTANT, "look({})", (call_block(call),))
        answer = MessageContent(Role.TOOL, "seen", (result_block(result),))
        stored = await turn_of(store, [*question, called, answer], "ONE")
        sorted_call = call_block(call._replace(args={"a": 2, "b": 1}))
        wanted = [
            *question,
            MessageContent(Role.ASSISTANT, "", (sorted_call,)),
            answer,
            MessageContent(Role.ASSISTANT, "ONE"),
        ]

        async def count(number: int, other: MessageContent) -> int:
            changed = [*wanted[:number], other, *wanted[number + 1 :]]
            matched = await store.read(
                reconciliation.find_branch, tenant="default", session_id="s", wanted=changed
            )
            return matched.count

        assert await count(0, wanted[0]) == 4
        assert await count(0, MessageContent(Role.USER, "one")) == 0
        assert (
            await count(
                1, MessageContent(Role.ASSISTANT, "", (call_block(call._replace(name="x")),))
            )
            == 1
        )
        assert await count(2, MessageContent(Role.USER, "seen")) == 2
        assert await count(3, MessageContent(Role.ASSISTANT, "TWO")) == 3
        # A client gets only the texts of a turn whose agent calls its tools by itself.
        matched = await store.read(
            reconciliation.find_branch,
            tenant="default",
            session_id="s",
            wanted=[question[0], wanted[3], MessageContent(Role.USER, "two")],
        )
        assert (matched.count, matched.message_id) == (2, stored.message_id)

    run(work)


def test_a_long_branch_is_compared_to_its_end(store: Store) -> None:
    async def work() -> None:
        texts = [f"{number}" for number in range(reconciliation.CHUNK * 2 + 1)]
        stored = await turn_of(store, dialogue(*texts), "END")
        assert (await match(store, *texts, "END", "more")).count == len(texts) + 1
        assert (await match(store, *texts)).turn_id == stored.turn_id

    run(work)


def test_a_question_without_a_reply_goes_into_the_turn_of_the_next_one(store: Store) -> None:
    def questions(*texts: str) -> list[MessageContent]:
        return [MessageContent(Role.USER, text) for text in texts]

    async def count(wanted: list[MessageContent]) -> int:
        matched = await store.read(
            reconciliation.find_branch, tenant="default", session_id="s", wanted=wanted
        )
        return matched.count

    async def work() -> None:
        one = await accept(store, "s", "one")
        await end(store, one.turn.turn_id, "", Status.FAILED)
        await turn(store, "two", "TWO")
        assert await count(questions("one")) == 1
        # Its model would not read the first.
        assert await count([*questions("one", "two"), *dialogue("", "TWO")[1:]]) == 0
        both = await turn_of(store, questions("one", "two"), "TWO", branch=Branch(None))
        wanted = [*questions("one", "two"), *dialogue("", "TWO")[1:], *questions("three")]
        assert await count(wanted) == 3
        three = await accept(store, "s", "three", branch=Branch(both.message_id))
        assert three.started is not None
        assert [message.text for message in three.started.context] == ["one", "two", "TWO"]

    run(work)
