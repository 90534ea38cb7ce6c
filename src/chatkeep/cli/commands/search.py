"""`chatkeep search`."""

from typing import Annotated

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.errors import CommandError
from chatkeep.cli.options import Json, Key, Since, Until, Url
from chatkeep.cli.output import clean, one_line, print_json
from chatkeep.cli.responses import SearchHit

commands = typer.Typer()

Query = Annotated[list[str], typer.Argument(help='Words, "a phrase", or a prefix*.')]
InSession = Annotated[str | None, typer.Option("--session", "-s", help="Only in this session.")]
MessageRole = Annotated[str | None, typer.Option(help="Only user or assistant messages.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Maximum results.")]


@commands.command(
    help="""Search titles and messages for all of the words.

    \b
    Examples:
      chatkeep search lisbon may
      chatkeep search '"umbrella stand"' --since 2026-01-01
    """
)
def search(
    query: Query,
    session: InSession = None,
    role: MessageRole = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    with connect(url, key) as client:
        hits = client.search(
            {
                "q": " ".join(query),
                "session_id": session,
                "role": role,
                "since": since,
                "until": until,
                "limit": limit,
            }
        )
    if json:
        print_json(hits)
    elif not hits:
        raise CommandError("Nothing found.")
    else:
        for hit in hits:
            _print_hit(hit)


def _print_hit(hit: SearchHit) -> None:
    from rich.console import Console
    from rich.text import Text

    snippet = Text("  ")
    for part in hit["snippet"]:
        text = clean(part["text"]).replace("\n", " ").replace("\t", " ")
        snippet.append(text, style="bold reverse" if part["match"] else "")
    time = hit["created_at"][:16].replace("T", " ")
    title, session_id = one_line(hit["title"]), one_line(hit["session_id"])
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((title, "bold"), f"  {session_id}"))
    console.print(Text(f"  {hit['role'] or 'title'}, {time}", style="dim"))
    console.print(snippet)
    console.print()
