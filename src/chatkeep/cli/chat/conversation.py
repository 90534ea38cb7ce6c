"""A conversation in a terminal: its commands, and one session after another."""

import base64
import contextlib
import shlex
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from prompt_toolkit.history import History
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatkeep.cli.chat.display import reasoning_text
from chatkeep.cli.chat.files import Attachments, save, save_as
from chatkeep.cli.chat.follower import Follower, print_outcome
from chatkeep.cli.chat.keyboard import no_echo
from chatkeep.cli.chat.markdown import fenced_code
from chatkeep.cli.chat.prompt import MARK, Prompt
from chatkeep.cli.chat.prompt_history import prompt_history
from chatkeep.cli.chat.session import OpenSession, new_session_id
from chatkeep.cli.chat.steps import StepLines, file_notes, message_blocks
from chatkeep.cli.chat.turn import Event, Turn
from chatkeep.cli.chat.view import is_screen, make_view, print_error
from chatkeep.cli.client import Client
from chatkeep.cli.errors import CommandError, NotFound
from chatkeep.cli.output import clean, one_line
from chatkeep.cli.responses import MessageRecord, ModelList, SessionRecord
from chatkeep.domain.blocks import is_step, text_of, tool_result
from chatkeep.domain.events import EventType
from chatkeep.domain.model import Role, Status

LISTED_SESSIONS = 20
SHOWN_MESSAGES = 6
"""Of a session that is opened. The steps between them are shown too, and not counted."""

SEARCHED_MESSAGES = 100
"""At the end of a session, among which are the message to edit and the answer to copy."""

COMMANDS = {
    "/new": "Start a new session.",
    "/sessions": "List the newest sessions; with a number, continue that one.",
    "/model": "List the models; with a name, use it in this session; `default` is the server's.",
    "/system": "Show the system prompt, or set it; `default` is the server's, `none` omits it.",
    "/image": "Send a picture, by its path, with the next message; `none` removes what is added.",
    "/file": "Send a text file or a PDF in the same way.",
    "/retry": "Answer the last message again, with the current model.",
    "/edit": "Edit the last message; the new version becomes a branch.",
    "/copy": "Copy the last code block of the answer; with `all`, the whole answer.",
    "/export": "Save this session as Markdown; with a name, to that file.",
    "/help": "Show this help.",
    "/quit": "Quit (also Ctrl-D).",
}
ARGUMENTS = {
    "/system": ["default", "none"],
    "/copy": ["all"],
    "/image": ["none"],
    "/file": ["none"],
}
KEYS = (
    "Enter sends, Alt-Enter starts a new line. Ctrl-C stops an answer, or clears the line.\n"
    "To send a message that starts with a slash, type two: //like this"
)


def converse(
    client: Client,
    session_id: str | None,
    *,
    model: str | None,
    shows_reasoning: bool,
    is_history_stored: bool,
) -> None:
    """Run a conversation in the terminal until the user quits.

    Args:
        client: The server.
        session_id: The first session; a new one by default.
        model: Answers the turns of this run; no session stores it.
        shows_reasoning: Whether the model's reasoning is shown.
        is_history_stored: Whether what is entered is offered again in later runs.

    """
    history = prompt_history(is_stored=is_history_stored)
    with no_echo():
        conversation = Conversation(
            client,
            Console(),
            session_id,
            model=model,
            shows_reasoning=shows_reasoning,
            history=history,
        )
        conversation.run()


