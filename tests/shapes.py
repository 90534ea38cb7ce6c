"""What providers answer, and what they should not: by name, as bytes of each protocol.

A shape is written once, in words that every protocol has; each writes it in its own way.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from tests.upstream import Wire

KEY = "3f9a7c5d1b2e4f6089abcdef01234567"
"""A provider's key that does not look like one."""

WHOLE = ("Hello", " brave", " world")
END = "stop"


class Dialect(Protocol):
    """How a protocol says what a shape is made of."""

    media_type: str

    def begin(self) -> bytes: ...
    def text(self, text: str) -> bytes: ...
    def thought(self, text: str) -> bytes: ...
    def tool(self) -> bytes: ...
    def finish(self, reason: str) -> bytes: ...
    def usage(self) -> bytes: ...
    def done(self) -> bytes: ...
    def error(self, **error: Any) -> bytes: ...
    def thing(self, value: Any) -> bytes: ...
    def comment(self) -> bytes: ...
    def document(self, text: str, reason: str) -> bytes: ...


class OpenAI:
    """https://platform.openai.com/docs/api-reference/chat-streaming"""

    media_type = "text/event-stream"

    def begin(self) -> bytes:
        return self.delta({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self.delta({"content": text})

    def thought(self, text: str) -> bytes:
        return self.delta({"reasoning_content": text})

    def tool(self) -> bytes:
        call = {"index": 0, "id": "call_1", "type": "function"}
        return self.delta({"tool_calls": [{**call, "function": {"name": "f", "arguments": "{}"}}]})

    def finish(self, reason: str) -> bytes:
        return self.delta({}, finish_reason=reason)

    def usage(self) -> bytes:
        return self.thing(
            {
                "choices": [],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
            }
        )

    def done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self, **error: Any) -> bytes:
        return self.thing({"error": error})

    def thing(self, value: Any) -> bytes:
        return f"data: {json.dumps(value)}\n\n".encode()

    def comment(self) -> bytes:
        return b": still here\n\n"

    def document(self, text: str, reason: str) -> bytes:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        return json.dumps(
            {"object": "chat.completion", "choices": [choice], "usage": usage}
        ).encode()

    def delta(self, delta: Any, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
        return self.thing({"id": "1", "object": "chat.completion.chunk", "choices": [choice]})


class Anthropic:
    """https://docs.claude.com/en/docs/build-with-claude/streaming"""

    media_type = "text/event-stream"
    reasons: ClassVar = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal",
               "tool_calls": "tool_use"}  # fmt: skip

    def begin(self) -> bytes:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None}
        message["usage"] = {"input_tokens": 11, "output_tokens": 0}
        return self.thing({"type": "message_start", "message": message})

    def text(self, text: str) -> bytes:
        block = {"type": "text", "text": ""}
        return self.block(0, block, {"type": "text_delta", "text": text})

    def thought(self, text: str) -> bytes:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        return self.block(0, block, {"type": "thinking_delta", "thinking": text})

    def tool(self) -> bytes:
        block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        return self.block(0, block, {"type": "input_json_delta", "partial_json": "{}"})

    def block(self, index: int, block: Any, delta: Any) -> bytes:
        start = {"type": "content_block_start", "index": index, "content_block": block}
        piece = {"type": "content_block_delta", "index": index, "delta": delta}
        stop = {"type": "content_block_stop", "index": index}
        return self.thing(start) + self.thing(piece) + self.thing(stop)

    def finish(self, reason: str) -> bytes:
        stop = {"stop_reason": self.reasons.get(reason, reason), "stop_sequence": None}
        usage = {"input_tokens": 11, "output_tokens": 7}
        return self.thing({"type": "message_delta", "delta": stop, "usage": usage})

    def usage(self) -> bytes:
        return b""

    def done(self) -> bytes:
        return self.thing({"type": "message_stop"})

    def error(self, **error: Any) -> bytes:
        kind = error.get("type", "api_error")
        return self.thing({"type": "error", "error": {**error, "type": kind}})

    def thing(self, value: Any) -> bytes:
        kind = value.get("type", "strange") if isinstance(value, dict) else "strange"
        return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()

    def comment(self) -> bytes:
        return self.thing({"type": "ping"})

    def document(self, text: str, reason: str) -> bytes:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
        message |= {"content": [{"type": "text", "text": text}]}
        message |= {"stop_reason": self.reasons[reason], "stop_sequence": None}
        return json.dumps({**message, "usage": {"input_tokens": 11, "output_tokens": 7}}).encode()


