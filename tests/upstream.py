"""A scripted model behind the real HTTP protocols of OpenAI, Anthropic and Ollama.

It records what it is sent, refuses what the real servers refuse, and misbehaves on cue. It runs
in a thread of the test.
"""

import asyncio
import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, NamedTuple, Self

TITLE_MARK = "You name conversations."
SIGNATURE = "c2lnbmF0dXJl"
"""Of every block of thinking that is streamed in Anthropic's protocol."""


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool. Anthropic refuses an id that a conversation has twice.

    Ollama's protocol has no ids, so none is streamed there.
    """

    name: str
    args: dict[str, Any]
    id: str | None = "call_1"


class ImageData(NamedTuple):
    """A decoded image. Ollama's protocol does not transmit the type."""

    mime_type: str | None
    data: bytes


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
        return first + [(m["role"], _text(m.get("content"))) for m in self._messages]

    @property
    def is_title(self) -> bool:
        return any(text.startswith(TITLE_MARK) for _, text in self.messages[:1])

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were offered."""
        return [tool.get("function", tool)["name"] for tool in self.body.get("tools") or []]

    @property
    def images(self) -> list[ImageData | str]:
        """The images of all messages; those that were sent as an address are that URL."""
        images: list[ImageData | str] = []
        for message in self._messages:
            for part in _parts(message):
                if part["type"] == "image_url":
                    images.append(_image(part["image_url"]["url"]))
                elif part["type"] == "image":
                    images.append(_source_image(part["source"]))
            images += [
                ImageData(None, base64.b64decode(data)) for data in message.get("images") or []
            ]
        return images

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls in the history that was sent."""
        calls = []
        for message in self._messages:
            for call in message.get("tool_calls") or []:
                name, args = call["function"]["name"], call["function"]["arguments"]
                args = json.loads(args) if isinstance(args, str) else args
                calls.append(ToolCall(name, args, call.get("id")))
            uses = [part for part in _parts(message) if part["type"] == "tool_use"]
            calls += [ToolCall(use["name"], use["input"], use["id"]) for use in uses]
        return calls

    @property
    def tool_results(self) -> list[tuple[str, str]]:
        """Pairs of a call's id (in Ollama's protocol the tool's name, if there is one) and a text.

        They are in the order of the history that was sent.
        """
        results: list[tuple[str, str]] = []
        for message in self._messages:
            if message["role"] == "tool":
                call = message.get("tool_name") or message.get("tool_call_id") or ""
                results.append((call, _text(message.get("content"))))
            parts = [part for part in _parts(message) if part["type"] == "tool_result"]
            results += [(part["tool_use_id"], _text(part.get("content"))) for part in parts]
        return results

    @property
    def _messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body.get("messages") or []
        return messages


def _text(content: Any) -> str:
    """The text of a content: of its text parts, if it is a list."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or [] if part["type"] == "text")


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a message's content, then those of the tool results among them."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return parts + [inner for part in parts for inner in _parts(part)]


def _image(url: str) -> ImageData | str:
    if not url.startswith("data:"):
        return url
    head, _, data = url.removeprefix("data:").partition(",")
    return ImageData(head.partition(";")[0], base64.b64decode(data))


def _source_image(source: dict[str, Any]) -> ImageData | str:
    if source["type"] == "base64":
        return ImageData(source["media_type"], base64.b64decode(source["data"]))
    return str(source["url"])


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

    `reasoning` is sent before them, and `tool_calls` behind them, each in several events. With a
    `pace`, each event waits until it is released; `cut_after` counts events too.
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
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    finish_reason: str | None = None
    """By the protocol's own word; without it the protocol's word for what the answer has."""


Script = Callable[[Call], Answer]


def polite(call: Call) -> Answer:
    """Titles made of the message's own words, replies that repeat the message."""
    if call.is_title:
        words = call.messages[-1][1].removeprefix("<message>").removesuffix("</message>").split()
        return Answer([" ".join((words * 3)[:3])])
    return Answer(["Reply to: ", call.messages[-1][1][:50]])


