"""`chatkeep chat`, as a person sees it in a terminal and as a script reads it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatkeep import examples
from tests.cli.terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, Terminal
from tests.process import PATIENCE, Server, until
from tests.proxy import Proxy
from tests.upstream import Answer, Call, Upstream, polite

CHAT = (sys.executable, "-m", "chatkeep", "chat")

READY = "Ctrl-D quits"


def env() -> dict[str, str]:
    ours = ("CHATKEEP_", "OPENAI_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def open_chat(url: str, session: str | None = None, **options: Any) -> Terminal:
    chosen = () if session is None else ("--session", session)
    return Terminal((*CHAT, "--url", url, *chosen), env(), **options)


def one_shot(url: str, session: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CHAT, "--url", url, "--session", session, *words],
        env=env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def answers(*pieces: str, **how: Any) -> Callable[[Call], Answer]:
    return lambda call: polite(call) if call.is_title else Answer(list(pieces), **how)


def released(number: int) -> threading.Semaphore:
    return threading.Semaphore(number)


WHOLE = 1_000
"""More than any answer here has pieces."""


def test_a_conversation_with_the_embedded_model_begins_with_what_it_is(tmp_path: Path) -> None:
    with Server(tmp_path) as server, open_chat(server.url) as terminal:
        terminal.wait("small model for demonstrations", READY, "›")
        assert examples.OPENAI in "".join(terminal.shown.split("\n"))
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_an_answer_is_rendered_as_markdown_while_it_is_streamed(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(1)
    pieces = ("# The Title\n\nSome **bo", "ld** words.\n\n- first\n", "- second\n\nThe end.")
    upstream.script = answers(*pieces, pace=pace)
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("Tell me." + ENTER)
        terminal.wait("› Tell me.", "The Title", "Some **bo", without="#")
        assert terminal.style("The Title").bold
        pace.release()
        terminal.wait("Some bold words.", "• first")
        assert terminal.style("bold").bold
        assert "second" not in terminal.shown
        pace.release(WHOLE)
        terminal.wait("• second", "The end.", "Tell me. Tell ·")
        assert terminal.shown.count("The Title") == 1
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    assert server.contents(session) == ["Tell me.", "".join(pieces)]


def test_ctrl_c_stops_the_answer_and_not_the_program(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(1)
    upstream.script = answers("It began well", " and would have gone on.", pace=pace)
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("one" + ENTER)
        terminal.wait("It began well")
        terminal.type(CTRL_C)
        terminal.wait("stopped")
        assert [m["status"] for m in server.history(session)] == ["cancelled", "cancelled"]
        assert server.contents(session) == ["one", "It began well"]
        upstream.script = polite
        terminal.type("two" + ENTER)
        terminal.wait("Reply to: two")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    pace.release(WHOLE)
    with open_chat(server.url, session) as terminal:
        terminal.wait("› one", "It began well", "cancelled", "› two", "Reply to: two")
        terminal.type("three" + ENTER)
        terminal.wait("Reply to: three")
    assert len(server.history(session)) == 6


def test_a_server_that_does_not_answer_is_left_by_a_second_ctrl_c(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(1)
    upstream.script = answers("Slow", " but sure", pace=pace)
    assert server.process is not None
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("one" + ENTER)
        terminal.wait("Slow")
        server.process.send_signal(signal.SIGSTOP)
        try:
            terminal.type(CTRL_C)
            terminal.wait("stopping")
            terminal.type(CTRL_C)
            terminal.wait("The answer continues on the server.")
        finally:
            server.process.send_signal(signal.SIGCONT)
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    pace.release(WHOLE)


def test_the_keys_at_the_prompt(server: Server, session: str) -> None:
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("not this")
        terminal.wait("› not this")
        terminal.type(CTRL_C)
        terminal.wait("›", without="not this")
        terminal.type(CTRL_C)
        terminal.wait("Ctrl-D or /quit to quit")
        terminal.type("two" + ALT_ENTER + "lines")
        terminal.wait("› two\n  lines")
        terminal.type(ENTER)
        terminal.wait("Reply to: two lines")
        terminal.type("\x1b[200~pasted\nin\nthree\x1b[201~")
        terminal.wait("› pasted\n  in\n  three")
        terminal.type(ENTER)
        # Keys that come before the prompt would be those of the answer: Ctrl-C stops that.
        terminal.wait("Reply to: pasted in three\n\n›")
        terminal.type("\x1b[A")
        terminal.wait("Reply to: pasted in three\n\n› pasted")
        terminal.type(CTRL_C)
        terminal.wait("Reply to: pasted in three\n\n›", without="three\n\n› pasted")
        terminal.type("/qu")
        terminal.wait("Quit (also Ctrl-D).")
        terminal.type("it" + ENTER)
        assert terminal.end() == 0
    assert server.contents(session)[::2] == ["two\nlines", "pasted\nin\nthree"]


WORDS = [f"w{number:03}" for number in range(240)]


def words_on(text: str) -> list[str]:
    return [word for word in text.split() if word in WORDS]


@pytest.mark.parametrize("reflows", [True, False], ids=["wrapping", "cutting"])
def test_a_resize_in_mid_answer_leaves_a_readable_screen(
    server: Server, upstream: Upstream, session: str, *, reflows: bool
) -> None:
    pace = released(2)
    first, second, third = (" ".join(WORDS[n : n + 40]) for n in (0, 40, 80))
    upstream.script = answers(f"{first}\n\n", second, f" {third}", " last", pace=pace)
    with open_chat(server.url, session, columns=78, lines=40, reflows=reflows) as terminal:
        terminal.wait(READY, "›")
        terminal.type("Count for me" + ENTER)
        terminal.wait("w079")
        terminal.resize(columns=41, lines=40)
        terminal.wait("w038 w039\n\nw040", "w079")
        assert words_on(terminal.shown) == WORDS[:80]
        terminal.resize(columns=110, lines=30)
        terminal.wait("w020 w021\n", "w079")
        assert words_on(terminal.shown) == WORDS[:80]
        pace.release()
        terminal.wait("w119")
        terminal.resize(columns=60, lines=20)
        pace.release(WHOLE)
        terminal.wait("w118 w119 last")
        terminal.wait("Count for me ·")
        assert words_on(terminal.shown) == WORDS[:120]
        assert terminal.shown.count("› Count for me") == 1
        assert words_on(terminal.scrolled) == WORDS[:120]


def test_an_answer_longer_than_the_screen_is_shown_once(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(0)
    pieces = [f"- {word}\n" for word in WORDS[:100]] + [f"\n{word}\n" for word in WORDS[100:]]
    last = -1
    upstream.script = answers(*pieces, pace=pace)
    with open_chat(server.url, session, lines=12) as terminal:
        terminal.wait(READY, "›")
        terminal.type("Count for me" + ENTER)
        for _ in range(8):
            pace.release(25)
            last += 25
            terminal.wait(WORDS[last])
            shown = words_on(terminal.shown)
            assert shown == WORDS[WORDS.index(shown[0]) : WORDS.index(shown[-1]) + 1]
        pace.release(WHOLE)
        terminal.wait(WORDS[-1], "Count for me ·")
        assert words_on(terminal.scrolled) == WORDS


def test_code_and_formulas_are_on_the_screen_as_they_were_written(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(2)
    line = "print('" + "long " * 12 + "')"
    pieces = (
        "So \\(a\\,b\\):\n\n```python\n",
        f"{line}\n  x",
        " = 1\n```\n\n\\[\na \\\\\n",
        "\\]\n\nDone.",
    )
    upstream.script = answers(*pieces, pace=pace)
    parts = "\n".join(line[start : start + 40] for start in range(0, len(line), 40))
    with open_chat(server.url, session, columns=40) as terminal:
        terminal.wait(READY, "›")
        terminal.type("Show me" + ENTER)
        terminal.wait(f"So \\(a\\,b\\):\n\npython\n{parts}\n  x\n")
        terminal.resize(columns=70, lines=24)
        terminal.wait(f"\npython\n{line}\n  x\n")
        terminal.resize(columns=40, lines=24)
        pace.release(WHOLE)
        whole = f"So \\(a\\,b\\):\n\npython\n{parts}\n  x = 1\n\n\\[\na \\\\\n\\]\n\nDone.\n\n›"
        terminal.wait(whole, "Show me Show ·")
        terminal.resize(columns=20, lines=40)
        terminal.type("x")
        terminal.wait("› x")
        assert terminal.scrolled.count("python") == 1


def test_sessions_are_started_listed_and_continued(server: Server, session: str) -> None:
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("ripe red apples" + ENTER)
        terminal.wait("Reply to: ripe red apples", "ripe red apples ·")
        terminal.type("/new" + ENTER)
        terminal.wait("New session: chat-", "new session · chat-")
        terminal.type("some soft pears" + ENTER)
        terminal.wait("Reply to: some soft pears", "some soft pears ·")
        terminal.type("/sessions" + ENTER)
        terminal.wait("1  some soft pears  chat-", f"2  ripe red apples  {session[:20]}")
        terminal.type("/sessions 99" + ENTER)
        terminal.wait("There is no session 99")
        terminal.type("/sessions 2" + ENTER)
        terminal.wait("ripe red apples ·")
        terminal.type("many blue plums" + ENTER)
        terminal.wait("Reply to: many blue plums")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    assert server.contents(session)[::2] == ["ripe red apples", "many blue plums"]


def test_a_reply_is_retried_and_a_message_is_edited(
    server: Server, upstream: Upstream, session: str
) -> None:
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("/retry" + ENTER)
        terminal.wait("Nothing to retry.")
        terminal.type("/edit" + ENTER)
        terminal.wait("Nothing to edit.")
        terminal.type("one" + ENTER)
        terminal.wait("Reply to: one")
        terminal.type("two" + ENTER)
        terminal.wait("Reply to: two")
        upstream.script = answers("Something else.")
        terminal.type("/retry" + ENTER)
        terminal.wait("Something else.", "›")
        assert server.contents(session) == ["one", "Reply to: one", "two", "Something else."]
        upstream.script = polite
        terminal.type("/edit" + ENTER)
        terminal.wait("› /edit\n› two")
        terminal.type(" and a half" + ENTER)
        terminal.wait("Reply to: two and a half")
        terminal.type("/edit" + ENTER)
        # The line of the first edit is still there.
        until(lambda: terminal.shown.count("› /edit\n› two and a half") == 2)
        terminal.type(CTRL_C + "three" + ENTER)
        terminal.wait("Reply to: three")
    history = server.history(session)
    assert [m["content"] for m in history[::2]] == ["one", "two and a half", "three"]
    siblings = server.get(f"/messages/{history[2]['id']}/siblings")
    assert [m["content"] for m in siblings] == ["two", "two and a half"]


def test_the_first_message_is_edited_too_and_one_that_begins_with_a_slash(
    server: Server, session: str
) -> None:
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("//etc" + ENTER)
        terminal.wait("Reply to: /etc")
        terminal.type("/edit" + ENTER)
        terminal.wait("› //etc")
        terminal.type("/hosts" + ENTER)
        terminal.wait("Reply to: /etc/hosts")
    assert server.contents(session) == ["/etc/hosts", "Reply to: /etc/hosts"]


def test_an_unknown_command_is_not_sent(server: Server, upstream: Upstream, session: str) -> None:
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("/nonsense" + ENTER)
        terminal.wait("There is no command /nonsense. /help lists the commands.")
        terminal.type("/help" + ENTER)
        terminal.wait("/retry", "Answer the last message again", "//like this")
    assert upstream.calls == []


def test_what_a_model_writes_cannot_control_the_terminal(
    server: Server, upstream: Upstream, session: str
) -> None:
    reply = "\x1b[2J\x1b]0;owned\x07safe \x9b31m\x08&#27;[35mwords\r\n\n`\x1b[5m`"
    upstream.script = answers(*reply)
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("Go and see" + ENTER)
        terminal.wait("safe 31m", "words", "[5m", "Go and see ·")
        for sequence in (b"\x1b]0;", b"\x1b[2J", b"\x9b", b"\x1b[5m", b"\x1b[35m", b"\x07"):
            assert sequence not in terminal.raw
        terminal.type(CTRL_D)
        terminal.end()
    assert server.contents(session)[1] == reply
    with open_chat(server.url, session) as terminal:
        terminal.wait("safe 31m", "words", "[5m", "›")
        assert b"\x1b]0;" not in terminal.raw
    with one_shot(server.url, session, "again") as program:
        assert (
            program.communicate(timeout=PATIENCE)[0]
            == "[2J]0;ownedsafe 31m&#27;[35mwords\n\n`[5m`\n"
        )


def test_a_pipe_gets_the_text_as_it_comes(server: Server, upstream: Upstream, session: str) -> None:
    pace = released(1)
    # A separator that some readers of lines take for the end of one.
    upstream.script = answers("**First**,", " la\u2028st.", pace=pace)
    with one_shot(server.url, session, "go") as program:
        assert program.stdout is not None
        assert program.stdout.read(len("**First**,")) == "**First**,"
        pace.release(WHOLE)
        out, err = program.communicate(timeout=PATIENCE)
        assert (out, err, program.returncode) == (" la\u2028st.\n", "", 0)


def test_a_script_gets_json(server: Server, session: str) -> None:
    with one_shot(server.url, session, "go", "--json") as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert (err, program.returncode) == ("", 0)
    reply = json.loads(out)
    assert (reply["response"], reply["session_id"]) == ("Reply to: go", session)
    assert reply["usage"] == {"input_tokens": 11, "output_tokens": 7}


def test_a_one_shot_on_a_terminal_is_rendered(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = answers("Some **bold** words.")
    command = (*CHAT, "--url", server.url, "--session", session, "go")
    with Terminal(command, env()) as terminal:
        assert terminal.end() == 0
        assert terminal.shown.strip() == "Some bold words."


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_failed_turn_and_a_missing_server_are_one_line_and_an_exit_code(
    server: Server, upstream: Upstream, session: str, form: tuple[str, ...]
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401)
    with one_shot(server.url, session, "go", *form) as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert (out, program.returncode) == ("", 1)
    assert (
        err
        == server.get(f"/turns/{server.history(session)[0]['turn_id']}")["error"]["detail"] + "\n"
    )
    with one_shot(server.url, " ", "go", *form) as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert (out, err.count("\n"), program.returncode) == ("", 1, 1)
    assert "white space" in err
    with one_shot("http://127.0.0.1:9", session, "go", *form) as program:
        out, err = program.communicate(timeout=PATIENCE)
    assert (out, program.returncode) == ("", 1)
    advice = "Start one with `chatkeep serve`, or check `--url`."
    assert err == f"No server answers at http://127.0.0.1:9. {advice}\n"


def test_a_one_shot_is_stopped_by_ctrl_c(server: Server, upstream: Upstream, session: str) -> None:
    pace = released(1)
    upstream.script = answers("It began", " and ended", pace=pace)
    with one_shot(server.url, session, "go") as program:
        assert program.stdout is not None
        assert program.stdout.read(len("It began")) == "It began"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=PATIENCE)
    assert (out, err, program.returncode) == ("\n", "stopped\n", 130)
    assert server.history(session)[-1]["status"] == "cancelled"
    pace.release(WHOLE)


def test_a_pipe_that_is_closed_ends_the_program_and_not_the_turn(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(1)
    upstream.script = answers("It began", " and ended", pace=pace)
    with one_shot(server.url, session, "go") as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.read(len("It began")) == "It began"
        program.stdout.close()
        pace.release(WHOLE)
        assert program.stderr.read() == ""
        assert program.wait(timeout=PATIENCE) == 141
    until(lambda: server.contents(session)[1:] == ["It began and ended"])


def test_an_answer_survives_connections_that_break(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = answers(*(f"{word} " for word in WORDS))
    limits = {0: 0, 1: 700, 2: 600}
    with Proxy(server.url, limit=limits.get) as proxy:
        with one_shot(proxy.url, session, "go") as program:
            out, err = program.communicate(timeout=PATIENCE)
        assert (out.split(), err, program.returncode) == (WORDS, "", 0)
        keys = {request.headers.get("idempotency-key") for request in proxy.requests[:2]}
        assert len(keys) == 1
        assert "last-event-id" in proxy.requests[3].headers
    assert len(server.history(session)) == 2
    assert len(upstream.replies) == 1


def start_again(server: Server) -> None:
    """Start a killed server where it was."""
    port = server.url.rsplit(":", 1)[1]
    with server.log.open("ab") as errors:
        server.process = subprocess.Popen(
            [sys.executable, "-m", "chatkeep", "serve", "--port", port],
            env=server.env,
            cwd=server.folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def test_an_answer_continues_when_the_server_is_killed_and_started_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    pace = released(1)
    upstream.script = answers("The first", " attempt", pace=pace)
    settings = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path, settings) as server, open_chat(server.url, "s") as terminal:
        terminal.wait(READY, "›")
        terminal.type("Go and see" + ENTER)
        terminal.wait("The first")
        server.kill()
        terminal.wait("the connection is lost")
        upstream.script = answers("The second attempt.")
        start_again(server)
        terminal.wait("the answer starts again", "The second attempt.", "Go and see ·")
        assert "The first" not in terminal.shown
        assert server.contents("s") == ["Go and see", "The second attempt."]
    pace.release(WHOLE)


def test_a_message_that_reached_no_server_need_not_be_typed_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    settings = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path, settings) as server, open_chat(server.url, "s") as terminal:
        terminal.wait(READY, "›")
        server.kill()
        terminal.type("important" + ENTER)
        terminal.wait(f"No server answers at {server.url}", "\n› important\n")
        start_again(server)
        until(lambda: server.log.read_text().count("Chatkeep answers on") == 2)
        terminal.type(ENTER)
        terminal.wait("Reply to: important")
        assert server.contents("s") == ["important", "Reply to: important"]


def test_a_message_that_may_have_arrived_is_not_stored_twice(server: Server, session: str) -> None:
    is_cut = False

    def limit(_: int) -> int | None:
        return 0 if is_cut and until(lambda: session in server.sessions()) else None

    with Proxy(server.url, limit=limit) as proxy, open_chat(proxy.url, session) as terminal:
        terminal.wait(READY, "›")
        is_cut = True
        terminal.type("important" + ENTER)
        terminal.wait("the connection is lost")
        terminal.type(CTRL_C)
        terminal.wait("stopping")
        terminal.type(CTRL_C)
        terminal.wait("The answer continues on the server.", "\n› important\n")
        is_cut = False
        terminal.type(ENTER)
        terminal.wait("Reply to: important")
    assert server.contents(session) == ["important", "Reply to: important"]


def test_a_queued_message_shows_that_it_waits(
    server: Server, upstream: Upstream, session: str
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["First."], gate=gate)
    earlier = threading.Thread(target=server.chat, args=(session, "one"))
    earlier.start()
    until(lambda: upstream.replies)
    with open_chat(server.url, session) as terminal:
        terminal.wait("› one")
        terminal.type("two" + ENTER)
        terminal.wait("› two", "Ctrl-C stops")
        gate.set()
        terminal.wait("First.", without="Ctrl-C stops")
    earlier.join()


def test_what_is_typed_during_an_answer_waits_for_the_prompt(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = released(1)
    upstream.script = answers("It begins", " and it ends.", pace=pace)
    with open_chat(server.url, session) as terminal:
        terminal.wait(READY, "›")
        terminal.type("one" + ENTER)
        terminal.wait("It begins")
        terminal.type("two" + ENTER + CTRL_D)
        pace.release()
        terminal.wait("It begins and it ends.")
        assert "two" not in terminal.shown
        pace.release(WHOLE)
        assert terminal.end() == 0
        assert "\n› two\n\nIt begins and it ends.\n" in terminal.shown
    assert server.contents(session)[::2] == ["one", "two"]
