"""LangChain's client of OpenAI: each function is a way to use it."""

import json
import sys
from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@tool
def get_weather(city: str) -> str:
    """Looks up the weather."""
    assert city == "Oslo"
    return "7 degrees"


class CityWeather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


MODELS: dict[str, dict[str, Any]] = {
    "completions": {"use_responses_api": False},
    "responses": {"use_responses_api": True},
    "chained": {"use_responses_api": True, "use_previous_response_id": True},
}


def model(kind: str) -> ChatOpenAI:
    return ChatOpenAI(model="scripted", **MODELS[kind])


def _record(replies: list[str], last: AIMessage) -> dict[str, Any]:
    usage = last.usage_metadata or {}
    return {
        "replies": replies,
        "last": last.response_metadata.get("id"),
        "tokens": usage.get("total_tokens", 0),
    }


def turns(kind: str, *texts: str) -> dict[str, Any]:
    """All messages are given to the model each time; with `chained` it sends the new ones."""
    bound = model(kind).bind_tools([get_weather])
    messages: list[Any] = []
    replies = []
    for text in texts:
        messages.append(HumanMessage(text))
        messages.append(bound.invoke(messages))
        while messages[-1].tool_calls:
            messages += [
                ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
                for call in messages[-1].tool_calls
            ]
            messages.append(bound.invoke(messages))
        replies.append(messages[-1].text)
    return _record(replies, messages[-1])


def agent(kind: str, *texts: str) -> dict[str, Any]:
    """An agent that calls the tool itself."""
    made = create_agent(model(kind), tools=[get_weather], system_prompt="Be brief.")
    messages: list[Any] = []
    replies = []
    for text in texts:
        messages = made.invoke({"messages": [*messages, HumanMessage(text)]})["messages"]
        replies.append(messages[-1].text)
    return _record(replies, messages[-1])


def parsed(kind: str, text: str) -> dict[str, Any]:
    """An answer as an object."""
    made = model(kind).with_structured_output(CityWeather)
    return CityWeather.model_validate(made.invoke(text)).model_dump()


def streamed(kind: str, text: str) -> dict[str, Any]:
    """A stream that may break, and the answer to the same message again."""
    pieces = []
    error = None
    try:
        for chunk in model(kind).stream(text):
            pieces.append(chunk.text)
    except Exception as caught:
        error = type(caught).__name__
    again = model(kind).invoke(text) if error else None
    return {"text": "".join(pieces), "error": error, "again": again.text if again else None}


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    way.__name__: way for way in (turns, agent, parsed, streamed)
}
print(json.dumps(WAYS[sys.argv[1]](*sys.argv[2:])))
