"""Markdown for a terminal.

Formulas are shown as TeX, by the same rules as on the page. Code and formulas on lines of their own
are neither indented, padded nor wrapped, so that a selection is exactly what was written. What a
model writes is not trusted: it reaches the terminal as text only.
"""

import re
from collections.abc import Iterable, Iterator
from typing import cast

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.containers import Renderables
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    ListItem,
    Markdown,
    MarkdownContext,
    MarkdownElement,
    TextElement,
)
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

MAX_FORMULA_CHARS, MAX_INLINE_CHARS = 10_000, 1_000
"""An end is not searched for any further: it costs time, and nobody writes longer formulas."""

CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
BLOCK_OPENINGS = ("$$", "\\[")

DOLLARS = re.compile(
    rf"\$(?![\s$])(?:\\[^\n`]|[^\\$\n`]|\n(?!\s*\n)){{1,{MAX_INLINE_CHARS}}}?(?<!\s)\$(?![\w$])"
)
"""`$x$`: no blank inside the dollars, no letter or digit after them: "$5 and $10" is text."""

CODE_THEME = "ansi_dark"
"""The terminal's own colours, without a background that would be filled with blanks."""

TAB_CHARS = 4

_VERBATIM = Style(meta={"verbatim": True})

Row = list[Segment]


def split(text: str) -> tuple[list[str], str]:
    """Split a text that may grow into its complete top-level blocks and the rest.

    Only complete lines are read: the end of a line can change what its beginning means.
    """
    lines = text.split("\n")
    tokens = _BLOCKS.parse(text[: text.rfind("\n") + 1])
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map]
    if len(starts) < 2:
        return [], text
    edges = [0, *starts[1:]]
    blocks = ["\n".join(lines[edges[i] : edges[i + 1]]) for i in range(len(edges) - 1)]
    return blocks, "\n".join(lines[edges[-1] :])


def fenced_code(text: str) -> list[str]:
    """Return the contents of the fenced code blocks in a text, in their order."""
    return [token.content for token in _BLOCKS.parse(text) if token.type == "fence"]


def is_verbatim(row: Row) -> bool:
    """Return whether a row must not be indented, padded or wrapped."""
    return bool(row and row[0].style and row[0].style.meta.get("verbatim"))


def _inline_formula(state: StateInline, silent: bool) -> bool:
    """Parse a formula within a line as text. A rule of the parser."""
    raw = _formula_at(state.src, state.pos)
    if raw is None:
        return False
    if not silent:
        state.push("text", "", 0).content = raw
    state.pos += len(raw)
    return True


def _formula_at(text: str, start: int) -> str | None:
    """Return the formula that begins at `start`. None contains a backtick, which delimits code."""
    if closing := CLOSING.get(text[start : start + 2]):
        end = text.find(closing, start + 2, start + MAX_INLINE_CHARS)
        raw = text[start : end + 2]
        return raw if end > 0 and raw[2:-2].strip() and "`" not in raw else None
    dollars = DOLLARS.match(text, start)
    return dollars[0] if dollars else None


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Parse the lines from `$$` or `\[` to the end of the formula. A rule of the parser.

    A formula has no blank line. Without an end it goes to the end of the text, which may grow.
    """
    if state.is_code_block(start):
        return False
    opening = state.src[state.bMarks[start] + state.tShift[start] :][:2]
    if opening not in BLOCK_OPENINGS:
        return False
    line = start
    while not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        text = state.getLines(start, line + 1, state.blkIndent, False).strip()
        closed = text.find(CLOSING[opening], 2)
        line += 1
        if closed >= 0 or line >= end or len(text) > MAX_FORMULA_CHARS:
            break
    else:
        return False
    if len(text) > MAX_FORMULA_CHARS or 0 <= closed < len(text) - 2:
        return False
    if not silent:
        state.line = line
        token = state.push("formula", "", 0)
        token.content, token.map = text, [start, line]
    return True


def _images_as_text(state: StateCore) -> None:
    """Replace images by their descriptions and addresses. A rule of the parser."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "image":
                source = str(child.attrs.get("src", ""))
                address = "" if source.startswith("data:") else f" {source}"
                name = "".join(part.content for part in child.children or ())
                label = f"[image: {name}]" if name else "[image]"
                child.type, child.tag, child.content = "text", "", f"{label}{address}"
                child.children = None


