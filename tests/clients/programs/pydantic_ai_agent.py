"""Pydantic AI: each function is a way to use it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
)


class CityWeather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def _model(kind: str) -> Model:
    if kind == "completions":
        return OpenAIChatModel("scripted")
    chained = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    return OpenAIResponsesModel("scripted", settings=chained if kind == "chained" else None)


def _agent(kind: str) -> Agent:
    agent = Agent(_model(kind), instructions="Be brief.")

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Looks up the weather."""
        assert city == "Oslo"
        return "7 degrees"

    return agent


async def turns(kind: str, *texts: str) -> dict[str, Any]:
    """Runs that each begin with the messages of those before."""
    agent = _agent(kind)
    messages: Any = []
    replies = []
    for text in texts:
        result = await agent.run(text, message_history=messages)
        messages = result.all_messages()
        replies.append(result.output)
    return {"replies": replies, "last": messages[-1].provider_response_id}


async def parsed(kind: str, text: str) -> dict[str, Any]:
    """An answer as an object."""
    result = await Agent(_model(kind), output_type=NativeOutput(CityWeather)).run(text)
    return result.output.model_dump()


async def streamed(kind: str, text: str) -> dict[str, Any]:
    """A stream that may break, and the answer to the same message again."""
    agent = _agent(kind)
    pieces = []
    error = again = None
    try:
        async with agent.run_stream(text) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                pieces.append(piece)
    except Exception as caught:
        error = type(caught).__name__
        again = (await agent.run(text)).output
    return {"text": "".join(pieces), "error": error, "again": again}


WAYS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    way.__name__: way for way in (turns, parsed, streamed)
}
print(json.dumps(asyncio.run(WAYS[sys.argv[1]](*sys.argv[2:]))))