class Upstream:
    """The server. `script` decides about each call; `calls` are all of them, in their order."""

    def __init__(self, script: Script = polite, *, strict: bool = True) -> None:
        """Make a server that listens in its `with` block.

        Args:
            script: Decides about each call, in the server's thread.
            strict: Answer what the real server would refuse with its 400, without the script.

        """
        self.script = script
        self.strict = strict
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        """Why calls were refused: the path, and the message of the error."""
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
        answer = self._refusal(call) or self.script(call)
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

    def _refusal(self, call: Call) -> Answer | None:
        """The real server's error for a request that it would refuse."""
        dialect = _DIALECTS.get(call.path) if self.strict else None
        if dialect is None:
            return None
        try:
            dialect.check(call.body)
        except _BadRequestError as error:
            reason = str(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"A field is missing or has the wrong type: {error!r}."
        else:
            return None
        self.refusals.append(f"{call.path}: {reason}")
        return Answer(status=400, body=json.dumps(dialect.problem(reason)).encode())

    async def _answer(self, writer: asyncio.StreamWriter, call: Call, answer: Answer) -> None:
        if answer.status != 200 or answer.body is not None:
            body = answer.body if answer.body is not None else _problem(answer.status)
            head = {"Content-Type": "application/json", **answer.headers}
            writer.write(_head(answer.status, {**head, "Content-Length": str(len(body))}) + body)
            return
        speak = _DIALECTS[call.path].speak
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


def _fragments(args: dict[str, Any]) -> list[str]:
    """The JSON of a call's arguments in two parts, of which neither is JSON."""
    text = json.dumps(args)
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


def _openai(answer: Answer) -> list[bytes]:
    """The events of `POST /v1/chat/completions`. Reasoning is spelled as DeepSeek spells it."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return f"data: {json.dumps(body)}\n\n".encode()

    has_content = bool(answer.pieces) or not answer.tool_calls
    chunks = [chunk({"role": "assistant", "content": "" if has_content else None})]
    chunks += [chunk({"reasoning_content": piece}) for piece in answer.reasoning]
    chunks += [chunk({"content": piece}) for piece in answer.pieces]
    for index, call in enumerate(answer.tool_calls):
        function = {"name": call.name, "arguments": ""}
        head = {"index": index, "id": call.id, "type": "function", "function": function}
        rest = [
            {"index": index, "function": {"arguments": fragment}}
            for fragment in _fragments(call.args)
        ]
        chunks += [chunk({"tool_calls": [delta]}) for delta in [head, *rest]]
    if answer.finish:
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        last |= {"model": "scripted", "choices": [], "usage": usage}
        reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
        chunks += [chunk({}, reason), f"data: {json.dumps(last)}\n\n".encode(), b"data: [DONE]\n\n"]
    return chunks


def _anthropic(answer: Answer) -> list[bytes]:
    """The events of `POST /v1/messages`."""

    def event(kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()

    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant"}
    message |= {"model": "scripted", "content": [], "stop_reason": None, "stop_sequence": None}
    message["usage"] = {"input_tokens": 11, "output_tokens": 0}
    events = [event("message_start", message=message)]
    for index, (block, deltas) in enumerate(_anthropic_blocks(answer)):
        events.append(event("content_block_start", index=index, content_block=block))
        events += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(event("content_block_stop", index=index))
    if answer.finish:
        reason = answer.finish_reason or ("tool_use" if answer.tool_calls else "end_turn")
        stop = {"stop_reason": reason, "stop_sequence": None}
        events += [
            event("message_delta", delta=stop, usage={"input_tokens": 11, "output_tokens": 7}),
            event("message_stop"),
        ]
    else:
        # The last block does not end either.
        events.pop()
    return events


def _anthropic_blocks(answer: Answer) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The blocks of an answer as they start, each with its deltas."""
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer.reasoning]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if answer.pieces or not (answer.reasoning or answer.tool_calls):
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for call in answer.tool_calls:
        deltas = [
            {"type": "input_json_delta", "partial_json": fragment}
            for fragment in ["", *_fragments(call.args)]
        ]
        blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, deltas))
    return blocks


