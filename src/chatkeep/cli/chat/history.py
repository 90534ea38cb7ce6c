"""A stored conversation as a terminal shows it: texts as Markdown, steps in a line each."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from chatkeep.cli.chat.markdown import TerminalMarkdown
from chatkeep.cli.chat.steps import StepLines, file_notes, message_blocks
from chatkeep.cli.output import clean, one_line
from chatkeep.cli.responses import MessageRecord, SessionRecord
from chatkeep.domain.blocks import text_of, tool_result
from chatkeep.domain.model import Status


def transcript(session: SessionRecord, messages: Iterable[MessageRecord]) -> Group:
    """A session and its messages, oldest first."""
    created = session["created_at"][:16].replace("T", " ")
    name = f"*{session['session_id']}, {created} UTC*"
    title = f"# {one_line(session['title'])}\n\n{one_line(name)}"
    return Group(TerminalMarkdown(title), *_rows(messages))


def _rows(messages: Iterable[MessageRecord]) -> Iterator[RenderableType]:
    steps = StepLines()
    was_step = False
    for message in messages:
        lines = steps.make(message)
        text = "" if tool_result(message_blocks(message)) else _text(message)
        if text or not lines:
            yield Text()
            yield TerminalMarkdown(clean(f"{_heading(message)}\n\n{text}"))
        if lines and (text or not was_step):
            yield Text()
        yield from lines
        was_step = bool(lines)


def _heading(message: MessageRecord) -> str:
    at = message["created_at"][:16].replace("T", " ")
    ended = "" if message["status"] == Status.COMPLETED else f", {message['status']}"
    return f"## {message['role'].capitalize()} ({at} UTC{ended})"


def _text(message: MessageRecord) -> str:
    blocks = message_blocks(message)
    notes = [f"*{note}*" for note in file_notes(blocks)]
    return "\n\n".join(filter(None, [text_of(message["content"], blocks), *notes]))