class Ollama:
    """https://docs.ollama.com/api/chat"""

    media_type = "application/x-ndjson"

    def begin(self) -> bytes:
        return b""

    def text(self, text: str) -> bytes:
        return self.line({"role": "assistant", "content": text})

    def thought(self, text: str) -> bytes:
        return self.line({"role": "assistant", "content": "", "thinking": text})

    def tool(self) -> bytes:
        call = {"function": {"name": "f", "arguments": {}}}
        return self.line({"role": "assistant", "content": "", "tool_calls": [call]})

    def finish(self, reason: str) -> bytes:
        message = {"role": "assistant", "content": ""}
        counts = {"prompt_eval_count": 11, "eval_count": 7}
        return self.line(message, done=True, done_reason=reason, **counts)

    def usage(self) -> bytes:
        return b""

    def done(self) -> bytes:
        return b""

    def error(self, **error: Any) -> bytes:
        return self.thing({"error": error.get("message", "it failed")})

    def thing(self, value: Any) -> bytes:
        return json.dumps(value).encode() + b"\n"

    def comment(self) -> bytes:
        return b"\n"

    def document(self, text: str, reason: str) -> bytes:
        message = {"role": "assistant", "content": text}
        return json.dumps({"message": message, "done": True, "done_reason": reason}).encode()

    def line(self, message: Any, *, done: bool = False, **more: Any) -> bytes:
        common = {"model": "scripted", "created_at": "2026-01-01T00:00:00Z"}
        return self.thing({**common, "message": message, "done": done, **more})


Shape = Callable[[Any], Wire]
SHAPES: dict[str, Shape] = {}
HANGING: set[str] = set()
"""Those that are silent for longer than is waited."""


def _add(name: str, shape: Shape, *, hangs: bool = False) -> None:
    assert name not in SHAPES
    SHAPES[name] = shape
    if hangs:
        HANGING.add(name)


def _head(dialect: Any, status: int = 200, **headers: str) -> bytes:
    named = {"Content-Type": dialect.media_type}
    named |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in named.items() if value]
    return (f"HTTP/1.1 {status} Any\r\n" + "".join(lines)).encode()


def _stream(pieces: Callable[[Any], list[bytes]], **more: Any) -> Shape:
    """A shape of these pieces, under an ordinary head."""
    return lambda dialect: Wire(pieces(dialect), _head(dialect), **more)


def whole(dialect: Any, *texts: str, reason: str = END) -> list[bytes]:
    """An answer as it should be."""
    return [
        dialect.begin(),
        *(dialect.text(text) for text in texts or WHOLE),
        dialect.finish(reason),
        dialect.usage(),
        dialect.done(),
    ]


def started(dialect: Any) -> list[bytes]:
    """The beginning of one."""
    return [dialect.begin(), dialect.text("Hello"), dialect.text(" brave")]


def _joined(dialect: Any) -> bytes:
    return b"".join(whole(dialect))


def _bytes_of(change: Callable[[bytes], bytes]) -> Shape:
    """The bytes of a whole answer, changed."""
    return _stream(lambda dialect: [change(_joined(dialect))])


def _cut_every(size: int) -> Shape:
    def pieces(dialect: Any) -> list[bytes]:
        body = _joined(dialect)
        return [body[start : start + size] for start in range(0, len(body), size)]

    return _stream(pieces)


def _delta(**fields: Any) -> Callable[[Any], bytes]:
    """A chunk of OpenAI's with this in its delta; the same field in an object of another's."""
    return lambda dialect: (
        dialect.delta(fields) if isinstance(dialect, OpenAI) else dialect.thing(fields)
    )


def _odd(odd: Callable[[Any], bytes]) -> Shape:
    """A whole answer with something odd in the middle."""
    return _stream(lambda d: [*started(d), odd(d), *whole(d, " world")[1:]])


def _chunk(value: Any) -> Shape:
    return _odd(lambda dialect: dialect.thing(value))


