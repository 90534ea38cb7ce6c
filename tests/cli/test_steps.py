"""An agent's work in the terminal: its steps, its reasoning; pictures and documents sent to it."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import CTRL_C, CTRL_D, ENTER, Terminal
from tests.cli.test_chat import CHAT, READY, env, one_shot, open_chat, start_again
from tests.process import PATIENCE, Server, run_command, until
from tests.proxy import Proxy
from tests.upstream import Answer, ImageData, ToolCall, Upstream, polite

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
DOCUMENT = b"%PDF-1.7\n" + bytes(40)
CALL = '⚙ get_weather(city="Oslo", days=[1, 2])'
STEPS = f"""\
{CALL}
  → rain, 7 °C[2J
⚙ clock()
⚙ compass()
  → clock: (nothing)
  ✗ compass: no needle

"""


class Agent:
    """A server with an agent, which goes on where the test lets it."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.points = folder / "points"
        self.points.mkdir()
        model = "weather=python:tests.cli.weather:agent"
        settings = {"CHATKEEP_MODEL": model, "CHATKEEP_TITLE_MODEL": "openai:scripted"}
        self.server = Server(
            folder / "data", {**upstream.env, **settings, "POINTS": str(self.points)}
        )

    def go_on(self, *points: str) -> None:
        for point in points or ("call", "result", "reply"):
            (self.points / point).touch()


@pytest.fixture
def agent(tmp_path: Path, upstream: Upstream) -> Iterator[Agent]:
    made = Agent(tmp_path, upstream)
    with made.server:
        yield made


def test_an_agents_work_is_visible_while_it_happens(agent: Agent) -> None:
    with open_chat(agent.server.url, "s") as terminal:
        terminal.wait(READY, "›")
        terminal.type("Weather?" + ENTER)
        terminal.wait("thinking (5 words) · Ctrl-C stops")
        agent.go_on("call")
        terminal.wait("Let me look.", CALL, "running get_weather · Ctrl-C stops")
        assert "\x1b[2m⚙ get_weather".encode() in terminal.raw
        agent.go_on("result")
        terminal.wait("rain, 7 °C[2J", "✗ compass: no needle", "thinking · Ctrl-C stops")
        agent.go_on("reply")
        shown = f"› Weather?\n\nLet me look.\n\n{STEPS}It rains.\n\n›"
        terminal.wait(shown)
        assert "I should" not in terminal.shown
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    with open_chat(agent.server.url, "s") as terminal:
        terminal.wait(shown)


def test_reasoning_is_shown_where_that_is_wanted(agent: Agent) -> None:
    agent.go_on()
    command = (*CHAT, "--url", agent.server.url, "-s", "s", "--show-reasoning")
    with Terminal((*command, "Weather?"), env()) as terminal:
        assert terminal.end() == 0
        shown = f"I should look it up.\n\nLet me look.\n\n{STEPS}It rains."
        assert terminal.shown.strip() == shown
    with Terminal(command, env()) as terminal:
        terminal.wait(f"› Weather?\n\n{shown}\n\n›")


def test_a_pipe_gets_texts_and_no_steps(agent: Agent) -> None:
    agent.go_on()
    with one_shot(agent.server.url, "s", "quietly") as program:
        out, err = program.communicate(timeout=PATIENCE)
        assert (out, err, program.returncode) == ("It **rains**.\n", "", 0)
    with one_shot(agent.server.url, "s", "Weather?", "--show-reasoning") as program:
        out, err = program.communicate(timeout=PATIENCE)
        assert (out, err) == ("Let me *look*.\n\nIt **rains**.\n", "")
    with one_shot(agent.server.url, "s", "Weather?", "--json") as program:
        out, err = program.communicate(timeout=PATIENCE)
        assert (json.loads(out)["response"], err) == ("It **rains**.", "")


def test_steps_are_in_the_terminal_while_the_reply_goes_into_a_file(
    agent: Agent, tmp_path: Path
) -> None:
    agent.go_on()
    file = tmp_path / "reply.txt"
    command = " ".join((*CHAT, "--url", agent.server.url, "quietly", ">", str(file)))
    with Terminal(("sh", "-c", command), env()) as terminal:
        assert terminal.end() == 0
        assert f"{terminal.shown.strip()}\n\n" == STEPS
    assert file.read_text() == "It **rains**.\n"


def test_steps_are_shown_once_when_the_connection_breaks_between_any_of_them(
    agent: Agent,
) -> None:
    agent.go_on()
    with Proxy(agent.server.url, limit=lambda number: 250 + 150 * number) as proxy:
        command = (*CHAT, "--url", proxy.url, "-s", "s", "Weather?")
        with Terminal(command, env()) as terminal:
            assert terminal.end() == 0
            assert terminal.shown.strip() == f"Let me look.\n\n{STEPS}It rains."
        assert len(proxy.requests) > 3
    assert len(agent.server.history("s")) == 7


def test_steps_of_an_attempt_that_was_interrupted_are_void(agent: Agent) -> None:
    with open_chat(agent.server.url, "s") as terminal:
        terminal.wait(READY, "›")
        terminal.type("Weather?" + ENTER)
        agent.go_on("call")
        terminal.wait(CALL)
        agent.server.kill()
        terminal.wait("the connection is lost")
        agent.go_on()
        start_again(agent.server)
        terminal.wait(f"the answer starts again.\n\nLet me look.\n\n{STEPS}It rains.\n\n›")


def test_an_agent_is_stopped_between_its_steps(agent: Agent) -> None:
    with open_chat(agent.server.url, "s") as terminal:
        terminal.wait(READY, "›")
        terminal.type("Weather?" + ENTER)
        agent.go_on("call")
        terminal.wait(CALL)
        terminal.type(CTRL_C)
        terminal.wait(f"{CALL}\nstopped")
    with open_chat(agent.server.url, "s") as terminal:
        terminal.wait(f"› Weather?\n\nLet me look.\n\n{CALL}\ncancelled\n\n›")


def test_a_conversation_is_printed_with_its_steps(agent: Agent) -> None:
    agent.go_on()
    agent.server.chat("s", "Weather?")
    command = (*CHAT[:-1], "sessions", "show", "s", "--url", agent.server.url)
    done = subprocess.run(command, env=env(), capture_output=True, text=True, check=True)
    assert "> **Call** of `get_weather`" in done.stdout
    assert "I should" not in done.stdout
    with Terminal(command, {**env(), "PAGER": "cat"}) as terminal:
        assert terminal.end() == 0
        _, shown = terminal.scrolled.split(" UTC)\n\nWeather?\n\n")
        heading, *rest = shown.rstrip().split("\n\n")
        assert heading.startswith("Assistant (")
        assert "\n\n".join(rest[:2]) + "\n\n" == f"Let me look.\n\n{STEPS}"
        assert (rest[2].startswith("Assistant ("), rest[3:]) == (True, ["It rains."])
        assert "\x1b[2J" not in terminal.raw.decode()


TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def test_a_reply_that_calls_tools_is_shown_with_the_results_that_a_program_sent(
    server: Server, upstream: Upstream, session: str
) -> None:
    call = ToolCall("look", {"at": "the\nmoon", "how": "x" * 600})
    upstream.script = lambda one: (
        polite(one) if one.is_title or one.tool_results else Answer([], tool_calls=[call])
    )
    server.chat(session, "And the moon?", tools=TOOLS)
    with server.client() as client:
        body = {
            "session_id": session,
            "tool_results": [{"tool_call_id": "call_1", "content": "full\n\nand bright"}],
        }
        assert client.post("/chat", json=body).is_success
    with open_chat(server.url, session, columns=60) as terminal:
        step = '⚙ look(at="the\\nmoon", how="' + "x" * 31 + "…\n  → full and bright\n\n"
        terminal.wait(f"› And the moon?\n\n{step}")


def seen(upstream: Upstream) -> list[ImageData | str]:
    return upstream.replies[-1].images


def test_pictures_and_documents_are_sent_with_one_message(
    server: Server, upstream: Upstream, session: str, tmp_path: Path
) -> None:
    picture, document = tmp_path / "moon.png", tmp_path / "plan.pdf"
    picture.write_bytes(PICTURE)
    document.write_bytes(DOCUMENT)
    files = ("-i", str(picture), "--image", str(picture), "-f", str(document))
    with one_shot(server.url, session, *files, "What is this?") as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert (out, err, program.returncode) == ("Reply to: What is this?\n", "", 0)
    assert seen(upstream) == [ImageData("image/png", PICTURE)] * 2
    blocks = server.history(session)[0]["blocks"]
    assert [block["type"] for block in blocks] == ["text", "image", "image", "file"]
    assert blocks[-1]["filename"] == "plan.pdf"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-i", "words.png", "x"), "words.png is not a picture: PNG, JPEG, GIF and WebP can be"),
        (("-i", "plan.pdf", "x"), "plan.pdf is not a picture"),
        (("-i", "none.png", "x"), "none.png cannot be read: No such file or directory."),
        (("-i", "large.png", "x"), "a file has more than 10485760 bytes."),
        (("-i", "moon.png"), "There is no message to send."),
        (("-f", "plan.pdf"), "There is no message to send."),
    ],
)
def test_what_is_no_picture_is_wrong_usage_in_one_line(
    server: Server, upstream: Upstream, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    contents = {"words.png": b"words", "moon.png": PICTURE, "plan.pdf": DOCUMENT}
    contents["large.png"] = PICTURE + bytes(10_485_760)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    done = run_command(
        "chat", "--url", server.url, *arguments, env=server.env, folder=tmp_path, stdin=""
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert upstream.calls == []


def test_a_picture_is_added_in_a_conversation_and_removed_again(
    server: Server, upstream: Upstream, session: str, tmp_path: Path
) -> None:
    picture, notes = tmp_path / "the moon.png", tmp_path / "notes.txt"
    picture.write_bytes(PICTURE)
    notes.write_text("by night")
    with open_chat(server.url, session, columns=150) as terminal:
        terminal.wait(READY, "›")
        terminal.type(f"/image {tmp_path}/none.png" + ENTER)
        terminal.wait("none.png cannot be read")
        terminal.type(f"/image {notes}" + ENTER)
        terminal.wait("notes.txt is not a picture")
        terminal.type(f"/image {picture}" + ENTER)
        terminal.wait("With the next message: [image: the moon.png]\n")
        terminal.type("/image none" + ENTER)
        terminal.wait("With the next message: nothing", without="[image: the moon.png] ·")
        # As a terminal writes the path of a file that is dropped.
        terminal.type(f"/image '{picture}'" + ENTER)
        terminal.wait("/image '", "\n [image: the moon.png] · new session")
        terminal.type(f"/file {notes}" + ENTER)
        terminal.wait("With the next message: [image: the moon.png] [file: notes.txt]")
        terminal.type("Look." + ENTER)
        terminal.wait("› Look.\n  [image: the moon.png]\n  [file: notes.txt]\n\nReply to: Look.")
        terminal.type("And?" + ENTER)
        terminal.wait("Reply to: And?", without="[image: the moon.png] ·")
    assert seen(upstream) == [ImageData("image/png", PICTURE)]
    first = server.history(session)[0]
    assert first["content"] == "Look.\n\nnotes.txt\n```txt\nby night\n```"
    with open_chat(server.url, session) as terminal:
        terminal.wait("› Look.", "  [image: image/png]\n\nReply to: Look.")


def send_files(server: Server, session: str) -> list[dict[str, Any]]:
    """Send a message with two pictures and a document; return its blocks."""

    def data(kind: str, content: bytes) -> str:
        return f"data:{kind};base64,{b64encode(content).decode()}"

    images = [data("image/png", PICTURE), "https://example.com/moon.png"]
    files = [{"name": "plan.pdf", "data": data("application/pdf", DOCUMENT)}]
    server.chat(session, "What is this", images=images, files=files)
    blocks: list[dict[str, Any]] = server.history(session)[0]["blocks"]
    return blocks


FILES = "[image: image/png] [image: https://example.com/moon.png] [file: plan.pdf] ·"


def test_an_edited_message_keeps_its_pictures(server: Server, session: str) -> None:
    blocks = send_files(server, session)
    with open_chat(server.url, session, columns=150) as terminal:
        terminal.wait("Reply to: What is this", "›")
        terminal.type("/edit" + ENTER)
        terminal.wait(FILES)
        terminal.type("?" + ENTER)
        terminal.wait("Reply to: What is this?")
    edited = server.history(session)
    assert edited[0]["content"] == "What is this?"
    assert edited[0]["blocks"][1:] == blocks[1:]
    assert edited[0]["parent_id"] is None


def test_pictures_of_a_message_that_is_not_edited_after_all_are_not_sent(
    server: Server, session: str
) -> None:
    send_files(server, session)
    with open_chat(server.url, session, columns=150) as terminal:
        terminal.wait("Reply to: What is this", "›")
        terminal.type("/edit" + ENTER)
        terminal.wait(FILES)
        terminal.type(CTRL_C)
        terminal.type("Something else" + ENTER)
        terminal.wait("Reply to: Something else", without=FILES)
    assert server.history(session)[2]["blocks"] is None


def test_a_picture_stays_with_a_message_that_was_not_sent(
    tmp_path: Path, upstream: Upstream
) -> None:
    picture = tmp_path / "moon.png"
    picture.write_bytes(PICTURE)
    settings = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path, settings) as server, open_chat(server.url, "s", columns=150) as terminal:
        terminal.wait(READY, "›")
        terminal.type(f"/image {picture}" + ENTER)
        terminal.wait("With the next message: [image: moon.png]")
        server.kill()
        terminal.type("Look." + ENTER)
        terminal.wait("No server answers", "[image: moon.png] · new session")
        start_again(server)
        until(lambda: server.log.read_text().count("Chatkeep answers on") == 2)
        terminal.type(ENTER)
        terminal.wait("Reply to: Look.")
    assert seen(upstream) == [ImageData("image/png", PICTURE)]