def _ollama(answer: Answer) -> list[bytes]:
    """The lines of `POST /api/chat` as Ollama's API documentation shows them."""
    common = {"model": "scripted", "created_at": "2023-08-04T08:52:19.385406455-07:00"}

    def line(content: str, extra: dict[str, Any] | None = None, **more: Any) -> bytes:
        message = {"role": "assistant", "content": content, "images": None, **(extra or {})}
        return json.dumps({**common, "message": message, **more}).encode() + b"\n"

    lines = [line("", {"thinking": piece}, done=False) for piece in answer.reasoning]
    lines += [line(piece, done=False) for piece in answer.pieces]
    if answer.tool_calls:
        calls = [
            {"function": {"name": call.name, "arguments": call.args}} for call in answer.tool_calls
        ]
        lines.append(line("", {"tool_calls": calls}, done=False))
    if answer.finish:
        lines.append(
            line(
                "",
                done=True,
                # "stop" behind tool calls too.
                done_reason=answer.finish_reason or "stop",
                total_duration=4883583458,
                load_duration=1334875,
                prompt_eval_count=11,
                prompt_eval_duration=342546000,
                eval_count=7,
                eval_duration=4535599000,
            )
        )
    return lines


class _BadRequestError(Exception):
    """Raised for what the real server refuses; the message is that of its error."""


def _require(condition: object, message: str) -> None:
    if not condition:
        raise _BadRequestError(message)


_IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_OPENAI_ID_CHARS = 40


def _is_base64(data: object) -> bool:
    if not isinstance(data, str) or not data:
        return False
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return False
    return True


_OPENAI_PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
"""The parts of a content, by the roles that there are.

https://platform.openai.com/docs/api-reference/chat/create
"""


def _check_openai(body: dict[str, Any]) -> None:
    _require(body["messages"], "'messages' must have at least one message.")
    _require(body.get("tools") != [], "'tools' must not be an empty list.")
    _require("tools" in body or not body.get("tool_choice"), "'tool_choice' needs 'tools'.")
    for tool in body.get("tools") or []:
        name = tool["function"]["name"]
        _require(_NAME.fullmatch(name), f"{name!r} cannot be the name of a tool.")
    open_ids: list[str] = []
    for index, message in enumerate(body["messages"]):
        path, role = f"messages[{index}]", message["role"]
        _require(role in _OPENAI_PARTS, f"{path}.role: {role!r} is not one of the roles.")
        if role == "tool":
            _require(
                message["tool_call_id"] in open_ids,
                f"{path}: a message of role 'tool' must answer a call in the 'tool_calls' of the "
                f"assistant message before it, and each call once; {message['tool_call_id']!r} is "
                "no such call.",
            )
            open_ids.remove(message["tool_call_id"])
        else:
            _require_answered(open_ids, path)
            open_ids = _openai_call_ids(message, path)
        _check_openai_content(message, path)
    _require_answered(open_ids, "messages")


def _require_answered(open_ids: list[str], path: str) -> None:
    _require(
        not open_ids,
        f"{path}: an assistant message with 'tool_calls' must be followed by a tool message for "
        f"each 'tool_call_id'. There is none for: {', '.join(open_ids)}.",
    )


def _openai_call_ids(message: dict[str, Any], path: str) -> list[str]:
    """The ids of the calls in a message, which are checked too."""
    calls = message.get("tool_calls")
    if calls is None:
        return []
    _require(message["role"] == "assistant", f"{path}: only the assistant has 'tool_calls'.")
    _require(calls, f"{path}.tool_calls: must not be an empty list.")
    for call in calls:
        _require(call["type"] == "function", f"{path}.tool_calls: a type is not supported.")
        name, args = call["function"]["name"], call["function"]["arguments"]
        _require(_NAME.fullmatch(name), f"{path}.tool_calls: {name!r} cannot be a tool's name.")
        _require(isinstance(args, str), f"{path}.tool_calls: 'arguments' must be a string.")
        _require(
            0 < len(call["id"]) <= _MAX_OPENAI_ID_CHARS,
            f"{path}.tool_calls: an id has 1 to {_MAX_OPENAI_ID_CHARS} characters.",
        )
    ids = [call["id"] for call in calls]
    _require(len(set(ids)) == len(ids), f"{path}.tool_calls: an id is there twice.")
    return ids


def _check_openai_content(message: dict[str, Any], path: str) -> None:
    content, role = message.get("content"), message["role"]
    if content is None:
        _require(
            role == "assistant" and message.get("tool_calls"),
            f"{path}.content: null is allowed only for an assistant message with 'tool_calls'.",
        )
        return
    if isinstance(content, str):
        return
    _require(content, f"{path}.content: must not be an empty list.")
    for part in content:
        kind = part["type"]
        _require(
            kind != "image_url" or role == "user",
            f"{path}: images are allowed only in messages of role 'user', not of {role!r}.",
        )
        _require(
            kind in _OPENAI_PARTS[role],
            f"{path}.content: {kind!r} is not a part of messages of role {role!r}.",
        )
        if kind == "text":
            _require(isinstance(part["text"], str), f"{path}.content: a text must be a string.")
        if kind == "image_url":
            _check_openai_image(part["image_url"]["url"], path)