def _usage(value: Any) -> Shape:
    def pieces(dialect: Any) -> list[bytes]:
        if isinstance(dialect, OpenAI):
            usage = dialect.thing({"choices": [], "usage": value})
        elif isinstance(dialect, Anthropic):
            usage = b""
        else:
            usage = dialect.line({"role": "assistant", "content": ""}, eval_count=value)
        return [
            *started(dialect),
            dialect.text(" world"),
            dialect.finish(END),
            usage,
            dialect.done(),
        ]

    return _stream(pieces)


# As it should be, cut anywhere and framed in every way.
_add("as it should be", _stream(whole))
_add("all at once", _stream(lambda d: [_joined(d)]))
_add("byte by byte", _cut_every(1))
_add("three bytes at a time", _cut_every(3))
_add("CR LF line ends", _bytes_of(lambda body: body.replace(b"\n", b"\r\n")))
_add("CR line ends", _bytes_of(lambda body: body.replace(b"\n", b"\r")))
_add("CR LF, byte by byte", _stream(
    lambda d: [b"%c" % byte for byte in _joined(d).replace(b"\n", b"\r\n")]))  # fmt: skip
_add("no empty lines", _bytes_of(lambda body: body.replace(b"\n\n", b"\n")))
_add("no space after the colon", _bytes_of(lambda body: body.replace(b"data: ", b"data:")))
_add("a byte order mark", _bytes_of(lambda body: b"\xef\xbb\xbf" + body))
_add("empty lines before", _bytes_of(lambda body: b"\n\n\r\n" + body))
_add("white space at line ends", _bytes_of(lambda body: body.replace(b"}\n", b"}  \n")))
_add("fields that nobody needs", _bytes_of(
    lambda body: body.replace(b"data: ", b"id: 7\nretry: 9\ndata: ")))  # fmt: skip
_add("data over several lines", _bytes_of(
    lambda body: body.replace(b', "', b',\ndata: "')))  # fmt: skip
_add("no line end at the end", _bytes_of(lambda body: body.rstrip()))
_add("comments between", _stream(
    lambda d: [part for piece in whole(d) for part in (d.comment(), piece)]))  # fmt: skip
_add("empty data as keep-alive", _odd(lambda d: b"data:\n\ndata: \n\n"))
_add("an object that nobody knows", _chunk({"type": "heartbeat", "at": 1}))
_add("an object nested 500 deep", _odd(lambda d: d.thing(json.loads("[" * 500 + "]" * 500))))
_add("an array", _chunk([1, 2]))
_add("a number", _chunk(7))
_add("null", _chunk(None))
_add("names twice", _odd(
    lambda d: d.thing({}).replace(b"{}", b'{"a": 1, "a": 2}')))  # fmt: skip
_add("NaN", _odd(lambda d: d.thing({}).replace(b"{}", b'{"a": NaN}')))
_add("a huge number", _odd(lambda d: d.thing({}).replace(b"{}", b'{"a": 1' + b"0" * 400 + b"}")))
_add("a character cut in two", _stream(
    lambda d: [p for t in whole(d, "Grüß 👋") for p in (t[:-30], t[-30:-29], t[-29:])]))  # fmt: skip
_add("half a character in each chunk", _stream(lambda d: whole(d, "Hi \ud83d", "\udc4b")))
_add("half a character", _stream(lambda d: whole(d, "Hi \ud83d there")))
_add("NUL", _stream(lambda d: whole(d, "Hello\0world")))
_add("a line separator of Unicode", _stream(
    lambda d: [p.replace(b"\\u2028", "\u2028".encode()) for p in whole(d, "Hello\u2028world")]))  # fmt: skip
_add("a chunk of a megabyte", _stream(lambda d: whole(d, "0123456789" * 100_000)))
_add("2,000 small chunks", _stream(lambda d: whole(d, *(["ab "] * 2_000))))
_add("HTTP 201", lambda d: Wire(whole(d), _head(d, 201)))
_add("HTTP 206", lambda d: Wire(whole(d), _head(d, 206)))
_add("HTTP/1.0 until it closes", lambda d: Wire(
    whole(d), _head(d).replace(b"1.1", b"1.0"), is_chunked=False))  # fmt: skip
