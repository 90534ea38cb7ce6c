"""What of the documentation is made from the code: the reference, and the models in examples.

`python scripts/reference.py` writes it; `--check` compares and ends with 1 if something is stale.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, TypeAdapter

from chatkeep import examples
from chatkeep.api.problems import STATUS
from chatkeep.app import create_app
from chatkeep.cli import cli
from chatkeep.cli.output import FAILED, NOT_THERE, STOPPED, UNREAD, WRONG
from chatkeep.settings import PREFIX, Settings
from chatkeep.transfer import records

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"

EXAMPLE_MODEL = re.compile(r"\b(openai|anthropic|ollama):[\w.-]*\w(?::[\w.-]*\w)?")
"""A model in an example. `openai:…` stands for any."""

NAMES_MODELS = ("README.md", "docs/**/*.md", "src/chatkeep/cli/**/*.py")
"""The files whose examples name models, apart from those that import `chatkeep.examples`."""

NO_EXAMPLES = {"openai:any"}
"""What the code itself says where any model will do."""

SETTINGS = """\
# Settings

Every setting is an environment variable. In lower case and without `CHATKEEP_` it is also a line
of the configuration file, which is TOML. That is the file which `CHATKEEP_CONFIG` names, else
`chatkeep.toml` in the working directory, else `chatkeep.toml` in the user's configuration folder
(on Linux `~/.config/chatkeep`). An option of a command wins over the environment, and that over
the file.

A list is a text with commas; in the file it may also be an array of texts. A name that is no
setting is an error in the file, and a warning in the environment. A variable that is empty counts
as not set.
"""

PROVIDERS = """
## The providers' own variables

They keep the names that the providers gave them; in the file these are in lower case.
"""

VARIABLES = """
## Variables of the commands

These are no settings of a server. The commands that speak to a server read them.
"""

COMMANDS = """\
# Commands

Every command explains itself with `--help`. A command that speaks to a server finds the one that
holds the local database; where none runs, it opens the database itself.
"""

API = """\
# HTTP API

A server describes itself as OpenAPI at `/openapi.json`; this page is made from the same document.
Bodies are JSON in UTF-8 unless it says otherwise. Times are UTC and look like
`2026-01-31T12:00:00.000000Z`. A session id in a path is percent-encoded, a slash as `%2F`.

