"""The line that a person writes on: its keys, its history, and what it completes."""

from collections.abc import Callable, Iterable, Mapping

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

MARK = "› "
HINT = "Ctrl-D or /quit leaves"
MENU_ROWS = 5


class Prompt:
    """Asks for one message or command after another."""

    def __init__(
        self,
        bar: Callable[[], str],
        *,
        commands: Mapping[str, str],
        arguments: Callable[[str], Iterable[str]],
        history: History,
    ) -> None:
        """Take what the bottom line says, the commands with their help, and a command's words.

        `history` is what was entered before, and takes what is entered.
        """
        self._bar = bar
        self._is_hinting = False
        self._was_cleared = False
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=_Commands(commands, arguments),
            complete_while_typing=Condition(_is_command),
            reserve_space_for_menu=MENU_ROWS,
            multiline=True,
            prompt_continuation=" " * len(MARK),
            key_bindings=self._keys(),
            bottom_toolbar=self._bottom,
            # It is printed again as a part of the conversation, which knows how to wrap it.
            erase_when_done=True,
        )

    def read(self, draft: str = "") -> tuple[str, bool]:
        """What is entered, and whether it grew out of `draft`. Raises `EOFError` on Ctrl-D."""
        self._is_hinting = self._was_cleared = False
        text = self._session.prompt(MARK, default=draft)
        return text, bool(draft) and not self._was_cleared

    def _bottom(self) -> StyleAndTextTuples:
        return [("", f" {HINT if self._is_hinting else self._bar()}")]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _enter(event: KeyPressEvent) -> None:
            if event.current_buffer.text.strip():
                event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _clear(event: KeyPressEvent) -> None:
            self._clear(event.current_buffer)

        return keys

    def _clear(self, line: Buffer) -> None:
        self._is_hinting = not line.text
        self._was_cleared = True
        line.reset()


def _is_command() -> bool:
    text = get_app().current_buffer.text
    return text.startswith("/") and not text.startswith("//") and "\n" not in text


class _Commands(Completer):
    """Completes the commands, and the words that may follow one."""

    def __init__(
        self, commands: Mapping[str, str], arguments: Callable[[str], Iterable[str]]
    ) -> None:
        self._commands = commands
        self._arguments = arguments

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002  (the library passes it)
    ) -> Iterable[Completion]:
        """What may be meant by the text before the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        command, space, begun = text.partition(" ")
        if not space:
            for name, meaning in self._commands.items():
                if name.startswith(command):
                    yield Completion(name, -len(command), display_meta=meaning)
            return
        for word in self._arguments(command):
            if word.startswith(begun):
                yield Completion(word, -len(begun))
