"""`chatkeep sessions …`: list, show, rename, pin, archive, delete."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.output import FAILED, NOT_THERE, Json, Key, Url, as_json, complain, confirm, table

if TYPE_CHECKING:
    from httpx2 import Client

sessions = typer.Typer(
    help="List, show, rename, pin, archive and delete sessions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SessionId = Annotated[str, typer.Argument(help="The session's id.")]
ListLimit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Maximum results.")]
SessionIds = Annotated[list[str], typer.Argument(help="The sessions' ids.")]


@sessions.command("list")
def list_(
    title: Annotated[str | None, typer.Option(help="Only titles that contain this.")] = None,
    archived: Annotated[
        bool | None, typer.Option("--archived/--no-archived", help="Only archived, or only others.")
    ] = None,
    pinned: Annotated[
        bool | None, typer.Option("--pinned/--no-pinned", help="Only pinned, or only others.")
    ] = None,
    limit: ListLimit = 50,
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
    from chatkeep.cli.client import call, found, server

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

    from chatkeep.cli.chat.markdown import Markup, clean
    from chatkeep.cli.client import call, found, server, session_path

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
    """Rename a session.

    \b
    Example:
      chatkeep sessions rename trip/lisbon "A week in Lisbon"
    """
    from chatkeep.cli.client import call, found, server, session_path

    with server(url, key) as client:
        response = call(client, "PATCH", session_path(session_id), json={"title": title})
        changed = found(response)
    if json:
        as_json(changed)
    else:
        typer.echo(f"{session_id} is now “{changed['title']}”.")


@sessions.command()
def delete(
    session_ids: SessionIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Delete sessions permanently, from every file. Only a backup can bring them back.

    \b
    Examples:
      chatkeep sessions delete trip/lisbon
      chatkeep sessions delete --yes old-1 old-2
    """
    from chatkeep.cli.client import server

    names = list(dict.fromkeys(session_ids))
    missing: list[str] = []
    with server(url, key) as client:
        if not yes:
            missing = _missing(client, names, "GET")
            if present := [name for name in names if name not in missing]:
                confirm(f"Delete {', '.join(present)} for good?", as_json=json)
        missing += _missing(client, [name for name in names if name not in missing], "DELETE")
    _report("deleted", "is deleted", names, missing, json=json)


@sessions.command()
def pin(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    """Pin sessions to the top of the list on the page.

    \b
    Example:
      chatkeep sessions pin trip/lisbon
    """
    missing = _change(session_ids, url, key, pinned=True)
    _report("pinned", "is pinned", session_ids, missing, json=json)


@sessions.command()
def unpin(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    """Unpin sessions.

    \b
    Example:
      chatkeep sessions unpin trip/lisbon
    """
    missing = _change(session_ids, url, key, pinned=False)
    _report("unpinned", "is no longer pinned", session_ids, missing, json=json)


@sessions.command()
def archive(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    """Archive sessions: they leave the list on the page, and nothing is deleted.

    \b
    Example:
      chatkeep sessions archive old-1 old-2
    """
    missing = _change(session_ids, url, key, archived=True)
    _report("archived", "is archived", session_ids, missing, json=json)


@sessions.command()
def unarchive(
    session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False
) -> None:
    """Return sessions from the archive to the list on the page.

    \b
    Example:
      chatkeep sessions unarchive old-1 old-2
    """
    missing = _change(session_ids, url, key, archived=False)
    _report("unarchived", "is no longer archived", session_ids, missing, json=json)


def _change(session_ids: list[str], url: str | None, key: str | None, **change: bool) -> list[str]:
    """Change each of these sessions; return those that there are not."""
    from chatkeep.cli.client import server

    with server(url, key) as client:
        return _missing(client, session_ids, "PATCH", json=change)


def _report(
    done: str, words: str, session_ids: list[str], missing: list[str], *, json: bool
) -> None:
    """Print what was done to which sessions; end the program with an error if one is missing."""
    changed = [name for name in dict.fromkeys(session_ids) if name not in missing]
    if json:
        as_json({done: changed, "not_found": missing})
    else:
        for session_id in changed:
            typer.echo(f"{session_id} {words}.")
        for session_id in missing:
            complain(f"There is no session {session_id}.")
    if missing:
        raise typer.Exit(FAILED if changed else NOT_THERE)


def _missing(client: "Client", session_ids: list[str], method: str, **options: object) -> list[str]:
    """Send a request to each of these sessions; return those that there are not."""
    from chatkeep.cli.client import NotThere, call, session_path

    missing: list[str] = []
    for name in dict.fromkeys(session_ids):
        try:
            call(client, method, session_path(name), **options)
        except NotThere:
            missing.append(name)
    return missing
