"""The embedded model: a real llama.cpp server with real weights, run and watched by ours."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatkeep.providers.embedded import weights
from tests.process import Server, until
from tests.titlerule import keeps_the_rule

PATIENT = {
    "CHATKEEP_MODEL_TIMEOUT": "300",
    "CHATKEEP_TURN_TIMEOUT": "600",
    # Nobody listens there: the embedded model must be reached without a proxy.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "sk-0123456789abcdef0123",
    "GGML_API_TOKEN": "a secret by its name",
    "OMP_WAIT_POLICY": "passive",
}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("data"), PATIENT) as running:
        yield running


def model_processes(server: Server) -> list[int]:
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_conversation_needs_no_key_and_survives_kill_minus_nine(tmp_path: Path) -> None:
    with Server(tmp_path, PATIENT) as server:
        for message in ("What is the capital of France?", "And of Spain?", "Thank you"):
            answer = server.chat("geography", message, max_tokens=16)
            assert answer.status_code == 200, answer.text
            assert answer.json()["response"].strip()
            assert answer.json()["usage"]["output_tokens"] > 0
        server.chat("kitchen/soup", "How do I cook lentil soup?", max_tokens=16)
        histories = [server.history("geography"), server.history("kitchen/soup")]
        assert [m["role"] for m in histories[0]] == ["user", "assistant"] * 3
        model = model_processes(server)
        server.kill()
        until(lambda: not any(map(alive, model)))

        server.start()

        assert [server.history("geography"), server.history("kitchen/soup")] == histories
        sessions = server.sessions()
        assert set(sessions) == {"geography", "kitchen/soup"}
        assert all(keeps_the_rule(session["title"]) for session in sessions.values())


def test_a_window_that_begins_with_the_assistant_is_answered(embedded: Server) -> None:
    for number in range(4):
        answer = embedded.chat("window", f"Say a number after {number}.", max_tokens=8)
        assert answer.status_code == 200, answer.text


def test_a_model_that_dies_is_started_again(embedded: Server) -> None:
    assert embedded.chat("mortal", "Hello there", max_tokens=4).status_code == 200
    (before,) = model_processes(embedded)

    os.kill(before, signal.SIGKILL)
    answer = embedded.chat("mortal", "Are you back?", max_tokens=4)

    assert answer.status_code == 200, answer.text
    assert model_processes(embedded) != [before]


def test_the_models_process_has_neither_the_servers_keys_nor_its_sockets(
    embedded: Server,
) -> None:
    assert embedded.chat("frugal", "Hello there", max_tokens=4).status_code == 200
    (model,) = model_processes(embedded)
    assert embedded.process is not None

    variables = Path(f"/proc/{model}/environ").read_bytes().split(b"\0")
    names = {variable.partition(b"=")[0] for variable in variables}
    assert {b"PATH", b"OMP_WAIT_POLICY"} <= names
    assert not [name for name in names if name.startswith(b"CHATKEEP_") or b"API" in name]
    assert sockets(model) & sockets(embedded.process.pid) == set()


def sockets(pid: int) -> set[str]:
    """The TCP sockets that a process has open, by their inodes."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    inodes = {f"socket:[{line.split()[9]}]" for line in lines}
    links = [file.readlink().name for file in Path(f"/proc/{pid}/fd").iterdir()]
    return inodes & set(links)


def test_the_model_ends_with_the_server(tmp_path: Path) -> None:
    with Server(tmp_path, PATIENT) as server:
        server.chat("s", "Hello there", max_tokens=4)
        (model,) = model_processes(server)

        assert server.stop() == 0

        until(lambda: not alive(model))


def test_a_conversation_too_long_for_the_model_says_so(embedded: Server) -> None:
    answer = embedded.chat("long", "word " * 10_000)

    assert answer.status_code == 502
    assert answer.json()["type"] == "/problems/context-too-long"


def test_any_gguf_file_can_be_the_model(tmp_path: Path) -> None:
    model = tmp_path / "my model.gguf"
    model.symlink_to(weights("smollm2-135m-instruct"))
    with Server(tmp_path / "data", {**PATIENT, "CHATKEEP_MODEL": f"local:{model}"}) as server:
        answer = server.chat("s", "Hello there", max_tokens=4)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == f"local:{model}"
