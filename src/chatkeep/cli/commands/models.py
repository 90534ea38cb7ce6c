"""`chatkeep models`."""

import typer

from chatkeep.cli.output import Json, Key, Url, as_json


def models(url: Url = None, key: Key = None, json: Json = False) -> None:
    """List the models on offer; the default is marked.

    \b
    Example:
      chatkeep models
    """
    from chatkeep.cli.chat.api import one_line
    from chatkeep.cli.client import call, found, server

    with server(url, key) as client:
        offer = found(call(client, "GET", "/models"))
    if json:
        as_json(offer)
        return
    for model in offer["models"]:
        typer.echo(f"{'*' if model['id'] == offer['default'] else ' '} {one_line(model['id'])}")
