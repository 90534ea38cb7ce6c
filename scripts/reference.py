"""Write the parts of the documentation that come from the code.

They are the reference, and the models and the version in examples. `python scripts/reference.py`
writes them; with `--check` it compares them instead, and exits with 1 if a file is stale.
"""

import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, TypeAdapter
from typer.core import TyperCommand, TyperGroup

from chatkeep import __version__, examples
from chatkeep.api.problems import STATUS
from chatkeep.app import create_app
from chatkeep.cli import cli
from chatkeep.cli.errors import ExitCode
from chatkeep.domain import records
from chatkeep.domain.events import EVENTS, Failure
from chatkeep.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"

MODELS = {model.partition(":")[0]: model for model in examples.MODELS}
"""The models that examples name, by their providers."""

EXAMPLE_MODEL = re.compile(rf"\b({'|'.join(MODELS)}):[\w.-]*\w(?::[\w.-]*\w)?")
"""A model in an example. `openai:…` stands for any."""

WHEEL = re.compile(r"\bchatkeep-\d+\.\d+\.\d+-py3\b")
"""The version in the file name of a wheel."""

WITH_EXAMPLES = ("README.md", "docs/**/*.md", "src/chatkeep/cli/**/*.py")
"""Files whose examples name models or the version, apart from importers of `chatkeep.examples`."""

PLACEHOLDERS = {"openai:any"}
"""Model names in the code that stand for any model."""

SETTINGS = """\
# Settings

Every setting is an environment variable. In lower case and without `CHATKEEP_`, it is also a key of
the configuration file, which is TOML: the file that `CHATKEEP_CONFIG` names, or else
`chatkeep.toml` in the working directory, or else `chatkeep.toml` in the user's configuration folder
(on Linux `~/.config/chatkeep`). Command-line options override the environment, and the environment
overrides the file.

A list is a comma-separated string; in the file it may also be an array of strings. An unknown name
is an error in the file, and a warning in the environment. An empty variable counts as not set.
"""

PROVIDERS = """
## Provider settings

These have the names that the providers use; in the file they are in lower case.
"""

VARIABLES = """
## Command-line variables

These are read by the commands that call a server. They are not settings of the server.
"""

COMMANDS = """\
# Commands

Every command has `--help`. A command that needs a server uses the one running on the local
database; if there is none, it opens the database itself.
"""

API = """\
# HTTP API

The server's OpenAPI document is at `/openapi.json`; this page is generated from it. Bodies are JSON
in UTF-8 unless stated otherwise. Times are UTC, in the form `2026-01-31T12:00:00.000000Z`. A
session id in a path is percent-encoded, a slash as `%2F`.

Every error is a [Problem](#problem), sent as `application/problem+json`.

## Routes
"""

PROBLEMS = """
## Problems

The `type` is stable, and `detail` explains the error. Other members may help: `errors` lists each
invalid value and its position; `retry_after` is in seconds, and also sent as the header
`Retry-After`; `turn_id` identifies a turn, and `events` is the address of its events.
"""

EXPORT = """\
# Export format

Also available as [JSON Schema](export-schema.json): every line of a file is an instance of it.
"""

EVENT_STREAMS = """\
# Events

Every event that the server sends, with the members of its `data`. A turn's events are those of
`POST /chat` and `GET /turns/{turn_id}/events` ([Streaming](../streaming.md)); the others are those
of `GET /events` ([Live events](../guides/events.md)).
"""
PROBLEM_MEMBERS = "the members of a [problem](api.md#problems), and `text`"
MARK = "<!-- Written by scripts/reference.py from the code. Do not edit. -->\n"
MAX_DEFAULT_LENGTH = 60
"""Characters of a default in a table; a longer one goes below the table."""

UNLIMITED = 2**53
"""Limits from here on are left out of the reference."""

DEFAULT_DESCRIPTIONS = {"data_dir": "the user's data folder; on Linux `~/.local/share/chatkeep`"}
"""Defaults that depend on the machine."""

EXIT_CODES = {
    ExitCode.DONE: "Done.",
    ExitCode.FAILED: "Failed.",
    ExitCode.USAGE: "Wrong usage, or invalid settings.",
    ExitCode.NOT_FOUND: "Not found.",
    ExitCode.INTERRUPTED: "Stopped by Ctrl-C.",
    ExitCode.UNREAD: "The program reading the output closed it.",
}

TYPE_NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false"}

Lines = Iterator[str]