class Conversation:
    """A terminal, a server, and the session that is open."""

    def __init__(
        self,
        client: Client,
        console: Console,
        session_id: str | None,
        *,
        model: str | None,
        shows_reasoning: bool,
        history: History,
    ) -> None:
        """Prepare a conversation; nothing is sent yet. The parameters are those of `converse`."""
        self._client = client
        self._console = console
        self._shows_reasoning = shows_reasoning
        self._is_continued = session_id is not None
        self._is_over = False
        self._open(session_id or new_session_id())
        self._model = model
        self._models: list[str] = []
        self._listed_ids: list[str] = []
        self._actions: dict[str, Callable[[str], None]] = {
            "/new": self._new,
            "/sessions": self._sessions,
            "/model": self._choose_model,
            "/system": self._set_system_prompt,
            "/image": self._add_image,
            "/file": self._add_file,
            "/retry": self._retry,
            "/edit": self._edit,
            "/copy": self._copy,
            "/export": self._export,
            "/help": self._help,
            "/quit": self._quit,
        }
        self._prompt = Prompt(
            self._toolbar, commands=COMMANDS, arguments=self._arguments, history=history
        )

    def _open(self, session_id: str) -> None:
        self._session = OpenSession(self._client, session_id)
        self._draft = ""
        self._branch: dict[str, str | None] = {}
        self._attachments = Attachments()
        self._unsent: Turn | None = None

    def run(self) -> None:
        """Send messages and run commands until the user quits."""
        self._print("Write a message. /help shows the commands, Ctrl-D quits.")
        self._try(self._show_notice)
        if self._is_continued:
            self._try(self._show_session)
        while not self._is_over:
            self._try(self._step)
        if self._session.exists:
            # As one line that can be copied, however narrow the terminal is.
            command = f"chatkeep chat -s {shlex.quote(clean(self._session.id))}"
            self._console.print(Text(f"Continue with: {command}", "dim"), soft_wrap=True)

    def _show_notice(self) -> None:
        offer = self._offer()
        if offer is not None and (notice := offer.get("notice")):
            self._print(one_line(notice).replace("`", ""))

    def _step(self) -> None:
        draft, self._draft = self._draft, ""
        try:
            text, is_edited_draft = self._prompt.read(draft)
        except EOFError:
            self._is_over = True
            return
        if not is_edited_draft:
            if self._branch:
                # Those of the message that is not edited after all.
                self._attachments = Attachments()
            self._branch = {}
        self._handle(text)

    def _toolbar(self) -> str:
        session = self._session
        model = one_line(self._model or session.model or "")
        attached = one_line(" ".join(self._attachments.names))
        parts = (attached, session.title or "new session", one_line(session.id), model)
        return " · ".join(part for part in parts if part)

    def _arguments(self, command: str) -> list[str]:
        if command == "/model":
            return [*self._models, "default"]
        return ARGUMENTS.get(command, [])

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except CommandError as error:
            print_error(self._console, str(error))
        except KeyboardInterrupt:
            self._print("stopped")

    def _handle(self, text: str) -> None:
        if not text.startswith("/") or text.startswith("//"):
            self._send(text.removeprefix("/"))
            return
        self._branch = {}
        self._console.print(_message(text), style="dim")
        command, *rest = text.split(maxsplit=1)
        if command not in self._actions:
            self._print(f"There is no command {clean(command)}. /help lists the commands.")
            return
        self._actions[command]("".join(rest).strip())

    def _send(self, message: str) -> None:
        branch, self._branch = self._branch, {}
        attachments, self._attachments = self._attachments, Attachments()
        turn = self._make_turn(
            message=attachments.message(message), **attachments.members, **branch
        )
        if self._unsent is not None:
            turn.join(self._unsent)
        try:
            self._follow(turn, _message(message, attachments.names))
        finally:
            self._unsent = turn if turn.turn_id is None else None
            if self._unsent is not None:
                # It need not be typed again; if it did arrive, it is not stored twice.
                self._draft, self._branch = _draft(message), branch
                self._attachments = attachments

    def _make_turn(self, **options: object) -> Turn:
        model = {"model": self._model} if self._model else {}
        return Turn(self._client, self._session.id, **self._session.unstored | model | options)

    def _follow(self, turn: Turn, above: Text | None = None) -> None:
        view = make_view(self._console, above=above)
        follower = Follower(turn, view, self._note_event, shows_reasoning=self._shows_reasoning)
        outcome = follower.follow()
        print_outcome(outcome, self._console)
        self._console.print()
        self._session.store()

    def _note_event(self, event: Event) -> None:
        if event.name == EventType.TURN_STARTED:
            self._session.exists = True
        elif event.name in {EventType.SESSION_TITLED, EventType.TURN_COMPLETED}:
            self._session.title = one_line(str(event.data["title"]))

    def _show_session(self) -> None:
        self._session.read()
        messages = _newest(self._history(SEARCHED_MESSAGES), SHOWN_MESSAGES)
        steps = StepLines()
        for message, following in zip_longest(messages, messages[1:]):
            self._show_message(message, steps)
            is_inside = following is not None and _is_step(message) and _is_step(following)
            if not is_inside:
                if message["role"] != Role.USER and message["status"] != Status.COMPLETED:
                    self._print(message["status"])
                self._console.print()

    def _show_message(self, message: MessageRecord, steps: StepLines) -> None:
        blocks, content = message_blocks(message), message["content"]
        text = "" if tool_result(blocks) is not None else text_of(content, blocks)
        if message["role"] == Role.USER:
            self._console.print(_message(text, file_notes(blocks)))
            return
        view = make_view(self._console)
        reasoning = [block["reasoning"] for block in blocks or () if block["type"] == "reasoning"]
        if reasoning and self._shows_reasoning:
            view.show(reasoning_text("\n\n".join(reasoning)))
        view.add(text)
        view.show(*steps.make(message))
        view.end()

    def _new(self, _argument: str) -> None:
        self._open(new_session_id())
        self._print(f"New session: {self._session.id}")

    def _sessions(self, number: str) -> None:
        if number:
            self._open_listed(number)
            return
        sessions = self._client.sessions({"limit": LISTED_SESSIONS})
        self._listed_ids = [session["session_id"] for session in sessions]
        for row, session in enumerate(sessions, 1):
            self._console.print(_listed(row, session), no_wrap=True, overflow="ellipsis")
        if not sessions:
            self._print("There are no sessions yet.")

    def _open_listed(self, number: str) -> None:
        if not self._listed_ids:
            sessions = self._client.sessions({"limit": LISTED_SESSIONS})
            self._listed_ids = [session["session_id"] for session in sessions]
        if not number.isdecimal() or not 1 <= int(number) <= len(self._listed_ids):
            self._print(f"There is no session {clean(number)} in the list of /sessions.")
            return
        self._open(self._listed_ids[int(number) - 1])
        self._show_session()

    def _choose_model(self, name: str) -> None:
        offer = self._offer()
        if offer is None and not name:
            self._print("This server does not list its models.")
            return
        default = one_line(offer["default"]) if offer else ""
        if offer is not None:
            self._models = [one_line(model["id"]) for model in offer["models"]]
        if not name:
            current = self._model or self._session.model or default
            for model in self._models:
                mark = "→" if model == current else " "
                self._print(f"{mark} {model}{' (default)' if model == default else ''}")
        elif offer is not None and name not in {*self._models, "default"}:
            self._print(f"The model {clean(name)} is not available. /model lists those that are.")
        else:
            self._model = None
            self._session.set(model=None if name == "default" else name)
            self._print(f"Model: {clean(self._session.model or default or 'the default')}")

    def _set_system_prompt(self, text: str) -> None:
        session = self._session
        if text:
            session.set(system_prompt={"default": None, "none": ""}.get(text, text))
        else:
            session.read()
        if session.system_prompt is None:
            self._print("System prompt: the server's")
        else:
            self._print(f"System prompt: {clean(session.system_prompt) or 'none'}")

    def _add_image(self, argument: str) -> None:
        self._attach(argument, self._attachments.add_picture)

    def _add_file(self, argument: str) -> None:
        self._attach(argument, self._attachments.add_file)

    def _attach(self, argument: str, add: Callable[[Path], None]) -> None:
        if argument == "none":
            self._attachments = Attachments()
        elif argument:
            add(_path(argument))
        attached = " ".join(self._attachments.names)
        self._print(f"With the next message: {clean(attached) or 'nothing'}")

    def _retry(self, _argument: str) -> None:
        messages = self._history(SEARCHED_MESSAGES)
        message = _last_of_user(messages)
        if message is None:
            self._print("Nothing to retry.")
        elif (turn_id := messages[-1]["turn_id"]) is not None:
            self._follow(self._make_turn(regenerate=turn_id, **self._current_options()))
        else:
            # An imported answer belongs to no turn of this server: the message is sent again.
            stored = self._stored_attachments(message)
            members = {"parent_id": message["parent_id"], **stored.members}
            self._follow(self._make_turn(message=message["content"], **members))

    def _current_options(self) -> dict[str, str]:
        """Return what is set now; without it an answer is made with the options of its turn."""
        self._session.read()
        model = self._model or self._session.model
        if model is None and (offer := self._offer()) is not None:
            model = offer["default"]
        options = {"model": model, "system_prompt": self._session.system_prompt}
        return {name: value for name, value in options.items() if value is not None}

    def _edit(self, _argument: str) -> None:
        message = _last_of_user(self._history(SEARCHED_MESSAGES))
        if message is None:
            self._print("Nothing to edit.")
            return
        self._attachments = self._stored_attachments(message)
        self._draft = _draft(message["content"])
        self._branch = {"parent_id": message["parent_id"]}

    def _stored_attachments(self, message: MessageRecord) -> Attachments:
        attachments = Attachments()
        attachments.add_stored(self._client, self._session.id, message_blocks(message))
        return attachments

    def _copy(self, argument: str) -> None:
        messages = self._history(SEARCHED_MESSAGES)
        written = [one for one in messages if one["role"] == Role.ASSISTANT]
        contents = [text_of(one["content"], message_blocks(one)) for one in written]
        answers = [content for content in contents if content]
        if not answers:
            self._print("Nothing to copy.")
            return
        if not is_screen(self._console):
            self._print("This terminal cannot copy.")
            return
        blocks = [] if argument == "all" else fenced_code(answers[-1])
        text = clean(blocks[-1] if blocks else answers[-1])
        # OSC 52: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
        self._console.file.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
        lines = text.rstrip("\n").count("\n") + 1
        name = "the last code block" if blocks else "the answer"
        self._print(f"Copied {name} ({lines} {'line' if lines == 1 else 'lines'}).")

    def _export(self, name: str) -> None:
        if not self._session.exists:
            self._print("Nothing to export.")
            return
        content = self._client.export_markdown(self._session.id)
        path = Path(name).expanduser()
        try:
            if name:
                save(content, path)
            else:
                path = save_as(self._session.title, content)
        except FileExistsError:
            raise CommandError(f"{path} exists already.") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
        self._print(f"Saved to {clean(str(path))}")

    def _help(self, _argument: str) -> None:
        commands = Table.grid(padding=(0, 2, 0, 0))
        commands.add_column(style="bold", no_wrap=True)
        for command, meaning in COMMANDS.items():
            commands.add_row(command, Text(meaning))
        self._console.print(commands)
        self._print(KEYS)

    def _quit(self, _argument: str) -> None:
        self._is_over = True

    def _offer(self) -> ModelList | None:
        """Read the models on offer; `None` if the server does not list them."""
        try:
            return self._client.models()
        except NotFound:
            return None

    def _history(self, limit: int) -> list[MessageRecord]:
        """Read the newest messages, oldest first; none if the session does not exist yet."""
        try:
            return self._client.history(self._session.id, limit)
        except NotFound:
            return []

    def _print(self, text: str) -> None:
        self._console.print(Text(text, "dim"))


