"""Answers built against the regular expressions of the page's Markdown: dear for their length.

Each is 100,000 characters of what an expression begins with and never comes to the end of, so that
it is tried from every letter on; or of what nests, so that each level reads the rest once more. A
page whose expressions are at most linear shows each in a blink; what is quadratic takes minutes at
this length, what is exponential for ever.
"""

LENGTH = 100_000


def _long(text: str, end: str = "") -> str:
    """A text repeated to the length, with a beginning or an end that stays as it is."""
    return text * (LENGTH // len(text)) + end


def _code(language: str, text: str) -> str:
    """Lines of code, short enough that the page does not leave them plain for their length."""
    line = text * (1_900 // len(text))
    return f"```{language}\n" + (line + "\n") * (LENGTH // len(line))


COSTS: dict[str, str] = {
    # Rows without a letter: for each that is added the browser looks for one through all others.
    "half tables": _long("|-|\n"),
    # Emphasis: each opening looks for its end through all that follows.
    "asterisks": _long("*"),
    "underscores": _long("_"),
    # Many blocks in one paragraph: each looks for the beginning of a formula.
    "fences": _long("```\na\n"),
    "tildes": _long("~"),
    "openings of emphasis": _long("*a **b "),
    "emphasis in words": _long("a**b_c*"),
    "emphasis that alternates": _long("*_"),
    "strikes that never close": _long("~~a ~b "),
    # Links: text in brackets, a target in parentheses, a title in quotes.
    "brackets": _long("["),
    "closed brackets": _long("[") + _long("]"),
    "images": _long("![a]("),
    "targets": _long("[a](<b", ">)"),
    "titles": _long('[a](b "c'),
    "references": _long("[a][b]"),
    "footnotes": _long("[^a]"),
    "definitions": _long("[a]: b 'c\n"),
    "definitions of footnotes": _long("[^a]: b\n"),
    "one footnote": "[^a]: b\n\n" + _long("[^a]"),
    "footnotes of footnotes": _long("[^a]: [^a][^b]\n    c\n\n"),
    "balanced parentheses": "[a](" + _long("(") + _long(")"),
    "backslashes in a link": "[" + _long("\\"),
    # Addresses that are found in plain text.
    "addresses of mail": _long("a.b-c_d+"),
    "addresses": _long("http://a.b"),
    "dots after www": "www." + _long("a."),
    "an address in parentheses": "http://a.b/" + _long("("),
    # Code, entities, HTML.
    "backticks": _long("`a``b"),
    "runs of backticks": "".join("`" * number + "a" for number in range(1, 440)),
    "ampersands": _long("&"),
    "entities": _long("&amp"),
    "comments": _long("<!--"),
    "comments that nearly end": "<!--" + _long("--"),
    "tags": _long("<a b=c "),
    "attributes": "<a " + _long("b='c' "),
    "instructions": _long("<?a "),
    "declarations": _long("<!A "),
    # Blocks.
    "quotes": _long("> "),
    "quotes that deepen": "".join("> " * depth + "a\n" for depth in range(300)),
    "lists in quotes": _long("> - "),
    "items": _long("- a\n\n  b\n"),
    "items that deepen": "".join("  " * depth + "- a\n" for depth in range(300)),
    "numbers": _long("1) "),
    "rules": _long("* * *\n"),
    "half rules": _long("- - ") + "a",
    "headings": _long("# "),
    "closed headings": "# a" + _long(" #") + "a",
    "lines under a heading": "a\n" + _long("=") + "a",
    "cells": _long("|a") + "\n" + _long("|-") + "\n",
    "rows": "|a|b|\n|-|-|\n" + _long("|`a|*b"),
    "details": _long("<details>\n\n"),
    "details on one line": _long("<details>"),
    "details that end": _long(f"<details><summary>a</summary>{'b ' * 100}</details>\n"),
    "details that end late": _long("<details>", "\n\n") + _long("</details>"),
    "summaries": "<details>" + _long("<summary "),
    "fences in details": "<details>\n" + _long("```\n~~~\n"),
    "attributes of details": _long("<details a\n"),
    "alerts": _long("> [!NOTE]\n> a\n\n"),
    "alerts that deepen": "".join("> " * depth + "[!TIP]\n" for depth in range(300)),
    "blank lines": "a" + _long("\n \n") + "b",
    "spaces": _long(" ") + "a" + _long("\t") + "a",
    "indented lines": _long("    a\n\n"),
    # Formulas.
    "dollars": _long("$a "),
    "blocks of dollars": _long("$$\n"),
    "openings of formulas": _long("\\(a \\[b "),
    "braces": "$$" + "{" * 9_000 + "$$",
    "fractions": "$$" + "\\frac{1}{" * 1_000 + "}" * 1_000 + "$$",
    # Colours: each language has expressions of its own.
    "code in javascript": _code("javascript", "a(/[`${"),
    "code in typescript": _code("typescript", "(a<b<(c=>"),
    "code in html": _code("html", "<a b='<!--"),
    "code in markdown": _code("markdown", "*_[a]("),
    "code in perl": _code("perl", "s{a}[m/q("),
    "code in ruby": _code("ruby", "%q(#{<<A "),
    "code in php": _code("php", '<?php "{$a->'),
    "code in swift": _code("swift", '#"\\(a<B&'),
    "code in c++": _code("cpp", 'a<b::c<(R"('),
    "code in bash": _code("bash", '$(("${a[`'),
    "code in latex": _code("latex", "\\a[{$\\verb|"),
    "code in yaml": _code("yaml", "- a: {b: [!c "),
    "code in sql": _code("sql", "a('b\"c --"),
    "code in haskell": _code("haskell", "{-(a -> [b|"),
}
