"""`chatkeep sessions …`: list, show, rename, pin, archive, delete."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from chatkeep.cli.client import Client, connect
from chatkeep.cli.errors import ExitCode, NotFound
from chatkeep.cli.options import Json, Key, Url, Yes, confirm
from chatkeep.cli.output import clean, print_error, print_json, print_table

commands = typer.Typer(
    name="sessions",
    help="List, show, rename, pin, archive and delete sessions.",
    no_args_is_help=True,
)

SessionId = Annotated[str, typer.Argument(help="The session's id.")]
SessionIds = Annotated[list[str], typer.Argument(help="The sessions' ids.")]
NewTitle = Annotated[str, typer.Argument(help="The new title; no model overwrites it.")]
InTitle = Annotated[str | None, typer.Option(help="Only sessions with this in the title.")]
Archived = Annotated[
    bool | None,
    typer.Option("--archived/--no-archived", help="Only archived sessions, or only the others."),
]
Pinned = Annotated[
    bool | None,
    typer.Option("--pinned/--no-pinned", help="Only pinned sessions, or only the others."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Maximum results.")]


@commands.command(
    name="list",
    help="""List the sessions, newest activity first.

    \b
    Examples:
      chatkeep sessions list
      chatkeep sessions list --title lisbon --json
    """,
)
def list_(
    title: InTitle = None,
    archived: Archived = None,
    pinned: Pinned = None,
    limit: Limit = 50,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    params = {"limit": limit, "title": title, "archived": archived, "pinned": pinned}
    with connect(url, key) as client:
        sessions = client.sessions(params)
    if json:
        print_json(sessions)
        return
    rows = [
        (
            session["title"],
            session["session_id"],
            str(session["message_count"]),
            session["updated_at"][:16].replace("T", " "),
        )
        for session in sessions
    ]
    print_table(("title", "session", "messages", "active (UTC)"), rows)


@commands.command(
    "show",
    help="""Print a session's conversation.

    \b
    Examples:
      chatkeep sessions show trip/lisbon
      chatkeep sessions show trip/lisbon --json | jq .messages
    """,
)
def show_session(
    session_id: SessionId, url: Url = None, key: Key = None, json: Json = False
) -> None:
    from rich.console import Console

    from chatkeep.cli.chat.history import transcript

    console = Console()
    with connect(url, key) as client:
        session = client.session(session_id)
        if not json and not console.is_terminal:
            typer.echo(clean(client.export_markdown(session_id).decode()), nl=False)
            return
        messages = client.history(session_id)
    if json:
        print_json({**session, "messages": messages})
        return
    with console.pager(styles=True):
        console.print(transcript(session, messages), crop=False)


@commands.command(
    help="""Rename a session.

    \b
    Example:
      chatkeep sessions rename trip/lisbon "A week in Lisbon"
    """
)
def rename(
    session_id: SessionId, title: NewTitle, url: Url = None, key: Key = None, json: Json = False
) -> None:
    with connect(url, key) as client:
        session = client.update_session(session_id, {"title": title})
    if json:
        print_json(session)
    else:
        typer.echo(f"{session_id} is now “{session['title']}”.")


@commands.command(
    help="""Delete sessions permanently, from every file. Only a backup can bring them back.

    \b
    Examples:
      chatkeep sessions delete trip/lisbon
      chatkeep sessions delete --yes old-1 old-2
    """
)
def delete(
    session_ids: SessionIds,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    names = list(dict.fromkeys(session_ids))
    missing: list[str] = []
    with connect(url, key) as client:
        if not yes:
            missing = _for_each(names, client.session)
            names = [name for name in names if name not in missing]
            if names:
                confirm(f"Delete {', '.join(names)} for good?", is_json=json)
        missing += _for_each(names, client.delete_session)
    _report("deleted", "is deleted", session_ids, missing, is_json=json)


@commands.command(
    help="""Pin sessions to the top of the list on the page.

    \b
    Example:
      chatkeep sessions pin trip/lisbon
    """
)
def pin(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        missing = _update(client, session_ids, pinned=True)
    _report("pinned", "is pinned", session_ids, missing, is_json=json)


@commands.command(
    help="""Unpin sessions.

    \b
    Example:
      chatkeep sessions unpin trip/lisbon
    """
)
def unpin(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        missing = _update(client, session_ids, pinned=False)
    _report("unpinned", "is no longer pinned", session_ids, missing, is_json=json)


@commands.command(
    help="""Archive sessions: hide them from the list on the page, without deleting them.

    \b
    Example:
      chatkeep sessions archive old-1 old-2
    """
)
def archive(session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        missing = _update(client, session_ids, archived=True)
    _report("archived", "is archived", session_ids, missing, is_json=json)


@commands.command(
    help="""Return sessions from the archive to the list on the page.

    \b
    Example:
      chatkeep sessions unarchive old-1 old-2
    """
)
def unarchive(
    session_ids: SessionIds, url: Url = None, key: Key = None, json: Json = False
) -> None:
    with connect(url, key) as client:
        missing = _update(client, session_ids, archived=False)
    _report("unarchived", "is no longer archived", session_ids, missing, is_json=json)


def _update(client: Client, session_ids: Sequence[str], **changes: bool) -> list[str]:
    return _for_each(session_ids, lambda session_id: client.update_session(session_id, changes))


def _for_each(session_ids: Sequence[str], request: Callable[[str], object]) -> list[str]:
    """Send a request for each session, once for an id that is repeated; return the missing ids."""
    missing: list[str] = []
    for session_id in dict.fromkeys(session_ids):
        try:
            request(session_id)
        except NotFound:
            missing.append(session_id)
    return missing


def _report(
    done: str, sentence_end: str, session_ids: Sequence[str], missing: list[str], *, is_json: bool
) -> None:
    """Print which sessions were changed. Exits with an error if one is missing.

    Args:
        done: The key of the changed sessions in JSON.
        sentence_end: Follows the id of a changed session.
        session_ids: Of the command line.
        missing: Those of them that there are not.
        is_json: Whether to print JSON.

    """
    changed = [name for name in dict.fromkeys(session_ids) if name not in missing]
    if is_json:
        print_json({done: changed, "not_found": missing})
    else:
        for session_id in changed:
            typer.echo(f"{session_id} {sentence_end}.")
        for session_id in missing:
            print_error(f"There is no session {session_id}.")
    if missing:
        raise typer.Exit(ExitCode.FAILED if changed else ExitCode.NOT_FOUND)