def settings() -> Lines:
    """Every setting: its variable, its name in the file, its type, its default, its meaning."""
    yield SETTINGS
    schema = Settings.model_json_schema(by_alias=False)["properties"]
    rows, provider_rows, long_defaults = [], [], {}
    for name, field in Settings.model_fields.items():
        # The variables of providers have names of their own.
        if field.validation_alias is not None:
            provider_rows.append((f"`{name.upper()}`", f"`{name}`", field.description))
            continue
        default = DEFAULT_DESCRIPTIONS.get(name) or _default(field.default)
        if len(default) > MAX_DEFAULT_LENGTH:
            long_defaults[name], default = default.strip("`"), "see below"
        rows.append((_variable(name), f"`{name}`", kind(schema[name]), default, field.description))
    yield from table(("variable", "in the file", "type", "default", "meaning"), rows)
    for name, default in long_defaults.items():
        yield f"\nThe default of {_variable(name)}:\n\n```text\n{default}\n```"
    yield PROVIDERS
    yield from table(("variable", "in the file", "meaning"), provider_rows)
    yield VARIABLES
    options = (option for _, command, _ in _commands() for option in command.params)
    meanings = {option.envvar: option.help for option in options if option.envvar}
    yield from table(("variable", "meaning"), [(f"`{name}`", meanings[name]) for name in meanings])


def _variable(name: str) -> str:
    return f"`{PREFIX}{name.upper()}`"


def _default(value: object) -> str:
    if value in (None, (), ""):
        return "empty" if value == "" else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def commands() -> Lines:
    """Every command: its usage, its help with the examples, its arguments and options."""
    yield COMMANDS
    for path, command, context in _commands():
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        yield f"\n{'#' * min(3, 2 + path.count(' '))} `{path}`\n\n```text\n{usage}\n```\n"
        yield from _help(command.help or "")
        help_records = [param.get_help_record(context) for param in command.params]
        if rows := [_parameter(record) for record in help_records if record]:
            yield from table(("argument or option", "meaning"), rows)
    yield "\n## Exit codes\n"
    rows = [(f"`{code}`", meaning) for code, meaning in EXIT_CODES.items()]
    yield from table(("code", "meaning"), rows)


Command = TyperCommand | TyperGroup


def _commands() -> Iterator[tuple[str, Command, typer.Context]]:
    """Each command with its full name and a context, a group before its commands."""

    def walk(
        command: Command, name: str, parent: typer.Context | None
    ) -> Iterator[tuple[str, Command, typer.Context]]:
        context = typer.Context(command, info_name=name, parent=parent)
        yield context.command_path, command, context
        for child_name, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk(child, child_name, context)

    yield from walk(typer.main.get_command(cli), "chatkeep", None)


def _help(text: str) -> Lines:
    """A command's help; a paragraph that keeps its line breaks becomes a block."""
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b"):
            heading, *lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            yield "\n".join([f"{heading}\n\n```text", *(line.strip() for line in lines), "```\n"])
        else:
            yield " ".join(paragraph.split()) + "\n"


def _parameter(record: tuple[str, str]) -> tuple[str, str]:
    name, meaning = record
    meaning = re.sub(r" *\[(.*)\]$", r" (\1)", meaning).strip()
    return f"`{name.replace('|', ' or ')}`", meaning.replace("env var: ", "or the variable ")


def api() -> Lines:
    """Every route of the OpenAPI document, then its schemas, then every problem."""
    with tempfile.TemporaryDirectory() as folder:
        # Constructed without validation, which would read the environment and a settings file.
        app = create_app(Settings.model_construct(data_dir=Path(folder), model="openai:any"))
        document = app.openapi()
    yield API
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield from _route(f"{method.upper()} {path}", operation)
    yield "\n## Schemas"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(3, name, schema)
    yield PROBLEMS
    errors = [(status, error.code, error()) for error, status in STATUS.items()]
    rows = [
        (f"`{status}`", f"`{error.uri}`", error.title)
        for status, _, error in sorted(errors, key=lambda row: row[:2])
    ]
    yield from table(("status", "type", "title"), rows)


def _route(name: str, operation: dict[str, Any]) -> Lines:
    summary = operation["summary"]
    yield f"\n### `{name}`\n\n{summary}{'' if summary.endswith('?') else '.'}\n"
    if description := operation.get("description"):
        yield f"{description}\n"
    if params := operation.get("parameters"):
        yield from table(("parameter", "in", "type", "meaning"), map(_request_parameter, params))
        yield ""
    if body := operation.get("requestBody"):
        contents = body["content"].items()
        forms = (f"{kind(content['schema'])} as `{media}`" for media, content in contents)
        yield f"Body: {', or '.join(forms)}.\n"
    yield from table(("status", "response"), map(_response, operation["responses"].items()))


def _request_parameter(parameter: dict[str, Any]) -> tuple[str, ...]:
    name, schema = f"`{parameter['name']}`", parameter["schema"]
    # A missing parameter of a URL or a header is absent, not null.
    type_name = kind(schema).removesuffix(" or null")
    if (default := schema.get("default")) is not None:
        type_name += f"; {_default(default)} by default"
    optional = "" if parameter["required"] else " (optional)"
    return name + optional, parameter["in"], type_name, parameter.get("description", "")


