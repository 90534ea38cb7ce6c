"""`chatkeep search`."""

from typing import Annotated, Any

import typer

from chatkeep.cli.output import FAILED, Json, Key, Url, as_json, complain


def search(
    query: Annotated[list[str], typer.Argument(help='Words, "a phrase", or a prefix*.')],
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Only in this session.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="Only user or assistant messages.")] = None,
    since: Annotated[str | None, typer.Option(help="From this date or time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this date or time.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100, help="Maximum results.")
    ] = 20,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Search titles and messages for all of the words.

    \b
    Examples:
      chatkeep search lisbon may
      chatkeep search '"umbrella stand"' --since 2026-01-01
    """
    from chatkeep.cli.client import call, found, server

    asked = {"session_id": session, "role": role, "since": since, "until": until}
    params = {name: value for name, value in asked.items() if value is not None}
    params |= {"q": " ".join(query), "limit": str(limit)}
    with server(url, key) as client:
        hits = found(call(client, "GET", "/search", params=params))
    if json:
        as_json(hits)
        return
    for hit in hits:
        _print_hit(hit)
    if not hits:
        complain("Nothing was found.")
        raise typer.Exit(FAILED)


def _print_hit(hit: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from chatkeep.cli.chat.api import one_line
    from chatkeep.cli.chat.markdown import clean

    what = hit["role"] or "title"
    head = f"{what}, {hit['created_at'][:16].replace('T', ' ')}"
    snippet = Text()
    for part in hit["snippet"]:
        words = clean(part["text"]).replace("\n", " ").replace("\t", " ")
        snippet.append(words, style="bold reverse" if part["match"] else "")
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        Text.assemble((one_line(hit["title"]), "bold"), f"  {one_line(hit['session_id'])}")
    )
    console.print(Text(f"  {head}", style="dim"))
    console.print(Text("  ").append_text(snippet))
    console.print()
