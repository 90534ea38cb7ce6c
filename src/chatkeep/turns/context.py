"""The prompt of a turn. Pure: no clock, no I/O."""

from collections.abc import Mapping

import orjson

from chatkeep.domain.blocks import file_ids
from chatkeep.domain.context import paired
from chatkeep.domain.model import FileContent, Prompt, RunContext
from chatkeep.store.turns import StartedTurn


def turn_prompt(
    started: StartedTurn, files: Mapping[str, FileContent], run: RunContext | None = None
) -> Prompt:
    """Build a turn's prompt: system prompt, then the newest messages, then its own.

    Args:
        started: The turn.
        files: Those that its messages refer to; see `prompt_files`.
        run: What an agent has to know of the turn.

    """
    options, messages = started.turn.options, (*started.context, *started.messages)
    if any(message.blocks is not None for message in messages):
        messages = paired(messages)
    return Prompt(
        system=started.system_prompt,
        messages=messages,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        tools=() if started.tools is None else tuple(orjson.loads(started.tools)),
        tool_choice=options.tool_choice,
        response_format=options.response_format,
        reasoning_effort=options.reasoning_effort,
        top_p=options.top_p,
        stop=options.stop,
        parallel_tool_calls=options.parallel_tool_calls,
        files=files,
        run=run,
    )


def prompt_files(started: StartedTurn) -> list[str]:
    """The ids of the files that a turn's prompt shows."""
    return [
        file_id
        for message in (*started.context, *started.messages)
        if message.blocks is not None
        for file_id in file_ids(message.blocks)
    ]
