"""OpenAI's Agents SDK: each function is a way to carry a conversation on."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIConversationsSession,
    Runner,
    function_tool,
    set_default_openai_client,
)
from openai import AsyncOpenAI


@function_tool
def get_weather(city: str) -> str:
    """Looks up the weather."""
    assert city == "Oslo"
    return "7 degrees"


CLIENT = AsyncOpenAI()
AGENT = Agent(
    name="Assistant",
    instructions="Be brief.",
    model="scripted",
    tools=[get_weather],
    model_settings=ModelSettings(store=True),
)


async def plain(*messages: str) -> dict[str, Any]:
    """The program keeps all items, and sends them with every run."""
    items: list[Any] = []
    replies = []
    for message in messages:
        result = await Runner.run(AGENT, [*items, {"role": "user", "content": message}])
        items = result.to_input_list()
        replies.append(result.final_output)
    return {"replies": replies, "last": result.last_response_id}


async def conversation(*messages: str) -> dict[str, Any]:
    """The server has the items, in a conversation."""
    made = await CLIENT.conversations.create()
    results = [await Runner.run(AGENT, text, conversation_id=made.id) for text in messages]
    return {"replies": [result.final_output for result in results], "conversation": made.id}


async def chained(*messages: str) -> dict[str, Any]:
    """Every call of the model continues the one before it."""
    replies = []
    last = None
    for message in messages:
        result = await Runner.run(
            AGENT, message, auto_previous_response_id=True, previous_response_id=last
        )
        last = result.last_response_id
        replies.append(result.final_output)
    return {"replies": replies, "last": last}


async def session(*messages: str) -> dict[str, Any]:
    """The SDK reads and writes the items of a conversation itself."""
    memory = OpenAIConversationsSession(openai_client=CLIENT)
    results = [await Runner.run(AGENT, message, session=memory) for message in messages]
    conversation = memory.session_id
    items = await memory.get_items()
    newest = await memory.get_items(limit=2)
    popped = await memory.pop_item()
    left = await memory.get_items()
    await memory.clear_session()
    return {
        "replies": [result.final_output for result in results],
        "last": results[-1].last_response_id,
        "conversation": conversation,
        "items": [item.get("type", "message") for item in items],
        "newest_are_last": newest == items[-2:],
        "popped_is_last": popped == items[-1],
        "left": len(left),
    }


async def streamed(message: str) -> dict[str, Any]:
    """One run whose stream may break."""
    result = Runner.run_streamed(AGENT, message, auto_previous_response_id=True)
    text = ""
    response = error = None
    try:
        async for event in result.stream_events():
            if event.type != "raw_response_event":
                continue
            if event.data.type == "response.created":
                response = event.data.response.id
            if event.data.type == "response.output_text.delta":
                text += event.data.delta
    except Exception as caught:
        error = type(caught).__name__
    return {"text": text, "final": result.final_output, "error": error, "response": response}


async def resumed(message: str, thanks: str) -> dict[str, Any]:
    """A run whose stream breaks, what the server has of it, and the next run behind it."""
    broken = await streamed(message)
    stored = await CLIENT.responses.retrieve(broken["response"])
    while stored.status in {"queued", "in_progress"}:
        stored = await CLIENT.responses.retrieve(broken["response"])
    result = await Runner.run(AGENT, thanks, previous_response_id=stored.id)
    return {**broken, "stored": stored.output_text, "next": result.final_output}


WAYS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    way.__name__: way for way in (plain, conversation, chained, session, streamed, resumed)
}


async def main() -> None:
    set_default_openai_client(CLIENT, use_for_tracing=False)
    print(json.dumps(await WAYS[sys.argv[1]](*sys.argv[2:])))
    await CLIENT.close()


asyncio.run(main())
