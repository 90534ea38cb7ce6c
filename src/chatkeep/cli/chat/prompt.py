"""The prompt: its keys, its history, and its completions."""

from collections.abc import Callable, Mapping
from functools import partial

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import (
    Completer,
    ConditionalCompleter,
    NestedCompleter,
    WordCompleter,
    merge_completers,
)
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

MARK = "› "
HINT = "Ctrl-D or /quit to quit"
MENU_ROWS = 5


class Prompt:
    """Reads one message or command after another."""

    def __init__(
        self,
        toolbar: Callable[[], str],
        *,
        commands: Mapping[str, str],
        arguments: Callable[[str], list[str]],
        history: History,
    ) -> None:
        """Prepare a prompt.

        Args:
            toolbar: Returns the text of the bottom row.
            commands: Each with its help.
            arguments: Returns the words that complete a command.
            history: Of earlier entries; new ones are added.

        """
        self._toolbar = toolbar
        self._is_hinting = False
        self._was_cleared = False
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=_completer(commands, arguments),
            # The menu takes its rows from the conversation only while it is open.
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
        """Read an entry, and whether it is an edited `draft`. Raises `EOFError` on Ctrl-D."""
        self._is_hinting = self._was_cleared = False
        text = self._session.prompt(MARK, default=draft)
        return text, bool(draft) and not self._was_cleared

    def _bottom(self) -> StyleAndTextTuples:
        return [("", f" {HINT if self._is_hinting else self._toolbar()}")]

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

    def _clear(self, buffer: Buffer) -> None:
        self._is_hinting = not buffer.text
        self._was_cleared = True
        buffer.reset()


def _is_command() -> bool:
    text = get_app().current_buffer.text
    return text.startswith("/") and not text.startswith("//") and "\n" not in text


def _completer(commands: Mapping[str, str], arguments: Callable[[str], list[str]]) -> Completer:
    """Complete commands, shown with their help, and then their arguments."""
    names = WordCompleter(list(commands), meta_dict=commands, sentence=True)
    arguments_completer = NestedCompleter(
        {name: WordCompleter(partial(arguments, name), sentence=True) for name in commands},
        ignore_case=False,
    )
    # Both complete names; without the help there is a second of each.
    merged = merge_completers([names, arguments_completer], deduplicate=True)
    return ConditionalCompleter(merged, Condition(_is_command))
