"""Every shape that an answer may have, through every client: what comes of it, and what it costs.

The table in `shapes.md` is what is expected, and what a reader may look up. After a change that is
meant, `pytest tests/server/test_shapes.py --write-shapes` writes it anew.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.process import PATIENCE, Server, files_with
from tests.shapes import HANGING, KEY, SHAPES, Anthropic, Dialect, Ollama, OpenAI, whole
from tests.upstream import Answer, Call, Upstream, Wire, polite

TABLE = Path(__file__).with_name("shapes.md")
HEAD = """# What comes of an answer

Made by `tests/server/test_shapes.py` from what a real server does before a scripted provider. The
columns are the server's own client of OpenAI's protocol, LangChain's, and those of Anthropic and
Ollama. A cell is the outcome (`ok`, or the problem's type), how often the provider was asked, and
the text that is stored. Where a protocol has no such thing, it gets an object it does not know.

"""
CLIENTS: dict[str, tuple[str, str, Dialect]] = {
    "direct": ("direct", "openai:scripted", OpenAI()),
    "langchain": ("langchain", "openai:scripted", OpenAI()),
    "anthropic": ("direct", "anthropic:scripted", Anthropic()),
    "ollama": ("direct", "ollama:scripted", Ollama()),
}
"""Which server's setting, which model, which protocol."""

AT_ONCE = 16
SILENCE_SECONDS = 4
SHOWN_CHARS = 20

Servers = dict[tuple[str, bool], Server]


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with Upstream(_answer) as running:
        yield running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, provider: Upstream) -> Iterator[Servers]:
    """A server for each client of OpenAI's protocol; one that waits long and one that does not."""
    with ExitStack() as stack:
        running: Servers = {}
        for client, hangs in itertools.product(("direct", "langchain"), (False, True)):
            seconds = str(SILENCE_SECONDS if hangs else PATIENCE)
            env = {
                **provider.env,
                "OPENAI_API_KEY": KEY,
                "ANTHROPIC_API_KEY": KEY,
                "CHATKEEP_MODEL": "openai:scripted",
                "CHATKEEP_MODELS": "anthropic:scripted,ollama:scripted",
                "CHATKEEP_MODEL_CLIENT": client,
                "CHATKEEP_FIRST_TOKEN_TIMEOUT": seconds,
                "CHATKEEP_MODEL_TIMEOUT": seconds,
            }
            folder = tmp_path_factory.mktemp("data")
            running[client, hangs] = stack.enter_context(Server(folder, env))
        yield running


def _answer(call: Call) -> Answer:
    """The shape that the message names, in the protocol of the path."""
    if call.is_title:
        return polite(call)
    dialect = next(d for path, d in _PATHS.items() if call.path.startswith(path))
    return Answer(wire=SHAPES[call.messages[-1][1]](dialect))


_PATHS: dict[str, Dialect] = {
    "/v1/chat/completions": OpenAI(),
    "/v1/messages": Anthropic(),
    "/api/chat": Ollama(),
}


