"""A person in a terminal who talks with a model: the commands, and one session after another."""

import base64
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from prompt_toolkit.history import History
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatkeep.cli.chat.api import Api, Refused, content_text, fresh_id, one_line
from chatkeep.cli.chat.files import save, save_as
from chatkeep.cli.chat.follower import Follower, complain, is_screen, tell_end, view
from chatkeep.cli.chat.markdown import clean, fenced_code
from chatkeep.cli.chat.prompt import MARK, Prompt
from chatkeep.cli.chat.session import OpenSession
from chatkeep.cli.chat.turn import COMPLETED, STARTED, TITLED, Event, Turn

LISTED_SESSIONS = 20
SHOWN_MESSAGES = 6
SEARCHED_MESSAGES = 20
"""At the end of a session, where the message to edit and the answer to copy are looked for."""

COMMANDS = {
    "/new": "Start a new session.",
    "/sessions": "List the newest sessions; with a number, continue that one.",
    "/model": "List the models; with a name, use it in this session; `default` is the server's.",
    "/system": "Show the system prompt, or set it; `default` is the server's, `none` omits it.",
    "/retry": "Answer the last message again, by the current model.",
    "/edit": "Edit the last message; the new version becomes a branch.",
    "/copy": "Copy the last code block of the answer; with `all`, the whole answer.",
    "/export": "Save this session as Markdown; with a name, to that file.",
    "/help": "Show this help.",
    "/quit": "Quit (also Ctrl-D).",
}
ARGUMENTS = {"/system": ["default", "none"], "/copy": ["all"]}
KEYS = (
    "Enter sends, Alt-Enter starts a new line. Ctrl-C stops an answer, or clears the line.\n"
    "A message that starts with a slash is sent with two: //like this"
)
WHOLE = "completed"


