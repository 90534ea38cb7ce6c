"""The baseline: LangChain's own OpenAI client in a bare event loop, with nothing around it.

`python -m benchmarks.baseline` reads lines of JSON, `{"clients", "turns", "message"}`, makes as
many calls, and writes a line with the seconds of each to its first token and to its end. The model
object is the one that Chatkeep uses with `CHATKEEP_MODEL_CLIENT=langchain`, and the prompt has as
many messages.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from typing import Any

import uvloop
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient
from pydantic import SecretStr

from benchmarks.rivals import SYSTEM
from benchmarks.upstream import TEXT

PRIOR = [("assistant", TEXT), ("user", "A walk in the park?")] * 2 + [("assistant", TEXT)]


async def main() -> None:
    """Call the model as often as is asked, until standard input ends."""
    model = ChatOpenAI(
        model="instant",
        base_url=os.environ["OPENAI_BASE_URL"],
        api_key=SecretStr("none"),
        timeout=60,
        stream_chunk_timeout=None,
        max_retries=0,
        stream_usage=True,
        http_async_client=DefaultAsyncHttpxClient(),
    )

    async def call(turns: int, message: str) -> list[tuple[float, float]]:
        took = []
        for _ in range(turns):
            began, first = time.perf_counter(), 0.0
            prompt = [("system", SYSTEM), *PRIOR, ("user", message)]
            pieces: list[str] = []
            async for chunk in model.astream(prompt):
                if chunk.text and not pieces:
                    first = time.perf_counter() - began
                pieces.append(chunk.text)
            assert "".join(pieces)
            took.append((first, time.perf_counter() - began))
        return took

    while line := await asyncio.to_thread(sys.stdin.readline):
        request: dict[str, Any] = json.loads(line)
        calls = [call(request["turns"], request["message"]) for _ in range(request["clients"])]
        took = list(itertools.chain.from_iterable(await asyncio.gather(*calls)))
        sys.stdout.write(f"{json.dumps(took)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
