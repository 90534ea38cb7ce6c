"""The guard in front of a tiny application: what it passes on, and what it refuses."""

import asyncio
import json
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from chatkeep.api import problems
from chatkeep.api.guards import Guard
from chatkeep.domain.errors import BodyTooSlow, TooLarge

HOST = (b"host", b"localhost")
BODY_SECONDS = 10

Headers = Iterable[tuple[bytes, bytes]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        select = self._selector.select

        def jump(timeout: float | None) -> Any:
            assert timeout is not None, "nothing would ever happen again"
            self._seconds += timeout
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self._seconds


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the body to its end, and answer with it."""
    body, is_complete = b"", False
    while not is_complete:
        message = await receive()
        body += message["body"]
        is_complete = not message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guard(app: Any = echo, **options: Any) -> Guard:
    defaults: dict[str, Any] = {
        "own_address": "127.0.0.1",
        "hosts": (),
        "checks_host": lambda: True,
        "origins": (),
        "max_body_bytes": 100,
        "max_bytes": {},
        "uploads": {"/upload": 1_000},
        "body_seconds": BODY_SECONDS,
        "max_requests": 10,
        "refuse": problems.respond,
    }
    return Guard(app, **(defaults | options))


async def exchange(
    guarded: Guard,
    *chunks: bytes,
    path: str = "/",
    headers: Headers = (HOST,),
    version: str = "1.1",
    seconds: float = 0,
) -> tuple[int, bytes]:
    """The status and the body of the answer to a request whose chunks arrive that far apart."""
    scope = {"type": "http", "method": "POST", "path": path, "http_version": version}
    scope |= {"headers": list(headers)}
    remaining = list(chunks or [b""])
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(seconds)
        chunk = remaining.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(remaining)}

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def handshake(
    guarded: Guard,
    *,
    path: str = "/",
    headers: Headers = (HOST,),
    extensions: tuple[str, ...] = ("websocket.http.response",),
) -> list[Any]:
    """What a client gets that wants to open a WebSocket."""
    scope = {"type": "websocket", "path": path, "http_version": "1.1", "headers": list(headers)}
    scope["extensions"] = {name: {} for name in extensions}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded(scope, receive, send)
    return sent


async def accept(_scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    """The status of a problem document, and the code of its error."""
    status, body = answer
    assert status != 200, "the request was passed on"
    problem = json.loads(body)
    assert problem["status"] == status
    return status, problem["type"].removeprefix("/problems/")


@pytest.mark.parametrize(
    ("hosts", "host", "is_allowed"),
    [
        ((), b"localhost", True),
        ((), b"LocalHost:8000", True),
        ((), b"[::1]:8000", True),
        ((), b"[::1]", True),
        ((), b"127.0.0.1", True),
        ((), b"chat.example", False),
        ((), b"localhost:8000.evil.example", False),
        ((), b"localhost:", False),
        ((), b"", False),
        (("Chat.Example",), b"chat.example:443", True),
        (("chat.example:8443",), b"chat.example:8443", True),
        (("chat.example:8443",), b"chat.example", False),
        (("*",), b"evil.example", True),
    ],
)
def test_only_requests_for_the_servers_own_names_are_passed_on(
    hosts: tuple[str, ...], host: bytes, is_allowed: bool
) -> None:
    answer = run(exchange(guard(hosts=hosts), headers=[(b"host", host)]))

    assert answer == (200, b"") if is_allowed else code(answer) == (403, "foreign-host")


@pytest.mark.parametrize(
    ("hosts", "host", "is_allowed"),
    [
        ((), b"chat.example", True),
        ((), b"192.168.1.5:8000", True),
        (("chat.example",), b"chat.example", True),
        (("chat.example",), b"localhost", True),
        (("chat.example",), b"evil.example", False),
    ],
)
def test_a_server_with_keys_has_any_name_unless_its_names_are_given(
    hosts: tuple[str, ...], host: bytes, is_allowed: bool
) -> None:
    with_keys = guard(hosts=hosts, checks_host=lambda: False)

    answer = run(exchange(with_keys, headers=[(b"host", host)]))

    assert answer == (200, b"") if is_allowed else code(answer) == (403, "foreign-host")


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (b"http://localhost:8000", True),
        (b"HTTPS://LOCALHOST:8000", True),
        (b"https://page.example", True),
        (b"http://localhost", False),
        (b"https://page.example:444", False),
        (b"https://evil.example", False),
        (b"null", False),
    ],
)
def test_only_pages_of_the_server_and_of_allowed_origins_may_call(
    origin: bytes, is_allowed: bool
) -> None:
    headers = [(b"host", b"localhost:8000"), (b"origin", origin)]
    answer = run(exchange(guard(origins=["https://Page.example/"]), headers=headers))

    assert answer == (200, b"") if is_allowed else code(answer) == (403, "foreign-origin")


@pytest.mark.parametrize(
    "name", [b"host", b"origin", b"authorization", b"content-type", b"content-length"]
)
def test_a_header_that_decides_something_may_not_be_repeated(name: bytes) -> None:
    value = {b"host": b"localhost", b"origin": b"http://localhost"}.get(name, b"1")
    headers = dict([HOST, (name, value)])

    answer = run(exchange(guard(), headers=[*headers.items(), (name, value)]))

    assert code(answer) == (400, "malformed-request")
    assert name.decode().title() in json.loads(answer[1])["detail"]


def test_other_headers_may_be_repeated() -> None:
    headers = [HOST, (b"accept", b"text/plain"), (b"accept", b"application/json")]

    assert run(exchange(guard(), headers=headers)) == (200, b"")


def test_http_1_1_needs_a_host() -> None:
    assert code(run(exchange(guard(), headers=()))) == (400, "malformed-request")
    assert code(run(exchange(guard(), headers=(), version="1.0"))) == (403, "foreign-host")
    assert run(exchange(guard(hosts=["*"]), headers=(), version="1.0")) == (200, b"")


@pytest.mark.parametrize(("path", "limit"), [("/", 100), ("/upload", 1_000), ("/upload/", 100)])
def test_a_body_has_a_limit_by_its_length_and_by_what_arrives(path: str, limit: int) -> None:
    def post(size: int, *headers: tuple[bytes, bytes]) -> Any:
        half = size // 2
        chunks = (b"x" * half, b"x" * (size - half))
        return run(exchange(guard(), *chunks, path=path, headers=[HOST, *headers]))

    assert post(limit) == (200, b"x" * limit)
    assert post(limit, (b"content-length", b"%d" % limit)) == (200, b"x" * limit)
    for length in (b"%d" % (limit + 1), b"9" * 1_000):
        answer = post(0, (b"content-length", length))
        assert code(answer) == (413, "too-large")
        assert f"larger than {limit} bytes" in json.loads(answer[1])["detail"]
    for headers in ((), ((b"content-length", b"1"),), ((b"content-length", b"1x"),)):
        with pytest.raises(TooLarge, match=f"larger than {limit} bytes"):
            post(limit + 1, *headers)


def test_a_body_has_a_time_in_which_all_of_it_must_arrive() -> None:
    chunks = (b"a", b"b", b"c")

    assert run(exchange(guard(), *chunks, seconds=3)) == (200, b"abc")
    with pytest.raises(BodyTooSlow):
        run(exchange(guard(), *chunks, seconds=4))


def test_an_upload_has_a_time_in_which_each_chunk_must_arrive() -> None:
    chunks = (b"a", b"b", b"c")

    assert run(exchange(guard(), *chunks, path="/upload", seconds=9)) == (200, b"abc")
    with pytest.raises(BodyTooSlow):
        run(exchange(guard(), *chunks, path="/upload", seconds=11))


def test_waiting_for_the_client_to_leave_has_no_limit() -> None:
    messages: list[Any] = []

    async def stream(_scope: Any, receive: Any, _send: Any) -> None:
        messages.extend([await receive(), await receive()])

    async def request() -> None:
        incoming = [{"type": "http.request", "body": b"all"}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            if len(incoming) == 1:
                await asyncio.sleep(100 * BODY_SECONDS)
            return incoming.pop(0)

        scope = {"type": "http", "path": "/", "http_version": "1.1", "headers": [HOST]}
        await guard(stream)(scope, receive, receive)

    run(request())
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]


def test_requests_beyond_the_limit_are_refused_until_one_ends() -> None:
    async def requests() -> None:
        gate, started = asyncio.Event(), asyncio.Semaphore(0)

        async def wait(scope: Any, receive: Any, send: Any) -> None:
            started.release()
            await gate.wait()
            if scope["path"] == "/broken":
                raise RuntimeError
            await echo(scope, receive, send)

        guarded = guard(wait, max_requests=2)
        running = [
            asyncio.create_task(exchange(guarded, path=path)) for path in ("/whole", "/broken")
        ]
        for _ in running:
            await started.acquire()

        refused = await exchange(guarded)
        gate.set()
        await asyncio.gather(*running, return_exceptions=True)

        assert code(refused) == (503, "overloaded")
        assert json.loads(refused[1])["retry_after"] == 5
        assert [task.exception() is None for task in running] == [True, False]
        for _ in range(3):
            assert await exchange(guarded) == (200, b"")

    run(requests())


def test_a_refused_request_never_counts() -> None:
    async def requests() -> None:
        guarded = guard(max_requests=1)
        for _ in range(3):
            assert (await exchange(guarded, headers=[(b"host", b"evil.example")]))[0] == 403
        assert await exchange(guarded) == (200, b"")

    run(requests())


OWN_PAGE = (b"origin", b"http://localhost:8000")
SITE = b"sec-fetch-site"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ((), ""),
        ((OWN_PAGE,), ""),
        ((OWN_PAGE, (SITE, b"same-origin")), ""),
        (((b"origin", b"https://page.example"),), ""),
        (((b"origin", b"https://evil.example"),), "foreign-origin"),
        (((b"origin", b"http://localhost"),), "foreign-origin"),
        (((b"origin", b"null"),), "foreign-origin"),
        (((SITE, b"cross-site"),), "foreign-origin"),
        (((SITE, b"cross-site"), (b"sec-fetch-dest", b"document")), "foreign-origin"),
        ((OWN_PAGE, OWN_PAGE), "malformed-request"),
    ],
)
def test_no_foreign_page_opens_a_websocket(headers: Headers, refused: str) -> None:
    guarded = guard(accept, origins=["https://page.example"])
    host = (b"host", b"localhost:8000")

    sent = run(handshake(guarded, headers=(host, *headers)))

    if not refused:
        assert sent == [{"type": "websocket.accept"}]
        return
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    status = 400 if refused == "malformed-request" else 403
    assert code((sent[0]["status"], sent[1]["body"])) == (status, refused)


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b""])
def test_a_websocket_is_opened_by_no_other_name(host: bytes) -> None:
    origin = (b"origin", b"http://" + host)
    for headers in ([(b"host", host)], [(b"host", host), origin]):
        sent = run(handshake(guard(accept), headers=headers))

        assert code((sent[0]["status"], sent[1]["body"])) == (403, "foreign-host")


def test_a_websocket_is_refused_by_servers_that_can_only_close_it_too() -> None:
    headers = [HOST, (b"origin", b"https://evil.example")]

    sent = run(handshake(guard(accept), headers=headers, extensions=()))

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_websocket_counts_as_a_request_while_it_is_open() -> None:
    async def connections() -> None:
        gate, started = asyncio.Event(), asyncio.Event()

        async def stay(_scope: Any, _receive: Any, _send: Any) -> None:
            started.set()
            await gate.wait()

        guarded = guard(stay, max_requests=1)
        open_one = asyncio.create_task(handshake(guarded))
        await started.wait()

        refused = await handshake(guarded)
        assert code((refused[0]["status"], refused[1]["body"])) == (503, "overloaded")
        assert code(await exchange(guarded)) == (503, "overloaded")
        gate.set()
        await open_one
        assert await handshake(guarded) == []

    run(connections())


def test_whatever_else_servers_may_speak_is_refused() -> None:
    for kind in ("http3", "webtransport"):
        with pytest.raises(ValueError, match=kind):
            run(guard()({"type": kind, "path": "/"}, None, None))


def test_what_is_no_request_is_passed_on() -> None:
    scopes: list[Any] = []

    async def lifespan(scope: Any, _receive: Any, _send: Any) -> None:
        scopes.append(scope)

    run(guard(lifespan)({"type": "lifespan"}, None, None))
    assert scopes == [{"type": "lifespan"}]