_add("with its length", lambda d: Wire(
    whole(d), _head(d, content_length=str(len(_joined(d)))), is_chunked=False))  # fmt: skip
_add("gzip", lambda d: Wire([gzip.compress(_joined(d))], _head(d, content_encoding="gzip")))
_add("deflate", lambda d: Wire([zlib.compress(_joined(d))], _head(d, content_encoding="deflate")))
_add("called text/plain", lambda d: Wire(whole(d), _head(d, content_type="text/plain")))
_add("called JSON", lambda d: Wire(whole(d), _head(d, content_type="application/json")))
_add("called HTML", lambda d: Wire(whole(d), _head(d, content_type="text/html")))
_add("called nothing", lambda d: Wire(whole(d), _head(d, content_type="")))

# What a chunk may have in it.
_add("usage is a word", _usage("lots"))
_add("usage is null", _usage(None))
_add(
    "usage is negative", _usage({"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12})
)
_add("usage is huge", _usage({"prompt_tokens": 10**30, "completion_tokens": 7, "total_tokens": 8}))
_add("usage is a list", _usage([1, 2]))
_add("usage has no numbers", _usage({"prompt_tokens": "many", "completion_tokens": None}))
_add("no usage", _stream(lambda d: [*started(d), d.finish(END), d.done()]))
_add("a reason to end, twice", _stream(lambda d: [*started(d), d.finish(END), *whole(d)[-3:]]))
_add("a reason to end that nobody knows", _stream(lambda d: whole(d, reason="banana")))
_add("choices are null", _chunk({"choices": None}))
_add("choices are a word", _chunk({"choices": "none"}))
_add("a choice is null", _chunk({"choices": [None]}))
_add("a second choice", _chunk({"choices": [{"index": 1, "delta": {"content": "SECOND"}}]}))
_add("10,000 choices", _chunk({"choices": [{"index": n, "delta": {}} for n in range(1, 10_000)]}))
_add("the delta is null", _chunk({"choices": [{"index": 0, "delta": None}]}))
_add("no delta", _chunk({"choices": [{"index": 0}]}))
_add("the content is null", _odd(_delta(content=None)))
_add("the content is a number", _odd(_delta(content=7)))
_add("the content is an object", _odd(_delta(content={"a": 1})))
_add("the content is parts", _stream(
    lambda d: [d.begin(), _delta(content=[{"type": "text", "text": "Hello"}])(d),
               *whole(d, " world")[1:]]))  # fmt: skip
_add("an empty error beside the content", _chunk({"error": {}, "choices": []}))
_add("a null error beside the content", _chunk({"error": None, "choices": []}))

# Models that think.
_add("reasoning, then text", _stream(
    lambda d: [d.begin(), d.thought("Hm. "), d.thought("Well."), *whole(d)[1:]]))  # fmt: skip
_add("reasoning as OpenRouter spells it", _stream(
    lambda d: [d.begin(), _delta(reasoning="Hm.", reasoning_details=[{"text": "Hm."}])(d),
               *whole(d)[1:]]))  # fmt: skip
_add("empty chunks, then text", _stream(
    lambda d: [d.begin(), *([d.text("")] * 5), *whole(d)[1:]]))  # fmt: skip
_add("comments, then text", _stream(lambda d: [*([d.comment()] * 5), *whole(d)]))
_add("reasoning alone, out of tokens", _stream(
    lambda d: [d.begin(), d.thought("Hm."), *whole(d, "", reason="length")[2:]]))  # fmt: skip
_add("reasoning alone", _stream(
    lambda d: [d.begin(), d.thought("Hm."), *whole(d, "")[2:]]))  # fmt: skip
_add("reasoning alone, cut off", _stream(
    lambda d: [d.begin(), d.thought("Hm.")], end="cut"))  # fmt: skip

# How an answer ends.
_add("out of tokens after some text", _stream(lambda d: whole(d, reason="length")))
_add("out of tokens without any text", _stream(lambda d: whole(d, "", reason="length")))
_add("filtered after some text", _stream(lambda d: whole(d, reason="content_filter")))
_add("filtered without any text", _stream(lambda d: whole(d, "", reason="content_filter")))
_add("a refusal", _stream(
    lambda d: [d.begin(), _delta(refusal="I will")(d), _delta(refusal=" not.")(d),
               *whole(d, "")[2:]]))  # fmt: skip
_add("a tool call", _stream(
    lambda d: [d.begin(), d.tool(), *whole(d, "", reason="tool_calls")[2:]]))  # fmt: skip
_add("a tool call that ends with stop", _stream(
    lambda d: [d.begin(), d.tool(), *whole(d, "")[2:]]))  # fmt: skip
_add("text and a tool call", _stream(
    lambda d: [*started(d), d.tool(), *whole(d, "", reason="tool_calls")[2:]]))  # fmt: skip
_add("empty", _stream(lambda d: whole(d, "")))
_add("nothing at all", _stream(lambda d: []))
_add("an end and nothing else", _stream(lambda d: [d.done()]))
_add("comments and nothing else", _stream(lambda d: [d.comment()] * 3))
_add("white space", _stream(lambda d: whole(d, " ", "\n")))
_add("characters that nobody sees", _stream(lambda d: whole(d, "\u200b", "\u2060\ufeff")))
_add("the provider broke it off", _stream(lambda d: whole(d, reason="error")))
_add("no reason to end", _stream(lambda d: [*started(d), d.done()]))
_add("no end", _stream(started))
_add("cut off", _stream(started, end="cut"))
_add("cut off in a line", _stream(lambda d: [*started(d), d.text(" world")[:20]], end="cut"))
_add("cut off before any text", _stream(lambda d: [d.begin()], end="cut"))

# Whole, but for an untidy end.
_add("whole, then cut off", _stream(lambda d: [*started(d), d.finish(END)], end="cut"))
_add("whole, then an error", _stream(
    lambda d: [*started(d), d.finish(END), d.error(message="too late")]))  # fmt: skip
_add("whole, then an error in the same piece", _stream(
    lambda d: [b"".join([*started(d), d.finish(END), d.error(message="too late")])]))  # fmt: skip
_add("whole, then junk", _stream(
    lambda d: [*started(d), d.finish(END), b"data: {junk\n\n"]))  # fmt: skip
_add("text after the end, in the same piece", _stream(
    lambda d: [_joined(d) + d.text("AFTER")]))  # fmt: skip
_add("junk after the end, in the same piece", _stream(
    lambda d: [_joined(d) + b"data: {junk\n\n"]))  # fmt: skip
_add("junk after the end", _stream(lambda d: [*whole(d), b"data: {junk\n\n"]))

# Errors in an answer that had begun with success.
_add("an error first", _stream(lambda d: [d.error(message="The engine is on fire.")]))
_add("an error after text", _stream(lambda d: [*started(d), d.error(message="On fire.")]))
_add("an error after text, in the same piece", _stream(
    lambda d: [b"".join([*started(d), d.error(message="On fire.")])]))  # fmt: skip
_add("an error with the number 429", _stream(lambda d: [d.error(message="slow", code=429)]))
_add("an error with the word 429", _stream(lambda d: [d.error(message="slow", code="429")]))
_add("an error of overload", _stream(
    lambda d: [d.error(message="Overloaded", type="overloaded_error")]))  # fmt: skip
_add("an error of quota", _stream(
    lambda d: [d.error(message="You exceeded your current quota", code="insufficient_quota")]))  # fmt: skip
_add("an error that is a word", _stream(lambda d: [d.thing({"error": "On fire."})]))
_add("an error by its event's name", _stream(
    lambda d: [b'event: error\ndata: {"message": "On fire."}\n\n']))  # fmt: skip
_add("an error as vLLM says it", _stream(
    lambda d: [d.thing({"object": "error", "message": "On fire.", "code": 500})]))  # fmt: skip
_add("junk first", _stream(lambda d: [b"data: {junk\n\n", *whole(d)]))
_add("junk after text", _stream(lambda d: [*started(d), b"data: {junk\n\n", d.finish(END)]))

# A success that is no stream.


def _document(body: Callable[[Any], bytes], media_type: str = "application/json") -> Shape:
    def shape(dialect: Any) -> Wire:
        document = body(dialect)
        head = _head(dialect, content_type=media_type, content_length=str(len(document)))
        return Wire([document], head, is_chunked=False)

    return shape


_add("a whole answer as JSON", _document(lambda d: d.document("Hello brave world", "stop")))
_add("a whole answer as indented JSON", _document(
    lambda d: json.dumps(json.loads(d.document("Hello brave world", "stop")), indent=2).encode()))  # fmt: skip
_add("a whole answer as JSON, called a stream", _document(
    lambda d: d.document("Hello brave world", "stop"), "text/event-stream"))  # fmt: skip
_add("a whole answer as JSON, out of tokens", _document(lambda d: d.document("", "length")))
_add("an error as JSON", _document(lambda d: b'{"error": {"message": "No such thing."}}'))
_add("a word as JSON", _document(lambda d: b'"ok"'))
_add("something else as JSON", _document(lambda d: b'{"status": "ok"}'))
_add("half a JSON document", _document(lambda d: d.document("Hello", "stop")[:-20]))
_add("a web page", _document(lambda d: b"<!doctype html><title>Sign in</title>", "text/html"))
_add("a web page, called a stream", _document(
    lambda d: b"\n <html>Sign in</html>\n", "text/event-stream"))  # fmt: skip
_add("plain text", _document(lambda d: b"It works!\n", "text/plain"))

# Refusals.


def _refusal(status: int, error: Any = None, **headers: str) -> Shape:
    body = {"error": {"message": "No.", "type": "error"} if error is None else error}

    def shape(dialect: Any) -> Wire:
        head = _head(dialect, status, content_type="application/json", **headers)
        return Wire([json.dumps(body).encode()], head)

    return shape


for _status in (400, 401, 402, 403, 404, 408, 409, 413, 422, 500, 502, 503, 529):
    _add(f"HTTP {_status}", _refusal(_status))
_add("HTTP 429", _refusal(429, retry_after="0"))
_add("HTTP 429, an hour", _refusal(429, retry_after="3600"))
_add("HTTP 429, no credit", _refusal(429, {"message": "quota", "code": "insufficient_quota"}))
_add("HTTP 400, no credit", _refusal(400, {"message": "Your credit balance is too low."}))
_add("HTTP 400, too long", _refusal(400, {"message": "maximum context length is 8192 tokens"}))
_add("HTTP 400, a web page", lambda d: Wire(
    [b"<html>Bad Request</html>"], _head(d, 400, content_type="text/html")))  # fmt: skip
_add("HTTP 204", lambda d: Wire([], _head(d, 204), is_chunked=False))
for _status in (301, 302, 303, 307, 308):
    _add(f"HTTP {_status}", _refusal(_status, location="/elsewhere"))

# A provider that says our key.
_add("HTTP 400 with the key", _refusal(400, {"message": f"Incorrect API key provided: {KEY}"}))
_add("an error with the key", _stream(lambda d: [d.error(message=f"no account of {KEY}")]))
_add("the key as the answer", _stream(lambda d: whole(d, f"You sent {KEY}, did you?")))
# Pieces of four characters: up to three alone may be anything, and are passed on at once.
_add("the key in pieces", _stream(lambda d: whole(
    d, "You sent ", *(KEY[at : at + 4] for at in range(0, len(KEY), 4)), ", did you?"
)))  # fmt: skip
_add("the key, cut off", _stream(lambda d: [d.begin(), d.text("So: " + KEY[:10])], end="cut"))

# Silence.
_add("silence", _stream(lambda d: [], end="hang"), hangs=True)
_add("silence after the first chunk", _stream(lambda d: [d.begin()], end="hang"), hangs=True)
_add("silence after text", _stream(started, end="hang"), hangs=True)
_add("silence after reasoning", _stream(
    lambda d: [d.begin(), d.thought("Hm.")], end="hang"), hangs=True)  # fmt: skip
_add("silence after the last text", _stream(
    lambda d: [*started(d), d.finish(END)], end="hang"), hangs=True)  # fmt: skip
_add("silence after usage", _stream(
    lambda d: [*started(d), d.finish(END), d.usage()], end="hang"), hangs=True)  # fmt: skip
_add("silence in an error's body", lambda d: Wire(
    [b'{"error"'], _head(d, 400, content_type="application/json"), end="hang"), hangs=True)  # fmt: skip
