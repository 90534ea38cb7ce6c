"""`chatkeep tenants …`, `chatkeep users …`, `chatkeep audit`."""

from typing import Annotated

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.options import Json, Key, Url, Yes, confirm
from chatkeep.cli.output import print_json, print_table

tenants = typer.Typer(
    name="tenants",
    help="Create, list and delete tenants: applications or customers that share nothing.",
    no_args_is_help=True,
)
users = typer.Typer(
    name="users", help="List and delete the end users of a tenant.", no_args_is_help=True
)
commands = typer.Typer()
commands.add_typer(tenants)
commands.add_typer(users)

TenantName = Annotated[
    str, typer.Argument(help="1 to 40 characters: lower-case letters, digits, _ and -.")
]
UserId = Annotated[str, typer.Argument(help="The user's id, as the application names it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Maximum results.")]


@tenants.command(
    help="""Create a tenant.

    \b
    Example:
      chatkeep tenants create acme
    """
)
def create(tenant: TenantName, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        is_new = client.create_tenant(tenant)
    if json:
        print_json({"tenant": tenant})
    elif is_new:
        typer.echo(f"{tenant} is created. `chatkeep keys create --tenant {tenant}` lets it in.")
    else:
        typer.echo(f"{tenant} was there already.")


@tenants.command(
    name="list",
    help="""List the tenants.

    \b
    Example:
      chatkeep tenants list
    """,
)
def list_tenants(
    limit: Limit = 1_000, url: Url = None, key: Key = None, json: Json = False
) -> None:
    with connect(url, key) as client:
        listed = client.tenants({"limit": limit})
    if json:
        print_json(listed)
        return
    rows = [
        (record["tenant"], str(record["session_count"]), _minute(record["last_activity"]))
        for record in listed
    ]
    print_table(("tenant", "sessions", "active (UTC)"), rows)


@tenants.command(
    "delete",
    help="""Delete a tenant with its users, their sessions and its keys, from every file.

    \b
    Example:
      chatkeep tenants delete acme
    """,
)
def delete_tenant(
    tenant: TenantName, yes: Yes = False, url: Url = None, key: Key = None, json: Json = False
) -> None:
    if not yes:
        confirm(f"Delete the tenant {tenant} with everything that is its?", is_json=json)
    with connect(url, key) as client:
        client.delete_tenant(tenant)
    if json:
        print_json({"deleted": tenant})
    else:
        typer.echo(f"{tenant} is deleted.")


@users.command(
    name="list",
    help="""List the users of a tenant.

    \b
    Examples:
      chatkeep users list
      chatkeep --tenant acme users list
    """,
)
def list_users(limit: Limit = 1_000, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        listed = client.users({"limit": limit})
    if json:
        print_json(listed)
        return
    rows = [
        (record["user"], str(record["session_count"]), _minute(record["last_activity"]))
        for record in listed
    ]
    print_table(("user", "sessions", "active (UTC)"), rows)


@users.command(
    "delete",
    help="""Erase a user: sessions, keys, tokens and the id itself, from every file.

    \b
    Example:
      chatkeep users delete alice
    """,
)
def delete_user(
    user: UserId, yes: Yes = False, url: Url = None, key: Key = None, json: Json = False
) -> None:
    if not yes:
        confirm(f"Erase the user {user} with everything of theirs?", is_json=json)
    with connect(url, key) as client:
        client.delete_user(user)
    if json:
        print_json({"deleted": user})
    else:
        typer.echo(f"{user} is erased.")


@commands.command(
    help="""Show who did what, newest first. It has no texts.

    \b
    Examples:
      chatkeep audit
      chatkeep audit --tenant acme --json
    """
)
def audit(
    tenant: Annotated[str | None, typer.Option(help="Only what concerned this tenant.")] = None,
    limit: Limit = 50,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    with connect(url, key) as client:
        entries = client.audit({"tenant": tenant, "limit": limit})
    if json:
        print_json(entries)
        return
    rows = [
        (
            entry["at"][:19].replace("T", " "),
            entry["actor"],
            entry["action"],
            entry["tenant"] or "",
            entry["target"] or "",
        )
        for entry in entries
    ]
    print_table(("at (UTC)", "who", "what", "tenant", "which"), rows)


def _minute(moment: str | None) -> str:
    return "" if moment is None else moment[:16].replace("T", " ")