async def _observe(servers: Servers, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The outcome of these shapes with these clients."""
    free = asyncio.Semaphore(AT_ONCE)
    outcomes: dict[tuple[str, str], str] = {}

    async def post(shape: str, client: str) -> None:
        setting, model, _ = CLIENTS[client]
        server = servers[setting, shape in HANGING]
        session = f"{client}: {shape}"
        body = {"session_id": session, "message": shape, "model": model}
        async with free, httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:
            answer = await http.post("/chat", json=body)
            history = await http.get(f"/history/{quote(session, safe='')}")
        assert KEY not in answer.text
        assert KEY not in history.text
        outcomes[shape, client] = _outcome(answer, history.json())

    await asyncio.gather(*(post(*pair) for pair in pairs))
    return outcomes


def _outcome(answer: httpx2.Response, history: list[dict[str, Any]]) -> str:
    document = answer.json()
    stored = "".join(m["content"] for m in history if m["role"] == "assistant")
    if answer.status_code == 200:
        assert document["response"] == stored
        return f"ok ({document['finish_reason']})§{stored}"
    assert answer.status_code in {502, 503, 504}, answer.text
    return f"{document['type'].removeprefix('/problems/')}§{stored}"


def _cell(outcome: str, calls: int) -> str:
    how, _, text = outcome.partition("§")
    shown = repr(text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…{len(text)}")
    return f"{how}, {calls}, {shown if text else '–'}"


def _write(cells: dict[tuple[str, str], str]) -> None:
    lines = [f"| shape | {' | '.join(CLIENTS)} |", "| --- " * (len(CLIENTS) + 1) + "|"]
    for shape in SHAPES:
        row = " | ".join(cells[shape, client] for client in CLIENTS)
        lines.append(f"| {shape} | {row} |")
    TABLE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def _expected() -> dict[tuple[str, str], str]:
    lines = TABLE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {
        (shape, client): cell
        for shape, *cells in rows
        for client, cell in zip(CLIENTS, cells, strict=True)
    }


def test_each_shape_has_its_outcome_with_each_client(
    servers: Servers, provider: Upstream, pytestconfig: pytest.Config, full: bool
) -> None:
    writes = pytestconfig.getoption("--write-shapes")
    # The server's own client takes all of them, the others every fourth.
    pairs = [
        (shape, client)
        for number, shape in enumerate(SHAPES)
        for client in CLIENTS
        if full or writes or client == "direct" or number % 4 == 0
    ]
    outcomes = asyncio.run(_observe(servers, pairs))

    calls = Counter((call.messages[-1][1], _client_of(call)) for call in provider.replies)
    cells = {pair: _cell(outcomes[pair], calls[pair]) for pair in pairs}
    if writes:
        _write(cells)
    expected = _expected()
    assert set(expected) == {(shape, client) for shape in SHAPES for client in CLIENTS}
    assert {pair: expected[pair] for pair in pairs} == cells
    for server in servers.values():
        assert server.get("/healthz") == {"status": "ok"}
        # Neither in the log nor in the database.
        assert files_with(server.folder, KEY) == []
        assert "Traceback" not in server.log.read_text()


def _client_of(call: Call) -> str:
    """Which client called: LangChain's says who it is."""
    if call.path != "/v1/chat/completions":
        return "anthropic" if call.path == "/v1/messages" else "ollama"
    return "langchain" if "openai" in call.headers["user-agent"].lower() else "direct"


SPELLINGS = {
    "direct: reasoning": ("direct", OpenAI().thought("Hm. ")),
    "direct: OpenRouter's": ("direct", OpenAI().delta({"reasoning": "Hm. "})),
    "direct: empty chunks": ("direct", OpenAI().text("")),
    "direct: comments": ("direct", OpenAI().comment()),
    "langchain: reasoning": ("langchain", OpenAI().thought("Hm. ")),
    "langchain: OpenRouter's": ("langchain", OpenAI().delta({"reasoning": "Hm. "})),
    "langchain: empty chunks": ("langchain", OpenAI().text("")),
    "anthropic: reasoning": ("anthropic", Anthropic().thought("Hm. ")),
    "ollama: reasoning": ("ollama", Ollama().thought("Hm. ")),
}
"""A client, and what keeps coming while a model thinks."""


def test_a_model_that_thinks_for_longer_than_is_waited_for_silence_is_waited_for(
    servers: Servers, provider: Upstream
) -> None:
    pieces = 3 * SILENCE_SECONDS

    def thinks(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        client, thought = SPELLINGS[call.messages[-1][1]]
        dialect = CLIENTS[client][2]
        # Half a second each, so that they take half as much again as may be silent.
        begin, *rest = whole(dialect)
        return Answer(wire=Wire([begin, *[thought] * pieces, b"".join(rest)], pause=0.5))

    provider.script = thinks
    with ThreadPoolExecutor() as pool:
        answers = pool.map(
            lambda spelling: servers[CLIENTS[SPELLINGS[spelling][0]][0], True].chat(
                spelling, spelling, model=CLIENTS[SPELLINGS[spelling][0]][1]
            ),
            SPELLINGS,
        )
        replies = {
            spelling: answer.json().get("response", answer.text)
            for spelling, answer in zip(SPELLINGS, answers, strict=True)
        }

    assert replies == dict.fromkeys(SPELLINGS, "Hello brave world")
