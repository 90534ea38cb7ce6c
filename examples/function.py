"""A function as a model: what it yields is streamed. It needs no package and no key.

Run it in this folder:

    chatkeep serve --model echo=python:function:echo
"""

import asyncio
from collections.abc import AsyncIterator

from langchain_core.messages import BaseMessage


async def echo(messages: list[BaseMessage]) -> AsyncIterator[str]:
    """Repeat the new message, which is the last one, word by word."""
    for word in messages[-1].text.split():
        await asyncio.sleep(0.1)
        yield f"{word} "
