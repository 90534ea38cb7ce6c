"""`chatkeep keys …`: create, list, rotate, revoke."""

from typing import Annotated, Literal

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.durations import seconds_from, time_from
from chatkeep.cli.options import Json, Key, Url, Yes, confirm
from chatkeep.cli.output import print_json, print_note, print_table

commands = typer.Typer(
    name="keys",
    help="Create, list, rotate and revoke the keys that let callers in.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="What the key is used for.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")]
Scope = Annotated[
    Literal["chat", "read", "admin", "metrics"],
    typer.Option(help="What it may do. An admin key manages keys, and reads no conversation."),
]
Tenant = Annotated[str | None, typer.Option(help="Whose sessions; `default` by default.")]
User = Annotated[str | None, typer.Option(help="The one user of the tenant that it is for.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that it may ask for; may be repeated. By default all."),
]
Expires = Annotated[str | None, typer.Option(help="When it ends: 90d, 12h, or a date.")]
Grace = Annotated[str, typer.Option(help="How long the old secrets still hold: 24h, 30m, 0s.")]


@commands.command(
    help="""Create a key. It is printed once, alone on standard output; only a digest is stored.

    \b
    Examples:
      chatkeep keys create "web shop"
      chatkeep keys create --user alice --expires 90d "Alice's laptop"
      chatkeep keys create --scope admin operations
    """
)
def create(
    name: Name,
    scope: Scope = "chat",
    tenant: Tenant = None,
    user: User = None,
    models: Models = None,
    expires: Expires = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    body = {
        "name": name,
        "scope": scope,
        "tenant": tenant,
        "user": user,
        "models": models or None,
        "expires_at": time_from(expires),
    }
    with connect(url, key) as client:
        made = client.create_key({name: value for name, value in body.items() if value is not None})
    if json:
        print_json(made)
        return
    typer.echo(made["key"])
    print_note(
        f"{made['id']}: store it now, nothing shows it again.\n"
        "Clients send it as `Authorization: Bearer …`; commands take CHATKEEP_API_KEY."
    )


@commands.command(
    name="list",
    help="""List the keys, also those that were revoked.

    \b
    Example:
      chatkeep keys list
    """,
)
def list_(tenant: Tenant = None, url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        listed = client.keys({"tenant": tenant})
    if json:
        print_json(listed)
        return
    rows = [
        (
            record["id"],
            record["name"],
            record["scope"],
            "/".join(filter(None, (record["tenant"], record["user"]))),
            " ".join(record["hints"]),
            _minute(record["last_used_at"]) or "never",
            f"revoked {_minute(record['revoked_at'])}"
            if record["revoked_at"]
            else _minute(record["expires_at"]),
        )
        for record in listed
    ]
    print_table(("key", "name", "scope", "for", "secrets", "used (UTC)", "ends"), rows)


@commands.command(
    help="""Give a key another secret. Those that it has hold for a while, so that nothing breaks.

    \b
    Example:
      chatkeep keys rotate key_01a2058719d1766ebad13f34039a02d3 --grace 1h
    """
)
def rotate(
    key_id: KeyId, grace: Grace = "24h", url: Url = None, key: Key = None, json: Json = False
) -> None:
    with connect(url, key) as client:
        made = client.rotate_key(key_id, seconds_from(grace))
    if json:
        print_json(made)
        return
    typer.echo(made["key"])
    print_note(f"The secrets before it hold for another {grace}.")


@commands.command(
    help="""Revoke a key at once, with the tokens and the browsers that were let in with it.

    \b
    Example:
      chatkeep keys revoke key_01a2058719d1766ebad13f34039a02d3
    """
)
def revoke(
    key_id: KeyId, yes: Yes = False, url: Url = None, key: Key = None, json: Json = False
) -> None:
    if not yes:
        confirm(f"Revoke {key_id}? Whoever uses it is refused from then on.", is_json=json)
    with connect(url, key) as client:
        record = client.revoke_key(key_id)
    if json:
        print_json(record)
    else:
        typer.echo(f"{key_id} is revoked.")


def _minute(moment: str | None) -> str:
    return "" if moment is None else moment[:16].replace("T", " ")
