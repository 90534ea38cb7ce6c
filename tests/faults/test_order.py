"""Many clients post to the same sessions at once: an independent checker finds nothing wrong."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.faults.checker import Exchange, RunRecord, findings, reply_to
from tests.process import PATIENCE, Server
from tests.sse import STREAM, parse
from tests.upstream import Answer, Call, Upstream, polite

SESSIONS, CLIENTS, QUESTIONS = 20, 10, 5
"""50 posts to each of 20 sessions, by 10 clients that ask 5 questions one after the other."""

SOME = 6
"""Sessions in a normal run."""


def echo(call: Call) -> Answer:
    question = call.messages[-1][1]
    return polite(call) if call.is_title else Answer(["Reply to: ", question])


def run(server: Server, upstream: Upstream, sessions: int) -> RunRecord:
    """Let all clients ask at once; return all that could be seen from outside."""
    upstream.script = echo
    record = RunRecord()
    names = [f"session {number}" for number in range(sessions)]
    asyncio.run(_ask_all(server, names, record))
    record.prompts = [[m for m in call.messages if m[0] != "system"] for call in upstream.replies]
    for name in names:
        record.histories[name] = [(m["role"], m["content"]) for m in server.history(name)]
    return record


async def _ask_all(server: Server, names: list[str], record: RunRecord) -> None:
    """Each client asks its next question as soon as the one before is accepted."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as http:

        async def ask(session: str, client: int, number: int, accepted: asyncio.Event) -> None:
            question = f"{session}, client {client}, question {number}"
            body = {"session_id": session, "message": question}
            async with http.stream("POST", "/chat", json=body, headers=STREAM) as response:
                assert response.status_code == 200, await response.aread()
                text = ""
                async for chunk in response.aiter_text():
                    text += chunk
                    accepted.set()
            *_, last = parse(text.split("\n"))
            answer, turn = str(last.data.get("response")), last.data["turn_id"]
            record.exchanges.append(Exchange(session, client, number, question, answer, turn))

        async def ask_on(session: str, client: int) -> None:
            asking = []
            for number in range(QUESTIONS):
                accepted = asyncio.Event()
                asking.append(asyncio.create_task(ask(session, client, number, accepted)))
                await accepted.wait()
            await asyncio.gather(*asking)

        await asyncio.gather(*(ask_on(name, client) for name in names for client in range(CLIENTS)))


def make(folder: Path, upstream: Upstream, *program: str) -> Server:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    env |= {"CHATKEEP_MAX_QUEUED_TURNS": "50"}
    return Server(folder, env, program=program or ("chatkeep",))


def test_no_turn_is_lost_doubled_reordered_or_torn(
    tmp_path: Path, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    sessions = SESSIONS if full else SOME
    with make(tmp_path / "data", upstream) as server:
        record = run(server, upstream, sessions)
    assert findings(record) == []
    assert len(record.exchanges) == len(record.prompts) == sessions * CLIENTS * QUESTIONS
    summarise(f"{len(record.exchanges)} turns in {sessions} sessions: the checker finds nothing")


def good() -> RunRecord:
    """Two clients of one session, as it should be."""
    record = RunRecord()
    history = []
    for number, client in ((0, 1), (0, 2), (1, 1)):
        question = f"client {client} question {number}"
        record.exchanges.append(
            Exchange("s", client, number, question, reply_to(question), f"turn_{question}")
        )
        record.prompts.append([*history[-5:], ("user", question)])
        history += [("user", question), ("assistant", reply_to(question))]
    record.histories["s"] = history
    return record


def _swap(record: RunRecord) -> None:
    history = record.histories["s"]
    record.histories["s"] = history[4:6] + history[2:4] + history[0:2]


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda record: record.histories["s"].__delitem__(slice(2, 4)), "lost"),
        (lambda record: record.histories["s"].extend(record.histories["s"][:2]), "doubled"),
        (_swap, "reordered"),
        (lambda record: record.histories["s"].pop(3), "torn"),
        (lambda record: record.exchanges.append(record.exchanges[0]), "doubled"),
        (lambda record: record.prompts.append(record.prompts[0]), "doubled"),
        (lambda record: record.prompts[2].pop(0), "wrong context"),
    ],
)
def test_the_checker_finds_what_is_wrong(harm: Callable[[RunRecord], object], word: str) -> None:
    record = good()
    assert findings(record) == []
    harm(record)
    assert any(finding.startswith(word) for finding in findings(record)), findings(record)
