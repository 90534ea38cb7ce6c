"""Messages that nodes of a graph write at the same time, brought into one order."""

import re
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk

from chatkeep.providers.python.sequence import MessageSequence
from tests.unit.scripted_objects import Run, call


def script(key: str, *, has_calls: bool) -> list[AIMessage]:
    """Two pieces of a message, the end of its pieces, and the message in the state."""
    calls = [call(key)] if has_calls else []
    return [
        AIMessageChunk(content=f"<{key}>", id=key),
        AIMessageChunk(content="+", id=key),
        AIMessageChunk(content="", id=key, tool_calls=calls, chunk_position="last"),
        AIMessage(f"<{key}>+", id=key, tool_calls=calls),
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2), st.randoms())
def test_simultaneous_messages_come_out_whole_and_each_step_follows_its_text(
    order: list[tuple[int, bool]], random: Random
) -> None:
    scripts: dict[str, list[AIMessage]] = {}
    for number, (task, has_calls) in enumerate(order):
        messages = scripts.setdefault(str(task), [])
        messages.extend(script(f"{task}.{number}", has_calls=has_calls))
    sequence = MessageSequence(())
    outputs: list[Any] = []
    while tasks := [task for task, messages in scripts.items() if messages]:
        task = random.choice(tasks)
        message = scripts[task].pop(0)
        if isinstance(message, AIMessageChunk):
            outputs += sequence.add_piece(message, task, message.id)
        else:
            outputs += sequence.add_messages([message])
            outputs += sequence.end_task(task, has_results=False)
    shape = Run([*outputs, *sequence.end(), None]).shape

    texts = [text for one in shape if isinstance(one, str) for text in one.split("\n\n")]
    assert len(texts) == len(order)
    assert all(re.fullmatch(r"<[0-9.]+>\+", text) for text in texts)
    steps = [one for one in shape if isinstance(one, tuple)]
    assert len(steps) == sum(has_calls for _, has_calls in order)
    for before, step in pairwise(shape):
        if isinstance(step, tuple):
            assert before.endswith(f"<{step[0]}>+")


def test_the_first_message_is_not_buffered() -> None:
    sequence = MessageSequence(())
    pieces = script("a", has_calls=False)

    assert [output.text for output in sequence.add_piece(pieces[0], "1", "r")] == ["<a>"]
    assert [output.text for output in sequence.add_piece(pieces[1], "1", "r")] == ["+"]


def test_a_message_that_never_ended_does_not_hold_up_the_next_node() -> None:
    sequence = MessageSequence(())
    broken, following = script("a", has_calls=False), script("b", has_calls=False)
    sequence.add_piece(broken[0], "1", "r")
    sequence.end_task("1", has_results=False)

    outputs = sequence.add_piece(following[0], "2", "s")
    assert [output.text for output in outputs] == ["\n\n", "<b>"]


def test_pieces_of_one_call_are_of_one_message_whatever_their_ids() -> None:
    sequence, run = MessageSequence(()), object()
    sequence.add_piece(AIMessageChunk(content="", id="resp_1"), "1", run)
    outputs = sequence.add_piece(AIMessageChunk(content="a", id="lc_run--1"), "1", run)
    last = AIMessageChunk(content="", id="lc_run--1", chunk_position="last")
    sequence.add_piece(last, "1", run)

    assert [output.text for output in outputs] == ["a"]
    assert sequence.add_messages([AIMessage("a", id="resp_1")]) == []
    # Another call may come with the same object.
    outputs = sequence.add_piece(AIMessageChunk(content="b", id="lc_run--2"), "1", run)
    assert [output.text for output in outputs] == ["\n\n", "b"]