class Conversation:
    """What is said in a terminal, to a server, in the session that is open."""

    def __init__(
        self,
        client: httpx2.Client,
        console: Console,
        *,
        session_id: str | None,
        model: str | None,
        history: History,
    ) -> None:
        """Take the server and the terminal. Without a session, a new one is begun.

        `model` answers the turns of this run, and no session keeps it. `history` has what was
        entered before.
        """
        self._client = client
        self._api = Api(client)
        self._console = console
        self._is_known = session_id is not None
        self._is_over = False
        self._open(session_id or fresh_id())
        self._model = model
        self._models: list[str] = []
        self._listed: list[str] = []
        self._actions: dict[str, Callable[[str], None]] = {
            "/new": self._new,
            "/sessions": self._sessions,
            "/model": self._choose_model,
            "/system": self._set_system_prompt,
            "/retry": self._retry,
            "/edit": self._edit,
            "/copy": self._copy,
            "/export": self._export,
            "/help": self._help,
            "/quit": self._quit,
        }
        self._prompt = Prompt(self._bar, commands=COMMANDS, arguments=self._words, history=history)

    def _open(self, session_id: str) -> None:
        self._session = OpenSession(self._api, session_id)
        self._draft = ""
        self._branch: dict[str, Any] = {}
        self._unsent: Turn | None = None

    def run(self) -> None:
        """Take messages and commands until the person leaves."""
        self._say("Write a message. /help shows the commands, Ctrl-D leaves.")
        self._try(self._show_notice)
        if self._is_known:
            self._try(self._show_session)
        while not self._is_over:
            self._try(self._step)
        if self._session.exists:
            # As one line that can be copied, however narrow the terminal is.
            command = f"chatkeep chat -s {shlex.quote(clean(self._session.id))}"
            self._console.print(Text(f"Continue with: {command}", "dim"), soft_wrap=True)

    def _show_notice(self) -> None:
        if (offer := self._api.models()) is not None and offer.notice:
            self._say(offer.notice)

    def _step(self) -> None:
        draft, self._draft = self._draft, ""
        try:
            line, is_of_draft = self._prompt.read(draft)
        except EOFError:
            self._is_over = True
            return
        if not is_of_draft:
            self._branch = {}
        self._take(line)

    def _bar(self) -> str:
        session = self._session
        model = one_line(self._model or session.model or "")
        parts = (session.title or "new session", one_line(session.id), model)
        return " · ".join(part for part in parts if part)

    def _words(self, command: str) -> list[str]:
        if command == "/model":
            return [*self._models, "default"]
        return ARGUMENTS.get(command, [])

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Refused as refused:
            complain(self._console, str(refused))
        except KeyboardInterrupt:
            self._say("stopped")

    def _take(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            self._send(line.removeprefix("/"))
            return
        self._branch = {}
        self._console.print(_question(line), style="dim")
        command, *rest = line.split(maxsplit=1)
        if command not in self._actions:
            self._say(f"There is no command {clean(command)}. /help lists the commands.")
            return
        self._actions[command]("".join(rest).strip())

    def _send(self, message: str) -> None:
        branch, self._branch = self._branch, {}
        turn = self._turn(message=message, **branch)
        if self._unsent is not None:
            turn.join(self._unsent)
        try:
            self._follow(turn, _question(message))
        finally:
            self._unsent = turn if turn.turn_id is None else None
            if self._unsent is not None:
                # Nobody has to write it again; if it did arrive, it is not stored twice.
                self._draft, self._branch = _as_line(message), branch

    def _turn(self, **options: str | None) -> Turn:
        run = {"model": self._model} if self._model else {}
        return Turn(self._client, self._session.id, **self._session.unstored | run | options)

    def _follow(self, turn: Turn, above: Text | None = None) -> None:
        ending = Follower(turn, view(self._console, above=above), self._hear).follow()
        tell_end(ending, self._console)
        self._console.print()
        self._session.store()

    def _hear(self, event: Event) -> None:
        if event.name == STARTED:
            self._session.exists = True
        elif event.name in {TITLED, COMPLETED}:
            self._session.title = one_line(str(event.data["title"]))

    def _show_session(self) -> None:
        self._session.read()
        for message in self._api.history(self._session.id, SHOWN_MESSAGES):
            text = content_text(message["content"])
            if message["role"] == "user":
                self._console.print(_question(text))
            else:
                shown = view(self._console)
                shown.add(text)
                shown.end()
                if message["status"] != WHOLE:
                    self._say(message["status"])
            self._console.print()

    def _new(self, _rest: str) -> None:
        self._open(fresh_id())
        self._say(f"New session: {self._session.id}")

    def _sessions(self, number: str) -> None:
        if number:
            self._go_on_with(number)
            return
        sessions = self._api.sessions(LISTED_SESSIONS)
        self._listed = [session["session_id"] for session in sessions]
        for row, session in enumerate(sessions, 1):
            self._console.print(_listed(row, session), no_wrap=True, overflow="ellipsis")
        if not sessions:
            self._say("There are no sessions yet.")

    def _go_on_with(self, number: str) -> None:
        if not self._listed:
            self._listed = [s["session_id"] for s in self._api.sessions(LISTED_SESSIONS)]
        if not number.isdecimal() or not 1 <= int(number) <= len(self._listed):
            self._say(f"There is no session {clean(number)} in the list that /sessions shows.")
            return
        self._open(self._listed[int(number) - 1])
        self._show_session()

    def _choose_model(self, name: str) -> None:
        offer = self._api.models()
        if offer is None and not name:
            self._say("This server does not list its models.")
            return
        default = offer.default if offer else ""
        self._models = offer.names if offer else self._models
        if not name:
            current = self._model or self._session.model or default
            for model in self._models:
                mark = "→" if model == current else " "
                self._say(f"{mark} {model}{' (default)' if model == default else ''}")
        elif offer is not None and name not in {*self._models, "default"}:
            self._say(f"There is no model {clean(name)} on offer. /model lists those that are.")
        else:
            self._model = None
            self._session.set(model=None if name == "default" else name)
            self._say(f"Model: {clean(self._session.model or default or 'the default')}")

    def _set_system_prompt(self, text: str) -> None:
        session = self._session
        if text:
            session.set(system_prompt={"default": None, "none": ""}.get(text, text))
        else:
            session.read()
        if session.system_prompt is None:
            self._say("System prompt: the server's")
        else:
            self._say(f"System prompt: {clean(session.system_prompt) or 'none'}")

    def _retry(self, _rest: str) -> None:
        messages = self._api.history(self._session.id, SEARCHED_MESSAGES)
        own = [message for message in messages if message["role"] == "user"]
        if not own:
            self._say("Nothing to retry.")
        elif (turn_id := messages[-1]["turn_id"]) is not None:
            self._follow(self._turn(regenerate=turn_id, **self._current()))
        else:
            # It was imported: no turn of this server's has answered it.
            question = content_text(own[-1]["content"])
            self._follow(self._turn(message=question, parent_id=own[-1]["parent_id"]))

    def _current(self) -> dict[str, str]:
        """What holds now, for an answer that would else be made as the one before it was."""
        self._session.read()
        offer = None if self._model or self._session.model else self._api.models()
        model = self._model or self._session.model or (offer.default if offer else None)
        current = {"model": model, "system_prompt": self._session.system_prompt}
        return {name: value for name, value in current.items() if value is not None}

    def _edit(self, _rest: str) -> None:
        messages = self._api.history(self._session.id, SEARCHED_MESSAGES)
        own = [message for message in messages if message["role"] == "user"]
        if not own:
            self._say("Nothing to edit.")
            return
        self._draft = _as_line(content_text(own[-1]["content"]))
        self._branch = {"parent_id": own[-1]["parent_id"]}

    def _copy(self, what: str) -> None:
        messages = self._api.history(self._session.id, SEARCHED_MESSAGES)
        answers = [content_text(m["content"]) for m in messages if m["role"] == "assistant"]
        if not any(answers):
            self._say("Nothing to copy.")
            return
        if not is_screen(self._console):
            self._say("This terminal cannot copy.")
            return
        answer = [text for text in answers if text][-1]
        blocks = [] if what == "all" else fenced_code(answer)
        text = clean(blocks[-1] if blocks else answer)
        # OSC 52: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
        self._console.file.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
        lines = text.rstrip("\n").count("\n") + 1
        name = "the last code block" if blocks else "the answer"
        self._say(f"Copied {name} ({lines} {'line' if lines == 1 else 'lines'}).")

    def _export(self, name: str) -> None:
        if not self._session.exists:
            self._say("Nothing to export.")
            return
        content = self._api.export(self._session.id)
        path = Path(name).expanduser()
        try:
            if name:
                save(content, path)
            else:
                path = save_as(self._session.title, content)
        except FileExistsError:
            raise Refused(f"{path} exists already.") from None
        except OSError as error:
            raise Refused(f"{path} cannot be written: {error.strerror}.") from None
        self._say(f"Saved to {clean(str(path))}")

    def _help(self, _rest: str) -> None:
        commands = Table.grid(padding=(0, 2, 0, 0))
        commands.add_column(style="bold", no_wrap=True)
        for command, meaning in COMMANDS.items():
            commands.add_row(command, Text(meaning))
        self._console.print(commands)
        self._say(KEYS)

    def _quit(self, _rest: str) -> None:
        self._is_over = True

    def _say(self, words: str) -> None:
        self._console.print(Text(words, "dim"))


def _question(message: str) -> Text:
    return Text(MARK + clean(message).replace("\n", "\n" + " " * len(MARK)), "bold")


def _as_line(message: str) -> str:
    return f"/{message}" if message.startswith("/") else message


def _listed(row: int, session: dict[str, Any]) -> Text:
    title, name = one_line(str(session["title"])), one_line(session["session_id"])
    return Text.assemble((f"{row:>3}  ", "dim"), title, (f"  {name}", "dim"))
