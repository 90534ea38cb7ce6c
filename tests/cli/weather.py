"""An agent that answers as a `python:` model: it runs in the server's own process."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolCall,
    ToolMessage,
)


async def reached(name: str) -> None:
    """Wait until the test lets the agent pass this point, by a file of its name."""
    while not (Path(os.environ["POINTS"]) / name).exists():
        await asyncio.sleep(0.01)


async def agent(messages: list[BaseMessage]) -> AsyncIterator[BaseMessage]:
    """Think, call a tool, then two at once, and reply."""
    if "quietly" not in messages[-1].text:
        for piece in ("I should ", "look it ", "up."):
            yield AIMessageChunk(content=[{"type": "reasoning", "reasoning": piece}])
        await reached("call")
    text = "" if "quietly" in messages[-1].text else "Let me *look*."
    call = ToolCall(name="get_weather", args={"city": "Oslo", "days": [1, 2]}, id="call_1")
    yield AIMessage(text, tool_calls=[call], id="one")
    await reached("result")
    yield ToolMessage("rain,\n  7 °C\x1b[2J", tool_call_id="call_1", id="two")
    calls = [ToolCall(name=name, args={}, id=name) for name in ("clock", "compass")]
    yield AIMessage("", tool_calls=calls, id="three")
    yield ToolMessage("", tool_call_id="clock", id="four")
    yield ToolMessage("no needle", tool_call_id="compass", status="error", id="five")
    await reached("reply")
    yield AIMessageChunk(content="It **rains**.", id="six")