Every error is a [Problem](#problem), sent as `application/problem+json`.

## Routes
"""

PROBLEMS = """
## Problems

The `type` is stable. `detail` says more, and other members may help: `errors` with what is wrong
where; `retry_after` in seconds, which is also the header `Retry-After`; `turn_id`, and `events`
with the address of that turn's events.
"""

EXPORT = """\
# Lines of an export

The same as [JSON Schema](export-schema.json): every line of a file is an instance of it.
"""

MARK = "<!-- Written by scripts/reference.py from the code. Do not edit. -->\n"
LONGEST_IN_A_TABLE = 60
"""Characters; a longer default stands below the table."""

LARGEST_TOLD = 2**53
"""A limit beyond this is none that anybody meets."""

DEFAULTS_IN_WORDS = {"data_dir": "the user's data folder; on Linux `~/.local/share/chatkeep`"}
"""Defaults that depend on the machine."""

PROVIDER_VARIABLES = {
    "openai_api_key": "The key for OpenAI, or for the server that `OPENAI_BASE_URL` names.",
    "openai_base_url": "Where `openai:` models are, if not at OpenAI: any server with its API.",
    "anthropic_api_key": "The key for Anthropic.",
    "anthropic_base_url": "Where `anthropic:` models are, if not at Anthropic.",
    "ollama_host": "Where Ollama runs, if not on its usual port of this machine: a URL, or as "
    "Ollama itself reads it, `host`, `host:port` or `:port`.",
}

EXIT_CODES = {
    0: "Done.",
    FAILED: "It could not be done.",
    WRONG: "Wrong usage, or settings that cannot be used.",
    NOT_THERE: "There is no such thing.",
    STOPPED: "Stopped by Ctrl-C.",
    UNREAD: "Whoever read the output has closed it.",
}

NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false"}

Lines = Iterator[str]


def settings() -> Lines:
    """Every setting: its variable, its name in the file, its type, its default, its meaning."""
    yield SETTINGS
    schema = Settings.model_json_schema(by_alias=False)["properties"]
    rows, long = [], {}
    for name, field in Settings.model_fields.items():
        if name in PROVIDER_VARIABLES:
            continue
        default = DEFAULTS_IN_WORDS.get(name) or _default(field.default)
        if len(default) > LONGEST_IN_A_TABLE:
            long[name], default = default.strip("`"), "see below"
        rows.append((_variable(name), f"`{name}`", kind(schema[name]), default, field.description))
    yield from table(("variable", "in the file", "type", "default", "meaning"), rows)
    for name, default in long.items():
        yield f"\nThe default of {_variable(name)}:\n\n```text\n{default}\n```"
    yield PROVIDERS
    named = PROVIDER_VARIABLES.items()
    own = [(f"`{name.upper()}`", f"`{name}`", words) for name, words in named]
    yield from table(("variable", "in the file", "meaning"), own)
    yield VARIABLES
    parameters = (found for _, command, _ in _commands() for found in command.params)
    asked = {found.envvar: found.help for found in parameters if found.envvar}
    yield from table(("variable", "meaning"), [(f"`{name}`", asked[name]) for name in asked])


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
        told = [found for one in command.params if (found := one.get_help_record(context))]
        if told:
            yield from table(("argument or option", "meaning"), map(_parameter, told))
    yield "\n## Exit codes\n"
    codes = [(f"`{code}`", words) for code, words in EXIT_CODES.items()]
    yield from table(("code", "meaning"), codes)


def _commands() -> Iterator[tuple[str, Any, Any]]:
    """Each command with its full name and a context, a group before its commands."""

    def walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, Any, Any]]:
        context = typer.Context(command, info_name=name, parent=parent)
        yield context.command_path, command, context
        for below, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk(child, below, context)

    yield from walk(typer.main.get_command(cli), "chatkeep", None)


def _help(text: str) -> Lines:
    """A command's help; what it wants to keep its line breaks is a block."""
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b"):
            heading, *lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            yield "\n".join([f"{heading}\n\n```text", *(line.strip() for line in lines), "```\n"])
        else:
            yield " ".join(paragraph.split()) + "\n"


def _parameter(told: tuple[str, str]) -> tuple[str, str]:
    name, words = told
    words = re.sub(r" *\[(.*)\]$", r" (\1)", words).strip()
    return f"`{name.replace('|', ' or ')}`", words.replace("env var: ", "or the variable ")


def api() -> Lines:
    """Every route of the OpenAPI document, then its schemas, then every problem."""
    with tempfile.TemporaryDirectory() as folder:
        # Constructed, so that the environment and a file of this machine have no say.
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
    if words := operation.get("description"):
        yield f"{words}\n"
    if asked := operation.get("parameters"):
        yield from table(("parameter", "in", "type", "meaning"), map(_asked, asked))
        yield ""
    if body := operation.get("requestBody"):
        forms = (f"{kind(one['schema'])} as `{form}`" for form, one in body["content"].items())
        yield f"Body: {', or '.join(forms)}.\n"
    yield from table(("status", "answer"), map(_answer, operation["responses"].items()))


def _asked(parameter: dict[str, Any]) -> tuple[str, ...]:
    name, schema = f"`{parameter['name']}`", parameter["schema"]
    # What is not there is no null, in an address or a header.
    form = kind(schema).removesuffix(" or null")
    if (preset := schema.get("default")) is not None:
        form += f"; {_default(preset)} by default"
    needed = "" if parameter["required"] else " (optional)"
    return name + needed, parameter["in"], form, parameter.get("description", "")


def _answer(response: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    status, told = response
    forms, headers = told.get("content", {}).items(), told.get("headers", {}).items()
    if not status.startswith("2"):
        return f"`{status}`", told["description"]
    sent = [
        f"{'events' if 'itemSchema' in one else kind(one.get('schema', {}))} as `{form}`"
        for form, one in forms
    ]
    sent += [f"header `{name}` ({one['description'].rstrip('.')})" for name, one in headers]
    nothing = told["description"].replace("Successful Response", "Done; there is no body.")
    return f"`{status}`", "; ".join(sent) or nothing


def export() -> Lines:
    """Each line of an export as JSON Lines, field by field."""
    yield EXPORT
    yield f"{(records.__doc__ or '').partition(chr(10) * 2)[2].strip()}"
    schema = export_schema()
    listed = [one["$ref"].rpartition("/")[2] for one in schema["oneOf"]]
    for name in [*listed, *sorted(set(schema["$defs"]) - set(listed))]:
        yield from _schema(2, name, schema["$defs"][name])


def export_schema() -> dict[str, Any]:
    """The JSON Schema of any line of an export."""
    line = Annotated[records.Beginning | records.Line, Field(discriminator="type")]
    schema = TypeAdapter(line).json_schema()
    for found in schema["$defs"].values():
        # They have a default only for whoever writes a line; a reader needs them.
        fixed = [name for name, field in found.get("properties", {}).items() if "const" in field]
        if fixed:
            found["required"] = [*fixed, *found.get("required", ())]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A line of an export of Chatkeep", **schema}


def _schema(level: int, name: str, schema: dict[str, Any]) -> Lines:
    words = schema.get("description", "").replace("`None`", "`null`")
    yield f"\n{'#' * level} {name}\n\n{words}\n"
    if "enum" in schema:
        yield f"{kind(schema).capitalize()}."
    if fields := schema.get("properties"):
        needed = schema.get("required", ())
        rows = [
            (
                f"`{field}`{'' if field in needed else ' (optional)'}",
                kind(of),
                of.get("description"),
            )
            for field, of in fields.items()
        ]
        yield from table(("field", "type", "meaning"), rows)


def kind(schema: dict[str, Any]) -> str:
    """What a JSON Schema allows, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        items = kind(schema["items"])
        return f"list of {items}{'s' if items.isalpha() else ''}"
    if schema.get("format") == "path":
        return "path"
    name = NAMES.get(schema.get("type", ""), schema.get("type", "any JSON"))
    limits = _limits(schema)
    return f"{name} ({limits})" if limits else name


def _limits(schema: dict[str, Any]) -> str:
    unit = " characters" if schema.get("type") == "string" else ""
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength", LARGEST_TOLD))
    if "exclusiveMinimum" in schema:
        return f"more than {schema['exclusiveMinimum']:g}"
    if most >= LARGEST_TOLD:
        return "" if least is None else f"at least {least:,}{unit}"
    return f"at most {most:,}{unit}" if least is None else f"{least:,} to {most:,}{unit}"


def table(headings: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Lines:
    """A table of Markdown; a line break or a bar in a cell would end it."""
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        cells = (" ".join(str(cell or "").replace("|", "/").split()) for cell in row)
        yield f"| {' | '.join(cells)} |"


def pages() -> dict[str, str]:
    """Each file of the reference, as it should be."""
    written = {"settings.md": settings, "commands.md": commands, "api.md": api, "export.md": export}
    texts = {name: "\n".join([MARK, *page(), ""]) for name, page in written.items()}
    found = {name: re.sub(r"\n{3,}", "\n\n", text) for name, text in texts.items()}
    found["export-schema.json"] = json.dumps(export_schema(), indent=2, ensure_ascii=False) + "\n"
    return found


def with_example_models(text: str) -> str:
    """The text with the models of `chatkeep.examples` in its examples."""
    current = {model.partition(":")[0]: model for model in examples.MODELS}

    def replaced(model: re.Match[str]) -> str:
        return model[0] if model[0] in NO_EXAMPLES else current[model[1]]

    return EXAMPLE_MODEL.sub(replaced, text)


def documents() -> dict[Path, str]:
    """Each file that is written, wholly or in its examples, as it should be."""
    written = {FOLDER / name: with_example_models(text) for name, text in pages().items()}
    named = {path for pattern in NAMES_MODELS for path in ROOT.glob(pattern)} - set(written)
    return written | {path: with_example_models(path.read_text()) for path in named}


def main() -> int:
    """Write what is made from the code, or say which files are stale."""
    stale = {
        path: text
        for path, text in documents().items()
        if not path.is_file() or path.read_text() != text
    }
    if "--check" in sys.argv[1:]:
        for path in sorted(stale):
            name = path.relative_to(ROOT)
            sys.stderr.write(f"{name} is stale: run python scripts/reference.py\n")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
