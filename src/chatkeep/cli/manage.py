"""`chatkeep sessions …` and `chatkeep search`: find, read, rename, delete."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatkeep.cli.show import FAILED, NOT_THERE, Json, Key, Url, as_json, complain, confirm, table

if TYPE_CHECKING:
    from httpx2 import Client

sessions = typer.Typer(
    help="List, show, rename and delete sessions.", no_args_is_help=True, rich_markup_mode=None
)

SessionId = Annotated[str, typer.Argument(help="The session's id.")]


@sessions.command("list")
def list_(
    title: Annotated[str | None, typer.Option(help="Only with this in the title.")] = None,
    archived: Annotated[
        bool | None, typer.Option("--archived/--no-archived", help="Only archived ones, or others.")
    ] = None,
    pinned: Annotated[
        bool | None, typer.Option("--pinned/--no-pinned", help="Only pinned ones, or others.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most.")] = 50,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """List the sessions, newest activity first.

    \b
    Examples:
      chatkeep sessions list
      chatkeep sessions list --title lisbon --json
    """
    from chatkeep.cli.reach import call, found, server

    asked = {"limit": limit, "title": title, "archived": archived, "pinned": pinned}
    params = {name: value for name, value in asked.items() if value is not None}
    with server(url, key) as client:
        listed = found(call(client, "GET", "/sessions", params=params))
    if json:
        as_json(listed)
        return
    rows = [
        [
            session["title"],
            session["session_id"],
            str(session["message_count"]),
            session["updated_at"][:16].replace("T", " "),
        ]
        for session in listed
    ]
    table(["title", "session", "messages", "active (UTC)"], rows)


@sessions.command()
def show(session_id: SessionId, url: Url = None, key: Key = None, json: Json = False) -> None:
    """Print a session's conversation.

    \b
    Examples:
      chatkeep sessions show trip/lisbon
      chatkeep sessions show trip/lisbon --json | jq .messages
    """
    from rich.console import Console

    from chatkeep.cli.markup import Markup, clean
    from chatkeep.cli.reach import call, found, server, session_path

    with server(url, key) as client:
        path = session_path(session_id)
        session = found(call(client, "GET", path))
        if json:
            history = path.replace("/sessions/", "/history/", 1)
            as_json({**session, "messages": found(call(client, "GET", history))})
            return
        asked = {"format": "markdown", "session_id": session_id}
        text = clean(call(client, "GET", "/export", params=asked).text)
    console = Console()
    if not console.is_terminal:
        typer.echo(text, nl=False)
        return
    with console.pager(styles=True):
        console.print(Markup(text), crop=False)


@sessions.command()
def rename(
    session_id: SessionId,
    title: Annotated[str, typer.Argument(help="The new title; no model overwrites it.")],
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Give a session a title.

    \b
    Example:
      chatkeep sessions rename trip/lisbon "A week in Lisbon"
    """
    from chatkeep.cli.reach import call, found, server, session_path

    with server(url, key) as client:
        response = call(client, "PATCH", session_path(session_id), json={"title": title})
        changed = found(response)
    if json:
        as_json(changed)
    else:
        typer.echo(f"{session_id} is now “{changed['title']}”.")


@sessions.command()
def delete(
    session_ids: Annotated[list[str], typer.Argument(help="The sessions' ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Delete sessions for good, from every file. There is no way back but a backup.

    \b
    Examples:
      chatkeep sessions delete trip/lisbon
      chatkeep sessions delete --yes old-1 old-2
    """
    from chatkeep.cli.reach import server

    names = list(dict.fromkeys(session_ids))
    missing: list[str] = []
    with server(url, key) as client:
        if not yes:
            missing = _missing(client, "GET", names)
            if present := [name for name in names if name not in missing]:
                confirm(f"Delete {', '.join(present)} for good?", as_json=json)
        missing += _missing(client, "DELETE", [name for name in names if name not in missing])
    deleted = [name for name in names if name not in missing]
    if json:
        as_json({"deleted": deleted, "not_found": missing})
    else:
        for session_id in deleted:
            typer.echo(f"{session_id} is deleted.")
        for session_id in missing:
            complain(f"There is no session {session_id}.")
    if missing:
        raise typer.Exit(NOT_THERE if not deleted else FAILED)


def _missing(client: "Client", method: str, names: list[str]) -> list[str]:
    """Send a request to each of these sessions; return those that there are not."""
    from chatkeep.cli.reach import NotThere, call, session_path

    missing: list[str] = []
    for name in names:
        try:
            call(client, method, session_path(name))
        except NotThere:
            missing.append(name)
    return missing


def search(
    query: Annotated[list[str], typer.Argument(help='Words; "a phrase"; begin*.')],
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Only in this one.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="Only user's or assistant's messages.")] = None,
    since: Annotated[str | None, typer.Option(help="Only since this day or time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this day or time.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="At most.")] = 20,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Search titles and messages: every word must be there.

    \b
    Examples:
      chatkeep search lisbon may
      chatkeep search '"umbrella stand"' --since 2026-01-01
    """
    from chatkeep.cli.reach import call, found, server

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

    from chatkeep.cli.chat_api import one_line
    from chatkeep.cli.markup import clean

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
