"""A person in a terminal who talks with a model: the commands, and one session after another."""

from collections.abc import Callable
from typing import Any

import httpx2
from rich.console import Console
from rich.text import Text

from chatkeep.cli.chat_api import Api, Refused, content_text, fresh_id, one_line
from chatkeep.cli.chat_follow import Follower, complain, tell_end, view
from chatkeep.cli.chat_prompt import MARK, Prompt
from chatkeep.cli.chat_turn import COMPLETED, TITLED, Event, Turn
from chatkeep.cli.markup import clean

LISTED_SESSIONS = 20
SHOWN_MESSAGES = 6
SEARCHED_MESSAGES = 20
"""At the end of a session, where the message to edit is looked for."""

COMMANDS = {
    "/new": "Begin a new session.",
    "/sessions": "List the newest sessions; with a number, go on with that one.",
    "/model": "List the models; with a name, use that one; `default` is the server's.",
    "/retry": "Ask for another reply to the last message.",
    "/edit": "Edit the last message; the new version becomes a branch.",
    "/help": "Show this.",
    "/quit": "Leave, as Ctrl-D does.",
}
KEYS = (
    "Enter sends, Alt-Enter begins a new line. Ctrl-C stops an answer, or clears the line.\n"
    "A message that begins with a slash is sent with two: //like this"
)
WHOLE = "completed"


class Conversation:
    """What is said in a terminal, to a server, in the session that is open."""

    def __init__(
        self, client: httpx2.Client, console: Console, *, session_id: str | None, model: str | None
    ) -> None:
        """Take the server and the terminal. Without a session, a new one is begun."""
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
            "/retry": self._retry,
            "/edit": self._edit,
            "/help": self._help,
            "/quit": self._quit,
        }
        self._prompt = Prompt(self._bar, commands=COMMANDS, arguments=self._words)

    def _open(self, session_id: str) -> None:
        self._session_id = session_id
        self._title = ""
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
        self._say(f"This was the session {self._session_id}")

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
        parts = (self._title or "new session", one_line(self._session_id), self._model)
        return " · ".join(part for part in parts if part)

    def _words(self, command: str) -> list[str]:
        return [*self._models, "default"] if command == "/model" else []

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
        command, _, rest = line.strip().partition(" ")
        if command not in self._actions:
            self._say(f"There is no command {clean(command)} here. /help shows what there is.")
            return
        self._actions[command](rest.strip())

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

    def _turn(self, **asked: Any) -> Turn:
        return Turn(self._client, self._session_id, model=self._model, **asked)

    def _follow(self, turn: Turn, above: Text | None = None) -> None:
        ending = Follower(turn, view(self._console, above=above), self._hear).follow()
        tell_end(ending, self._console)
        self._console.print()

    def _hear(self, event: Event) -> None:
        if event.name in {TITLED, COMPLETED}:
            self._title = one_line(str(event.data["title"]))

    def _show_session(self) -> None:
        self._title = self._api.title(self._session_id)
        for message in self._api.history(self._session_id, SHOWN_MESSAGES):
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
        self._say(f"This is the new session {self._session_id}")

    def _sessions(self, number: str) -> None:
        if number:
            self._go_on_with(number)
            return
        sessions = self._api.sessions(LISTED_SESSIONS)
        self._listed = [session["session_id"] for session in sessions]
        for row, session in enumerate(sessions, 1):
            self._console.print(_listed(row, session), no_wrap=True, overflow="ellipsis")
        if not sessions:
            self._say("There is no session yet.")

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
            self._say("Which models there are is not available from this server.")
            return
        default = offer.default if offer else ""
        self._models = offer.names if offer else self._models
        if not name:
            for found in self._models:
                mark = "→" if found == (self._model or default) else " "
                self._say(f"{mark} {found}{' (default)' if found == default else ''}")
        elif offer is not None and name not in {*self._models, "default"}:
            self._say(f"There is no model {clean(name)} on offer. /model shows those that are.")
        else:
            self._model = None if name == "default" else name
            self._say(f"From now on {clean(self._model or default or 'the default')} answers.")

    def _retry(self, _rest: str) -> None:
        newest = self._api.history(self._session_id, 1)
        if not newest or newest[0]["turn_id"] is None:
            self._say("There is nothing yet that could be answered again.")
            return
        self._follow(self._turn(regenerate=newest[0]["turn_id"]))

    def _edit(self, _rest: str) -> None:
        messages = self._api.history(self._session_id, SEARCHED_MESSAGES)
        own = [message for message in messages if message["role"] == "user"]
        if not own:
            self._say("There is no message of yours yet.")
            return
        self._draft = _as_line(content_text(own[-1]["content"]))
        self._branch = {"parent_id": own[-1]["parent_id"]}

    def _help(self, _rest: str) -> None:
        for command, meaning in COMMANDS.items():
            self._console.print(Text.assemble((f"{command:<11}", "bold"), meaning))
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
