"""`chatkeep models`."""

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.options import Json, Key, Url
from chatkeep.cli.output import one_line, print_json

commands = typer.Typer()


@commands.command(
    help="""List the available models; the default is marked.

    \b
    Example:
      chatkeep models
    """
)
def models(url: Url = None, key: Key = None, json: Json = False) -> None:
    with connect(url, key) as client:
        offer = client.models()
    if json:
        print_json(offer)
        return
    for model in offer["models"]:
        typer.echo(f"{'*' if model['id'] == offer['default'] else ' '} {one_line(model['id'])}")
