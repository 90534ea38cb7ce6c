"""A scripted model behind the real HTTP protocols of OpenAI, Anthropic and Ollama.

It records what it is sent, and misbehaves on cue. It runs in a thread of the test.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

TITLE_MARK = "You name conversations."


@dataclass
class Call:
    """One request, and when it came and was answered (seconds, monotonic)."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    began: float
    ended: float | None = None

    @property
    def messages(self) -> list[tuple[str, str]]:
        system = self.body.get("system")
        first = [("system", _text(system))] if system else []
        return first + [(m["role"], _text(m["content"])) for m in self.body["messages"]]

    @property
    def is_title(self) -> bool:
        return self.messages[0][1].startswith(TITLE_MARK)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content)


@dataclass
class Wire:
    """The exact bytes of an answer. `end`: what becomes of the connection behind them."""

    pieces: list[bytes]
    head: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    is_chunked: bool = True
    end: Literal["end", "cut", "hang"] = "end"
    pause: float = 0
    """Seconds between the pieces."""


@dataclass
class Answer:
    """What to do with a request. `pieces` are sent one by one; `gate` is waited for first.

    With a `pace`, each piece waits until it is released.
    """

    pieces: list[str] = field(default_factory=lambda: ["Fine", ", thanks."])
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    hang: bool = False
    finish: bool = True
    wire: Wire | None = None
    gate: threading.Event | None = None
    pace: threading.Semaphore | None = None
    pause: float = 0
    """Seconds before each piece."""


Script = Callable[[Call], Answer]


def polite(call: Call) -> Answer:
    """Titles made of the message's own words, replies that repeat the message."""
    if call.is_title:
        words = call.messages[-1][1].removeprefix("<message>").removesuffix("</message>").split()
        return Answer([" ".join((words * 3)[:3])])
    return Answer(["Reply to: ", call.messages[-1][1][:50]])


class Upstream:
    """The server. `script` decides about each call; `calls` keeps them all."""

    def __init__(self, script: Script = polite) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.gone: Callable[[], object] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What a Chatkeep needs to call this server for any of the three providers' models."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "sk-test-0123456789abcdef",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-ant-test-0123456789",
            "OLLAMA_HOST": self.url,
        }

    @property
    def replies(self) -> list[Call]:
        return [call for call in self.calls if not call.is_title]

    @property
    def titles(self) -> list[Call]:
        return [call for call in self.calls if call.is_title]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = request.strip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        call = Call(first.split()[1], headers, json.loads(body), time.monotonic())
        self.calls.append(call)
        answer = self.script(call)
        if answer.gate is not None:
            while not answer.gate.is_set():
                await asyncio.sleep(0.005)
        if answer.hang:
            await reader.read(1)
            self.gone()
            return False
        if answer.wire is not None:
            return await _send(reader, writer, answer.wire)
        await self._answer(writer, call, answer)
        await writer.drain()
        call.ended = time.monotonic()
        return answer.cut_after is None

    async def _answer(self, writer: asyncio.StreamWriter, call: Call, answer: Answer) -> None:
        if answer.status != 200 or answer.body is not None:
            body = answer.body if answer.body is not None else _problem(answer.status)
            head = {"Content-Type": "application/json", **answer.headers}
            writer.write(_head(answer.status, {**head, "Content-Length": str(len(body))}) + body)
            return
        speak = _DIALECTS[call.path]
        kind = "application/x-ndjson" if call.path == "/api/chat" else "text/event-stream"
        writer.write(_head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"}))
        for number, piece in enumerate(speak(answer)):
            if number == answer.cut_after:
                return
            # The first chunk of every dialect but Ollama's only opens the message.
            while number and answer.pace is not None and not answer.pace.acquire(blocking=False):
                await asyncio.sleep(0.001)
            await asyncio.sleep(answer.pause)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> bool:
    """Send these bytes; whether the connection can be used again."""
    framing = b"Transfer-Encoding: chunked\r\n" if wire.is_chunked else b""
    writer.write(wire.head + framing + b"\r\n")
    # An empty chunk would be the end.
    for piece in filter(None, wire.pieces):
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if wire.is_chunked else piece)
        await writer.drain()
        await asyncio.sleep(wire.pause)
    if wire.end == "hang":
        await reader.read(1)
    elif wire.end == "end" and wire.is_chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
    return False


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _problem(status: int) -> bytes:
    text = "Incorrect API key provided: sk-test-0123456789abcdef at /srv/secret/path"
    return json.dumps({"error": {"message": text, "type": "error", "code": status}}).encode()


def _openai(answer: Answer) -> list[bytes]:
    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return f"data: {json.dumps(body)}\n\n".encode()

    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": piece}) for piece in answer.pieces]
    if answer.finish:
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        last |= {"model": "scripted", "choices": [], "usage": usage}
        chunks += [chunk({}, "stop"), f"data: {json.dumps(last)}\n\n".encode(), b"data: [DONE]\n\n"]
    return chunks


def _anthropic(answer: Answer) -> list[bytes]:
    def event(kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()

    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None}
    message["usage"] = {"input_tokens": 11, "output_tokens": 0}
    block = {"type": "text", "text": ""}
    events = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block=block),
    ]
    for piece in answer.pieces:
        delta = {"type": "text_delta", "text": piece}
        events.append(event("content_block_delta", index=0, delta=delta))
    if answer.finish:
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        events += [
            event("content_block_stop", index=0),
            event("message_delta", delta=stop, usage={"input_tokens": 11, "output_tokens": 7}),
            event("message_stop"),
        ]
    return events


def _ollama(answer: Answer) -> list[bytes]:
    """The lines of `POST /api/chat` as Ollama's API documentation shows them."""
    common = {"model": "scripted", "created_at": "2023-08-04T08:52:19.385406455-07:00"}

    def line(content: str, **more: Any) -> bytes:
        message = {"role": "assistant", "content": content, "images": None}
        return json.dumps({**common, "message": message, **more}).encode() + b"\n"

    lines = [line(piece, done=False) for piece in answer.pieces]
    if answer.finish:
        lines.append(
            line(
                "",
                done=True,
                done_reason="stop",
                total_duration=4883583458,
                load_duration=1334875,
                prompt_eval_count=11,
                prompt_eval_duration=342546000,
                eval_count=7,
                eval_duration=4535599000,
            )
        )
    return lines


_DIALECTS = {
    "/v1/chat/completions": _openai,
    "/v1/messages": _anthropic,
    "/api/chat": _ollama,
}
