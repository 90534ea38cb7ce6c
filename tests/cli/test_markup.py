"""What a model writes, as it stands in a terminal: formulas, code, headings and images."""

import io

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from chatkeep.cli.chat.markdown import TerminalMarkdown, fenced_code, split
from chatkeep.cli.chat.markdown_stream import MarkdownStream
from chatkeep.cli.output import clean
from tests.cli.terminal import Screen

# Neither a backtick, which is code's, nor what would end the formula.
TEX = st.text(st.sampled_from("ab1 \\,;_^*{}&<>|#~[]().+-=!'\""), min_size=1, max_size=40)
WORDS = st.text(st.sampled_from("ab1 .,"), max_size=10)


def printed(text: str, width: int = 2_000) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(TerminalMarkdown(text), crop=False)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().strip().split("\n"))


def is_whole(tex: str, closing: str) -> bool:
    """Whether a formula of this can only end where it is closed."""
    return bool(tex.strip()) and f"{tex}{closing}".index(closing) == len(tex)


@settings(deadline=None)
@given(tex=TEX, before=WORDS, after=WORDS)
def test_a_formula_in_a_line_is_shown_as_it_was_written(tex: str, before: str, after: str) -> None:
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$")):
        if is_whole(tex, closing):
            formula = f"{opening}{tex}{closing}"
            assert formula in printed(f"x{before}{formula} {after}")


@settings(deadline=None)
@given(lines=st.lists(TEX.map(str.strip).filter(bool), min_size=1, max_size=4))
def test_a_formula_on_lines_of_its_own_is_shown_as_it_was_written(lines: list[str]) -> None:
    tex = "\n".join(lines)
    for opening, closing in (("\\[", "\\]"), ("$$", "$$")):
        if is_whole(tex, closing):
            formula = f"{opening}\n{tex}\n{closing}"
            assert printed(f"It follows:\n{formula}\nand *so* on.") == (
                f"It follows:\n\n{formula}\n\nand so on."
            )


@pytest.mark.parametrize(
    "text",
    [
        r"Let $x_i * y_j$ and $\{a\}$ be, $a\,b$.",
        "It costs $5 and $6, or $7*2 and 8 then.",
        r"A root \(\sqrt{x\_1}\), a limit \[\lim_{n \to \infty} a_n\] in a line.",
        "In a *word*: $$",
        r"Formulas stand between \(a and b.",
    ],
)
def test_formulas_and_prices_change_nothing_around_them(text: str) -> None:
    expected = text.replace("*word*", "word").replace(r"\(a and", "(a and")
    assert printed(text) == expected


def test_a_formula_in_code_is_code() -> None:
    assert printed("`\\(a\\)` costs $5, `$x` and \\* too") == "\\(a\\) costs $5, $x and * too"
    assert printed("```\n\\(a\n$$\n```\n\n*b* \\)") == "code\n\\(a\n$$\n\nb )"


def test_a_formula_that_still_comes_is_not_split() -> None:
    whole = "Then:\n\n\\[\na =\n- b\n\n".removesuffix("\n")
    assert split(whole) == (["Then:\n"], "\\[\na =\n- b\n")
    assert split("$$\na\n$$\nand\n\nso on\n")[0] == ["$$\na\n$$", "and\n"]


def test_code_is_neither_indented_nor_filled_nor_wrapped_wherever_it_stands() -> None:
    code = f"def f(x):\n    return '{'long ' * 20}'\n\n  # the end"
    fence = f"```python\n{code}\n```"
    quoted = "\n".join(f"> {line}" for line in fence.split("\n"))
    listed = "\n".join(f"   {line}".rstrip() for line in fence.split("\n"))
    for text in (fence, f"1. First\n\n{listed}\n\n   then", f"-  {listed.strip()}", quoted):
        rows = printed(text, width=30).split("\n")
        start = rows.index("def f(x):")
        assert "\n".join(rows[start : start + 4]) == code
        assert rows[start - 1].endswith("python")


def test_headings_begin_at_the_left_and_images_are_words() -> None:
    assert printed("# One\n\n## Two", width=40) == "One\n\nTwo"
    text = "![A *cat*](https://example.org/a_b.png) ![](data:image/png;base64,AAAA)"
    text += " ![B](data:image/svg+xml,x)"
    assert printed(text) == "[image: A cat] https://example.org/a_b.png [image] [image: B]"
    assert printed("[![Badge](/b.svg)](/ci)") == "[image: Badge] /b.svg (/ci)"


def test_the_code_of_a_text_is_that_of_its_fences() -> None:
    text = "One:\n\n```sh\nls\n```\n\n- two\n\n  ~~~\n  a\n   b\n  ~~~\n\n    indented\n"
    assert fenced_code(text) == ["ls\n", "a\n b\n"]
    assert fenced_code("None `here`.") == []


@settings(deadline=None)
@given(
    blocks=st.lists(
        st.one_of(
            st.text(st.sampled_from("ab 漢\u0301"), max_size=90).map(lambda x: f"```\n{x}\n```"),
            st.sampled_from(["Some words here.", "- a\n- b", "# T", "$$\na\n$$"]),
        ),
        min_size=1,
        max_size=5,
    ),
    cut=st.integers(1, 40),
)
def test_what_is_drawn_piece_by_piece_is_what_is_drawn_at_once(blocks: list[str], cut: int) -> None:
    text = "\n\n".join(blocks)
    at_once = drawn([text])
    assert at_once.startswith("above\n")
    assert drawn([text[n : n + cut] for n in range(0, len(text), cut)]) == at_once


def drawn(pieces: list[str]) -> str:
    """What a narrow screen shows of an answer, with a row above it that must stay."""
    file = io.StringIO()
    console = Console(file=file, width=24, height=200, force_terminal=True)
    file.write("above\r\n")
    stream = MarkdownStream(console)
    stream.set_status("waiting")
    for piece in pieces:
        stream.add(clean(piece))
        stream.draw()
        stream.set_status(None)
    stream.end()
    file.write("below")
    screen = Screen(24, 200, reflows=True, answer=lambda _: None)

    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    return "\n".join(row.rstrip() for row in screen.display).rstrip()
