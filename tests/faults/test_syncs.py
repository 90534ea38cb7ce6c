"""No acknowledgement leaves before the sync that covers it: read from the system calls themselves.

A kill does not test a power cut, because the machine's cache survives it. So strace writes down, in
one order, what goes to the log of the database, when it is synced, and what goes to the network.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.strace import attached, needs_strace
from tests.process import Server
from tests.upstream import Answer, Call, Upstream, polite

pytestmark = needs_strace

AT_ONCE = 16
SOME, ALL = 100, 500
"""Turns in a normal run, and with `--full`."""

_CALL = re.compile(r"(?:\[pid +)?(\d+)\]? +(?:<\.\.\. )?(\w+)(?: resumed>|\()")
_MARK = re.compile(r"<(asked|answered) (\d+)>")


@dataclass
class Ledger:
    """When each mark was synced, and when it left for the network: line numbers of the trace."""

    synced: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    syncs: int = 0
    _written: set[str] = field(default_factory=set)
    _begun: dict[str, set[str]] = field(default_factory=dict)

    def read(self, trace: Iterable[str], database: str) -> None:
        """Go through the calls in their order."""
        for index, line in enumerate(trace):
            match = _CALL.match(line)
            if match is None:
                continue
            thread, call = match.groups()
            marks = {" ".join(mark) for mark in _MARK.findall(line)}
            if call == "pwrite64" and f"{database}-wal>" in line:
                self._written |= marks
            elif call == "fdatasync":
                self._sync(thread, line, index)
            elif call in {"write", "writev", "sendto", "sendmsg"} and "TCP" in line:
                for mark in marks:
                    self.left.setdefault(mark, index)

    def _sync(self, thread: str, line: str, index: int) -> None:
        """A sync covers what was written before it began, once it has returned."""
        if "resumed" not in line:
            self._begun[thread] = set(self._written)
        if line.rstrip().endswith("= 0"):
            self.syncs += 1
            for mark in self._begun.pop(thread):
                self.synced.setdefault(mark, index)


def echo(call: Call) -> Answer:
    """Answer so that the number of the question is in the reply."""
    if call.is_title:
        return polite(call)
    number = re.findall(r"<asked (\d+)>", call.messages[-1][1])[-1]
    return Answer([f"<answered {number}>"])


def traced_turns(server: Server, upstream: Upstream, trace: Path, turns: int) -> Ledger:
    """Run so many turns at once under strace; return what it saw."""
    upstream.script = echo

    def ask(number: int) -> str:
        answer = server.chat(f"session {number % (3 * AT_ONCE)}", f"<asked {number}>")
        return str(answer.json()["response"])

    assert server.process is not None
    calls = "trace=pwrite64,fdatasync,write,writev,sendto,sendmsg"
    options = ("-yy", "-s", "5000", "-o", str(trace), "-e", calls)
    with attached(server.process.pid, *options), ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(turns)))
    assert answers == [f"<answered {number}>" for number in range(turns)]
    ledger = Ledger()
    with trace.open(errors="replace") as lines:
        ledger.read(lines, f"{server.folder}/chatkeep.db")
    return ledger


def check(ledger: Ledger, turns: int) -> None:
    for number in range(turns):
        for mark in (f"asked {number}", f"answered {number}"):
            assert mark in ledger.left, f"{mark} was never sent"
            assert mark in ledger.synced, f"{mark} was never synced"
            # A question leaves for the model, an answer for the client.
            assert ledger.synced[mark] < ledger.left[mark], f"{mark} left before it was synced"
    # Each turn makes two commits, and a session's first one more. How many share a sync when
    # the first have just begun depends on the machine; over many turns it does not.
    most = turns if turns >= ALL else 2 * turns
    assert ledger.syncs < most, f"{ledger.syncs} syncs for {turns} turns"


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "trace"
    yield path
    path.unlink(missing_ok=True)  # it is long


def test_nothing_is_acknowledged_before_the_sync_that_covers_it_has_returned(
    tmp_path: Path, upstream: Upstream, trace: Path, full: bool, summarise: Callable[[str], None]
) -> None:
    turns = ALL if full else SOME
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", env) as server:
        ledger = traced_turns(server, upstream, trace, turns)
    summarise(f"{turns} turns, {AT_ONCE} at once: {ledger.syncs} syncs, none too late")
    check(ledger, turns)