def _check_openai_image(url: str, path: str) -> None:
    if url.startswith(("http://", "https://")):
        return
    head, _, data = url.partition(",")
    mime_type = head.removeprefix("data:").removesuffix(";base64")
    _require(
        mime_type in _IMAGE_TYPES,
        f"{path}: the image's type is not supported; send one of {sorted(_IMAGE_TYPES)}.",
    )
    _require(
        head == f"data:{mime_type};base64" and _is_base64(data),
        f"{path}: the image's URL is not a data URL with base64.",
    )


_ANTHROPIC_BLOCKS = {
    "text": {"text", "citations", "cache_control"},
    "image": {"source", "cache_control"},
    "tool_use": {"id", "name", "input", "caller", "cache_control"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "document": {"source", "title", "context", "citations", "cache_control"},
}
"""The fields of blocks, of which others are refused. https://platform.claude.com/docs/en/api"""

_THINKING = {"thinking", "redacted_thinking"}
_OF_ASSISTANT = {"tool_use", *_THINKING}
_OF_USER = {"image", "document", "tool_result"}


def _check_anthropic(body: dict[str, Any]) -> None:
    _require("max_tokens" in body, "max_tokens: the field is required.")
    _require(body["max_tokens"] > 0, "max_tokens: must be greater than 0.")
    _require(body["messages"], "messages: at least one message is required.")
    tools = body.get("tools") or []
    _require(tools or not body.get("tool_choice"), "tool_choice: needs tools.")
    names = [tool["name"] for tool in tools]
    _require(len(set(names)) == len(names), "tools: a name is there twice.")
    for message in body["messages"]:
        role = message["role"]
        _require(
            role in {"user", "assistant"}, f"messages: {role!r} is neither 'user' nor 'assistant'."
        )
    messages = _merged(body["messages"])
    _require(messages[0][0] == "user", "messages: the first message must be of role 'user'.")
    for index, (role, blocks) in enumerate(messages):
        path, is_last = f"messages.{index}", index == len(messages) - 1
        _require(
            blocks or (is_last and role == "assistant"),
            f"{path}: only the last assistant message may have an empty content.",
        )
        for block in blocks:
            _check_anthropic_block(block, role, path)
    _check_anthropic_calls(messages, has_tools=bool(tools))
    _check_anthropic_thinking(messages, body.get("thinking") or {})
    role, blocks = messages[-1]
    text = _text(blocks[-1:]) if role == "assistant" else ""
    _require(text == text.rstrip(), "messages: the last assistant text ends in white space.")


def _merged(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and their blocks, with neighbours of the same role as one message."""
    merged = []
    for role, group in groupby(messages, lambda message: str(message["role"])):
        blocks: list[dict[str, Any]] = []
        for message in group:
            content = message["content"]
            if isinstance(content, list):
                blocks += content
            elif content:
                blocks.append({"type": "text", "text": content})
        merged.append((role, blocks))
    return merged


def _check_anthropic_block(block: dict[str, Any], role: str, path: str) -> None:
    kind = block["type"]
    fields = _ANTHROPIC_BLOCKS.get(kind)
    _require(fields is not None, f"{path}: there are no blocks of type {kind!r}.")
    more = block.keys() - (fields or set()) - {"type"}
    _require(not more, f"{path}: a block of type {kind!r} has no {sorted(more)}.")
    _require(role == "assistant" or kind not in _OF_ASSISTANT, f"{path}: {kind!r} is not a user's.")
    _require(role == "user" or kind not in _OF_USER, f"{path}: {kind!r} is not an assistant's.")
    if kind == "text":
        _require(block["text"].strip(), f"{path}: text blocks must not be empty or white space.")
    elif kind == "image" and block["source"]["type"] == "base64":
        source = block["source"]
        _require(source["media_type"] in _IMAGE_TYPES, f"{path}: the image's type is unknown.")
        _require(_is_base64(source["data"]), f"{path}: the image's data is not base64.")
    elif kind == "tool_use":
        _require(
            re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]),
            f"{path}: a tool_use id must match ^[a-zA-Z0-9_-]+$, which {block['id']!r} does not.",
        )
        _require(isinstance(block["input"], dict), f"{path}: a tool's input must be an object.")
    elif kind == "tool_result":
        content = block.get("content")
        _require(content or not block.get("is_error"), f"{path}: an error needs a content.")
        for inner in content if isinstance(content, list) else []:
            _check_anthropic_block(inner, role, path)
    elif kind == "thinking":
        _require(block.get("signature"), f"{path}: a thinking block needs its signature.")


def _check_anthropic_calls(
    messages: list[tuple[str, list[dict[str, Any]]]], *, has_tools: bool
) -> None:
    """Check that each call has one result, at the beginning of the next message."""
    all_ids: set[str] = set()
    open_ids: set[str] = set()
    for index, (_, blocks) in enumerate(messages):
        path = f"messages.{index}"
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        _require(
            open_ids.issuperset(results),
            f"{path}: a tool_result has no tool_use of its id in the message before.",
        )
        _require(len(set(results)) == len(results), f"{path}: a tool_use has two results.")
        _require_results(open_ids.difference(results), path)
        _require(
            all(block["type"] == "tool_result" for block in blocks[: len(results)]),
            f"{path}: tool_result blocks must come before all other blocks.",
        )
        ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        open_ids = set(ids)
        _require(
            len(open_ids) == len(ids) and not open_ids & all_ids,
            f"{path}: tool_use ids must be unique.",
        )
        all_ids |= open_ids
    _require_results(open_ids, "messages")
    _require(has_tools or not all_ids, "tools: a request with tool_use blocks must define tools.")


def _require_results(open_ids: set[str], path: str) -> None:
    _require(
        not open_ids,
        f"{path}: each tool_use must have a tool_result in the next message. "
        f"There is none for: {', '.join(sorted(open_ids))}.",
    )


def _check_anthropic_thinking(
    messages: list[tuple[str, list[dict[str, Any]]]], thinking: dict[str, Any]
) -> None:
    """Check where thinking blocks must be, and must not be.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    replies = [blocks for role, blocks in messages if role == "assistant" and blocks]
    for blocks in replies:
        _require(
            blocks[-1]["type"] not in _THINKING,
            "messages: the last block of an assistant message cannot be thinking.",
        )
    if thinking.get("type") == "enabled" and replies:
        is_answered = messages[-1][1][:1] and messages[-1][1][0]["type"] == "tool_result"
        _require(
            not is_answered or replies[-1][0]["type"] in _THINKING,
            "messages: while thinking is enabled, an assistant message whose tools were called "
            "last must start with a thinking block.",
        )


def _check_ollama(body: dict[str, Any]) -> None:
    """Check the types that Ollama's decoder demands, and the roles that its templates know."""
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        _require(
            role in {"system", "user", "assistant", "tool"},
            f"invalid role {role!r}: it must be one of system, user, assistant, tool",
        )
        _require(
            content is None or isinstance(content, str),
            "a message's content must be a string, not a list",
        )
        for image in message.get("images") or []:
            _require(_is_base64(image), "an image must be a string of base64")
        for call in message.get("tool_calls") or []:
            _require(
                isinstance(call["function"]["arguments"], dict),
                "the arguments of a tool call must be an object",
            )


def _openai_problem(message: str) -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": "messages", "code": None}
    return {"error": error}


def _anthropic_problem(message: str) -> dict[str, Any]:
    error = {"type": "invalid_request_error", "message": message}
    return {"type": "error", "error": error, "request_id": "req_1"}


def _ollama_problem(message: str) -> dict[str, Any]:
    return {"error": message}


class _Dialect(NamedTuple):
    """A protocol: the body of an answer, the rules for requests, the body of a refusal."""

    speak: Callable[[Answer], list[bytes]]
    check: Callable[[dict[str, Any]], None]
    problem: Callable[[str], dict[str, Any]]


_DIALECTS = {
    "/v1/chat/completions": _Dialect(_openai, _check_openai, _openai_problem),
    "/v1/messages": _Dialect(_anthropic, _check_anthropic, _anthropic_problem),
    "/api/chat": _Dialect(_ollama, _check_ollama, _ollama_problem),
}