class _Parser(MarkdownIt):
    """Parses images with any data: a terminal follows no address by itself."""

    def validateLink(self, url: str) -> bool:  # noqa: N802  (the library's name)
        return url.startswith("data:image/") or super().validateLink(url)


def _parser() -> MarkdownIt:
    # A tag is text.
    parser = _Parser("commonmark", {"html": False}).enable(["strikethrough", "table"])
    interrupted = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("fence", "formula", _formula_block, {"alt": interrupted})
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    parser.core.ruler.push("images_as_text", _images_as_text)
    return parser


_PARSER, _BLOCKS = _parser(), _parser()
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])


class _Heading(Heading):
    """A heading of any level, aligned to the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Formula(TextElement):
    """A formula on lines of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _verbatim(self.text, console)


class _Code(CodeBlock):
    """Code, below a line that names its language."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("code" if self.lexer_name == "text" else self.lexer_name, "dim")
        code = str(self.text).rstrip("\n").expandtabs(TAB_CHARS)
        painted = Syntax("", self.lexer_name, theme=CODE_THEME).highlight(code)
        painted.remove_suffix("\n")
        yield from _verbatim(painted, console)


class _Container(TextElement):
    """An element of other elements, with a blank row between code and what is beside it."""

    elements: Renderables

    def on_child_close(
        self,
        context: MarkdownContext,  # noqa: ARG002  (the library passes it)
        child: MarkdownElement,
    ) -> bool:
        """Add a child; it is not rendered on its own."""
        # The library says that iterating gives an iterable.
        elements = list(cast("Iterable[RenderableType]", self.elements))
        if elements and any(isinstance(one, _Code | _Formula) for one in (child, elements[-1])):
            self.elements.append(Text())
        self.elements.append(child)
        return False


class _ListItem(_Container, ListItem):
    """An item of a list."""

    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.item.bullet", default="none")
        return _beside(self, Segment(" • ", style), Segment("   ", style), console, options)

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        style = console.get_style("markdown.item.number", default="none")
        width = len(str(last_number)) + 2
        marker = Segment(f"{number}".rjust(width - 1) + " ", style)
        return _beside(self, marker, Segment(" " * width, style), console, options)


class _BlockQuote(_Container, BlockQuote):
    """A quotation."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bar = Segment("▌ ", self.style)
        return _beside(self, bar, bar, console, options)


def _beside(
    container: _Container,
    marker: Segment,
    margin: Segment,
    console: Console,
    options: ConsoleOptions,
) -> Iterator[Segment]:
    """Render a container: the first row after `marker`, others after `margin`, code as it is."""
    inner = options.update(width=max(1, options.max_width - marker.cell_length))
    segments = Segment.apply_style(console.render(container.elements, inner), container.style)
    before = marker
    for row in Segment.split_lines(segments):
        if not is_verbatim(row):
            yield before
            yield from Segment.adjust_line_length(row, inner.max_width, pad=False)
        else:
            yield from (marker, Segment.line()) if before is not margin else ()
            yield from row
        before = margin
        yield Segment.line()


def _verbatim(text: Text, console: Console) -> Iterator[Segment]:
    for line in text.split("\n", allow_blank=True):
        yield Segment("", _VERBATIM)
        yield from line.render(console)
        yield Segment.line()


class TerminalMarkdown(Markdown):
    """A Markdown text for a console; links and images show their addresses."""

    elements = Markdown.elements | {
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "formula": _Formula,
        "list_item_open": _ListItem,
        "blockquote_open": _BlockQuote,
    }

    def __init__(self, text: str) -> None:
        """Parse a text, which must be `output.clean`."""
        super().__init__("", hyperlinks=False)
        self.parsed = _PARSER.parse(text)