def _response(item: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    status, response = item
    if not status.startswith("2"):
        return f"`{status}`", response["description"]
    parts = [
        f"{'events' if 'itemSchema' in content else kind(content.get('schema', {}))} as `{media}`"
        for media, content in response.get("content", {}).items()
    ]
    parts += [
        f"header `{name}` ({header['description'].rstrip('.')})"
        for name, header in response.get("headers", {}).items()
    ]
    no_body = response["description"].replace("Successful Response", "Done; there is no body.")
    return f"`{status}`", "; ".join(parts) or no_body


def export() -> Lines:
    """Each line of an export as JSON Lines, field by field."""
    yield EXPORT
    yield f"{(records.__doc__ or '').partition(chr(10) * 2)[2].strip()}"
    schema = export_schema()
    lines = [ref["$ref"].rpartition("/")[2] for ref in schema["oneOf"]]
    for name in [*lines, *sorted(set(schema["$defs"]) - set(lines))]:
        yield from _schema(2, name, schema["$defs"][name])


def events() -> Lines:
    """Every event, with its payload's members and what it means."""
    yield EVENT_STREAMS
    rows = [(f"`{event}`", spec.meaning, _members(spec.payload)) for event, spec in EVENTS.items()]
    yield from table(("event", "what has happened", "`data`"), rows)


def _members(payload: type) -> str:
    if payload is Failure:
        return PROBLEM_MEMBERS
    return ", ".join(f"`{field.name}`" for field in dataclasses.fields(payload))


def export_schema() -> dict[str, Any]:
    """The JSON Schema of any line of an export."""
    line = Annotated[records.Beginning | records.Line, Field(discriminator="type")]
    schema = TypeAdapter(line).json_schema()
    for definition in schema["$defs"].values():
        # Constants have a default for writers of a line, but readers may rely on them.
        fields = definition.get("properties", {}).items()
        if constants := [name for name, field in fields if "const" in field]:
            definition["required"] = [*constants, *definition.get("required", ())]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A line of an export of Chatkeep", **schema}


def _schema(level: int, name: str, schema: dict[str, Any]) -> Lines:
    description = schema.get("description", "").replace("`None`", "`null`")
    yield f"\n{'#' * level} {name}\n\n{description}\n"
    if "enum" in schema:
        yield f"{kind(schema).capitalize()}."
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        rows = [
            (
                f"`{name}`{'' if name in required else ' (optional)'}",
                kind(field),
                field.get("description"),
            )
            for name, field in fields.items()
        ]
        yield from table(("field", "type", "meaning"), rows)


def kind(schema: dict[str, Any]) -> str:
    """The type that a JSON Schema describes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(kind(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        items = kind(schema["items"])
        return f"list of {items}{'s' if items.isalpha() else ''}"
    if schema.get("format") == "path":
        return "path"
    name = TYPE_NAMES.get(schema.get("type", ""), schema.get("type", "any JSON"))
    limits = _limits(schema)
    return f"{name} ({limits})" if limits else name


def _limits(schema: dict[str, Any]) -> str:
    unit = " characters" if schema.get("type") == "string" else ""
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength", UNLIMITED))
    if "exclusiveMinimum" in schema:
        return f"more than {schema['exclusiveMinimum']:g}"
    if most >= UNLIMITED:
        return "" if least is None else f"at least {least:,}{unit}"
    return f"at most {most:,}{unit}" if least is None else f"{least:,} to {most:,}{unit}"


def table(headings: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Lines:
    """A Markdown table. Line breaks and bars in cells, which would break it, are replaced."""
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        cells = (" ".join(str(cell or "").replace("|", "/").split()) for cell in row)
        yield f"| {' | '.join(cells)} |"


def pages() -> dict[str, str]:
    """The current text of each file of the reference."""
    writers = {
        "settings.md": settings,
        "commands.md": commands,
        "api.md": api,
        "events.md": events,
        "export.md": export,
    }
    texts = {name: "\n".join([MARK, *page(), ""]) for name, page in writers.items()}
    files = {name: re.sub(r"\n{3,}", "\n\n", text) for name, text in texts.items()}
    files["export-schema.json"] = json.dumps(export_schema(), indent=2, ensure_ascii=False) + "\n"
    return files


def with_examples(text: str) -> str:
    """The text with the models of `chatkeep.examples`, and the current version, in its examples."""

    def current(model: re.Match[str]) -> str:
        return model[0] if model[0] in PLACEHOLDERS else MODELS[model[1]]

    return WHEEL.sub(f"chatkeep-{__version__}-py3", EXAMPLE_MODEL.sub(current, text))


def documents() -> dict[Path, str]:
    """The current text of each file that is generated, or whose examples are."""
    generated = {FOLDER / name: with_examples(text) for name, text in pages().items()}
    paths = {path for pattern in WITH_EXAMPLES for path in ROOT.glob(pattern)} - set(generated)
    return generated | {path: with_examples(path.read_text()) for path in paths}


def main() -> int:
    """Write the stale files, or with `--check` list them and return 1."""
    stale = {
        path: text
        for path, text in documents().items()
        if not path.is_file() or path.read_text() != text
    }
    if "--check" in sys.argv[1:]:
        for path in sorted(stale):
            name = path.relative_to(ROOT)
            sys.stderr.write(f"{name} is stale: run scripts/docs\n")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