def _last_of_user(messages: list[MessageRecord]) -> MessageRecord | None:
    return next((one for one in reversed(messages) if one["role"] == Role.USER), None)


def _is_step(message: MessageRecord) -> bool:
    return is_step(message_blocks(message))


def _newest(messages: list[MessageRecord], count: int) -> list[MessageRecord]:
    """The newest messages, and the steps between them, which are not counted."""
    indexes = [index for index, message in enumerate(messages) if not _is_step(message)]
    return messages[indexes[-count] :] if len(indexes) > count else messages


def _path(text: str) -> Path:
    """A path as it was typed, or as a terminal quotes it where a file is dropped."""
    with contextlib.suppress(ValueError):
        words = shlex.split(text)
        if len(words) == 1 and not Path(text).expanduser().exists():
            text = words[0]
    return Path(text).expanduser()


def _message(text: str, notes: Sequence[str] = ()) -> Text:
    """Show a message, or a command, as it stood at the prompt, with what was sent beside it."""
    lines = "\n".join([*([text] if text else []), *notes])
    return Text(MARK + clean(lines).replace("\n", "\n" + " " * len(MARK)), "bold")


def _draft(message: str) -> str:
    """Return what is entered at the prompt to send this message."""
    return f"/{message}" if message.startswith("/") else message


def _listed(row: int, session: SessionRecord) -> Text:
    title, session_id = one_line(session["title"]), one_line(session["session_id"])
    return Text.assemble((f"{row:>3}  ", "dim"), title, (f"  {session_id}", "dim"))
