"""The reference is current, the site has no broken link, and the examples run."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from chatkeep import examples
from chatkeep.app import create_app
from chatkeep.cli import cli
from chatkeep.cli.chat.conversation import COMMANDS
from chatkeep.domain.errors import ChatError
from chatkeep.domain.events import EventType
from chatkeep.settings import PREFIX, Settings, is_secret
from chatkeep.store.tables import metadata
from tests.docs.reader import DOCS, ROOT, Reader, blocks, pages
from tests.postgres import USER, cluster
from tests.process import files_with
from tests.upstream import Upstream

AGENTS = "guides/agents.md"
NEEDS_POSTGRESQL = "guides/postgresql.md"
RUNS = {"bash", "python", "sql"}
SHOWS = {"json", "text", "toml", "ini", "nginx", "javascript", "yaml"}
NOT_RUN = {
    "pip install": "it installs; the README and the page about it have tests of their own",
    "pip wheel": "that page's test builds it",
    "pipx ": "that page's test installs it",
    "uvx ": "that page's test runs it",
    "sudo ": "it changes the machine; the test's server stops and starts instead of the service",
    "_API_KEY=": "it needs a provider's key",
    "OLLAMA_HOST=": "it needs an Ollama",
    "chatkeep serve": "it serves until it is stopped",
    "chatkeep chat\n": "it is interactive",
    "chatkeep sessions delete": "it asks for confirmation",
    "chatkeep keys rotate": "there is no such key",
    "CHATKEEP_TRUSTED_": "the server is started with it",
    "/events\n": "it has no end",
    "sqlite3 ": "the program need not be there",
    "-m benchmarks": "it takes a while; CI runs it by `--quick`",
}
"""Why a block in `sh` does not run: a text that it contains, and the reason."""

PAGES = pages()
CLIENTS = {page for page in PAGES if page.startswith("clients/")}
RUN_ELSEWHERE = {"streaming.md", "guides/openai.md", AGENTS, *CLIENTS}
EXAMPLES = [
    page
    for page in PAGES
    if page not in RUN_ELSEWHERE and RUNS & {block.language for block in blocks(page)}
]
TEXTS = {page: (DOCS / page).read_text() for page in PAGES}


# --- The reference ---


def check_reference(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "scripts" / "reference.py"), "--check"]
    return subprocess.run(command, capture_output=True, check=False, text=True)


def test_the_reference_is_current() -> None:
    """`scripts/docs` updates it."""
    checked = check_reference(ROOT)
    assert checked.returncode == 0, checked.stderr


def test_a_reference_that_lacks_a_setting_is_stale(tmp_path: Path) -> None:
    shutil.copytree(DOCS / "reference", tmp_path / "docs" / "reference")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    page = tmp_path / "docs" / "reference" / "settings.md"
    lines = page.read_text().splitlines(keepends=True)
    page.write_text("".join(line for line in lines if "CHATKEEP_PORT" not in line))

    checked = check_reference(tmp_path)

    assert checked.returncode == 1
    assert "settings.md is stale" in checked.stderr


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every route, as `GET /sessions`."""
    folder = tmp_path_factory.mktemp("routes")
    app = create_app(Settings.model_construct(data_dir=folder, model="openai:any"))
    paths = app.openapi()["paths"].items()
    return [f"{method.upper()} {path}" for path, methods in paths for method in methods]


def test_every_setting_route_and_command_is_in_the_reference(routes: list[str]) -> None:
    for name, field in Settings.model_fields.items():
        variable = name.upper() if field.validation_alias else PREFIX + name.upper()
        assert f"\n| `{variable}` | `{name}` |" in TEXTS["reference/settings.md"]
    for route in routes:
        assert f"\n### `{route}`\n" in TEXTS["reference/api.md"]
    for name in command_names(typer.main.get_command(cli), "chatkeep"):
        assert f"## `{name}`\n" in TEXTS["reference/commands.md"]


def command_names(command: Any, name: str) -> Iterator[str]:
    yield name
    for below, child in getattr(command, "commands", {}).items():
        yield from command_names(child, f"{name} {below}")


# --- Names in the pages ---


def test_every_setting_problem_and_route_in_the_pages_exists(routes: list[str]) -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    settings |= {f"CHATKEEP_{name}" for name in ("CONFIG", "HISTORY", "TENANT", "USER")}
    secrets = (name for name, field in Settings.model_fields.items() if is_secret(name, field))
    settings |= {f"{PREFIX}{name.upper()}_FILE" for name in secrets}
    problems = {f"/problems/{error.code}" for error in ChatError.__subclasses__()}
    for page, text in TEXTS.items():
        assert set(re.findall(r"CHATKEEP_[A-Z_]*[A-Z]", text)) <= settings, page
        assert set(re.findall(r"/problems/[a-z-]+", text)) <= problems, page
        for named in re.findall(r"`((?:GET|POST|PATCH|DELETE) /[^`?]*)", text):
            # `GET /history` may stand for `GET /history/{session_id}`.
            assert any(f"{route}/".startswith(f"{named}/") for route in routes), f"{page}: {named}"


def test_every_table_and_column_is_in_the_data_model() -> None:
    _, *sections = re.split(r"^### ", TEXTS["data-model.md"], flags=re.MULTILINE)
    columns = {section.split("`")[1]: set(re.findall(r"`(\w+)`", section)) for section in sections}
    for table in metadata.tables.values():
        assert {column.name for column in table.columns} <= columns[table.name], table.name


def test_every_event_is_in_a_guide() -> None:
    guides = TEXTS["streaming.md"] + TEXTS["guides/events.md"]
    assert [event for event in EventType if f"`{event}`" not in guides] == []


def test_every_slash_command_and_log_event_in_the_pages_exists() -> None:
    for command in COMMANDS:
        assert f"\n| `{command}` |" in TEXTS["guides/terminal.md"]
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    logs = TEXTS["operations.md"].partition("\n## Logs\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", logs, re.MULTILINE)
    for event in re.findall(r"`(\w+)`", " ".join(rows)):
        assert re.search(rf'\(\s*"{event}"', source), event


def test_every_json_and_toml_block_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "chatkeep.toml"
    monkeypatch.setenv("CHATKEEP_CONFIG", str(file))
    for page in PAGES:
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)
            elif block.language == "toml" and page not in CLIENTS:
                file.write_text(block.text)
                assert Settings().model_fields_set == set(tomllib.loads(block.text))


# --- The site ---


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a link or an anchor that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    built = build(folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True)


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](#two)\n")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "x"\n')
    built = build(tmp_path)
    assert built.returncode != 0
    assert "anchor does not exist" in built.stdout + built.stderr


def test_the_site_has_every_page_and_each_is_in_the_navigation(site: Path) -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    assert sorted(in_navigation(project["nav"])) == PAGES
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file()
    assert (site / "reference" / "export-schema.json").is_file()


def in_navigation(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
        return
    for below in entry.values() if isinstance(entry, dict) else entry:
        yield from in_navigation(below)


class Loads(HTMLParser):
    """The URLs that a browser loads to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        names = ["src", "srcset", "poster", "data"]
        if tag == "link" and attributes.get("rel") not in {"canonical", "prev", "next"}:
            names.append("href")
        self.urls += [attributes[name] for name in names if name in attributes]


def test_nothing_of_the_site_is_loaded_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.urls
        assert not [url for url in loads.urls if "//" in url], page
        # The theme's script loads a library for each of these, from elsewhere.
        assert not re.search(r'class="(mermaid|glightbox|pyodide)', page.read_text()), page
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(https?:)?//", style.read_text()), style


# --- The examples ---


def test_every_block_is_run_or_has_a_reason_not_to_be() -> None:
    used = set()
    for page in PAGES:
        for block in blocks(page):
            assert block.language in {*RUNS, *SHOWS, "sh"}, f"{page}: {block.text}"
            if block.language == "sh":
                reasons = {mark for mark in NOT_RUN if mark in block.text}
                assert reasons, f"{page}: {block.text}"
                used |= reasons
    assert used == set(NOT_RUN)


def test_the_code_about_agents_is_a_part_of_a_file_that_runs() -> None:
    files = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    for block in blocks(AGENTS):
        assert block.language != "python" or any(block.text in file for file in files), block.text


@pytest.fixture(scope="module")
def readings(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    running_upstream: Upstream,
) -> Iterator[dict[str, Future[None]]]:
    """Run each selected page, two at a time, because they mostly wait."""
    names = {item.name for item in request.session.items if item.path == request.path}
    selected = [page for page in EXAMPLES if any(f"[{page}]" in name for name in names)]

    def read(page: str, home: Path) -> None:
        with contextlib.ExitStack() as parts:
            database = {}
            if page == NEEDS_POSTGRESQL:
                server = parts.enter_context(cluster())
                database = {"PGHOST": str(server.folder), "PGUSER": USER}
            reader = parts.enter_context(Reader(home, running_upstream, database))
            for block in blocks(page):
                reader.run(block)
            OUTCOMES[page](reader)

    with ThreadPoolExecutor(2) as pool:
        yield {page: pool.submit(read, page, tmp_path_factory.mktemp("home")) for page in selected}


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_examples_of_a_page_run_with_the_documented_results(
    page: str, readings: dict[str, Future[None]]
) -> None:
    readings[page].result()


def shown(page: str, number: int = 0) -> Any:
    """A JSON block of a page."""
    return json.loads([block.text for block in blocks(page) if block.language == "json"][number])


def index(reader: Reader) -> None:
    first, second, history, sessions, stream, terminal = reader.outputs
    assert set(json.loads(first)) == set(json.loads(second)) == set(shown("index.md"))
    assert [message["role"] for message in json.loads(history)] == ["user", "assistant"] * 2
    assert [session["session_id"] for session in json.loads(sessions)] == ["geography"]
    assert stream.count("event: turn.completed") == 1
    assert terminal == "Reply to: What is the capital of Portugal?\n"


def python(reader: Reader) -> None:
    replies, history, receipt, problem, retried, _, later = reader.outputs
    assert replies.count("Reply to: ") == 2
    assert history.splitlines()[0] == "user: My printer prints blank pages only."
    assert receipt == "You are a patient technician. 5\n"
    assert problem.startswith("422 /problems/invalid-request ")
    assert retried == "Reply to: Thank you, it prints again.\n"
    assert later == "Reply to: Write a poem about paper.\n"
    contents = reader.server.contents("user-42/printer")
    assert contents.count("Thank you, it prints again.") == 1


def branches(reader: Reader) -> None:
    _, edited, regenerated, picked, read, chosen, receipt = reader.outputs
    assert "user Let a storm come up." in edited
    assert "ship" not in edited
    assert regenerated == "True\n"
    assert picked == "answer 2 of 2, question versions: 2\n"
    assert read.startswith("['Begin a story about a lighthouse.', ")
    assert "'Let a ship come by.'" in read
    assert "storm" not in read
    assert chosen == "True\n['Begin a story about a lighthouse.', 'Let a ship come by.']\n"
    assert receipt.splitlines()[-1] == "user Let a storm come up."
    assert reader.server.contents("story")[2] == "Let a ship come by."


def sessions(reader: Reader) -> None:
    _, listed, page, titles, filtered, *_, metadata, labelled, cached = reader.outputs
    assert set(json.loads(listed)[0]) == set(shown("guides/sessions.md")[0])
    assert 'rel="next"' in page
    assert len(json.loads(titles.replace("'", '"'))) == 3
    assert [session["session_id"] for session in json.loads(filtered)] == ["home/Bread"]
    assert metadata == "{'user': 42, 'labels': ['kitchen']}\n"
    assert labelled == "{'user': 42, 'labels': ['kitchen', 'weekend']}\n"
    assert cached == "304\n"
    session = reader.server.get("/sessions/home%2FBread")
    assert (session["title"], session["title_source"], session["pinned"]) == (
        "Rye bread",
        "user",
        True,
    )
    assert (session["system_prompt"], session["context_messages"]) == ("You are a baker.", 20)


def search(reader: Reader) -> None:
    _, words, phrase, folded, marked = reader.outputs
    assert set(json.loads(words)[0]) == set(shown("guides/search.md")[0])
    assert {hit["role"] for hit in json.loads(phrase)} >= {"user"}
    assert [hit["role"] for hit in json.loads(folded)] == ["user"]
    assert "<mark>umbrella</mark> <mark>stand</mark>" in marked


def deletion(reader: Reader) -> None:
    _, deleted, gone, command, usage = reader.outputs
    assert deleted == ""
    assert json.loads(gone) == shown("guides/deletion.md")
    assert command.endswith("another is deleted.\n")
    assert {row["session_id"] for row in json.loads(usage)} == {None, "kept"}
    assert set(reader.server.sessions()) == {"kept"}
    assert files_with(reader.home, "tangerine-kept")
    assert files_with(reader.home, "tangerine-secret") == []


def export_and_import(reader: Reader) -> None:
    _, _, markdown, _, read, imported, again, _, chatgpt, history, _, webui = reader.outputs
    assert "\n## User (" in markdown
    assert "  user: What should I pack for a week in Lisbon?" in read
    assert json.loads(imported) == shown("guides/export-and-import.md")
    assert "is here already" in again
    assert "left out 1 file" in chatgpt
    assert "[file: tides.pdf]" in json.loads(history)[1]["content"]
    assert json.loads(webui)["imported"] == 1
    assert set(reader.server.sessions()) == {"trip/lisbon", "6925e174-6714", "b1f0"}
    messages = json.loads((reader.home / "lisbon.jsonl").read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]


def events(reader: Reader) -> None:
    names = [line.split(" ")[0] for line in reader.outputs[-1].splitlines()]
    assert names[:2] == ["sessions", "session.created"]
    assert "turn.started" in names
    assert names[-1] == "turn.ended"


def usage(reader: Reader) -> None:
    first, by_session, by_turn, terminal, priced = reader.outputs
    rows = json.loads(first[first.index("[") :])
    assert set(rows[0]) == set(shown("guides/usage.md")[0])
    assert {row["session_id"] for row in json.loads(by_session)} == {"home"}
    assert any(row["turn_id"] for row in json.loads(by_turn))
    assert "home\treply\t1\t" in terminal
    assert f"{examples.OPENAI} (title): 0.000039\n" in priced


def terminal(reader: Reader) -> None:
    chat, filed, piped, extracted, renamed, listed, shown_session, hits, *rest = reader.outputs
    *_, models, usage, _, nothing = rest
    assert chat.count("Reply to: ") == 2
    assert filed.startswith("Reply to: When does it open?\n\nreport.txt\n```txt\nThe bridge")
    assert extracted == "no code\n"
    assert piped.startswith("Reply to: Summarise:\n\nThe bridge was closed")
    assert "\ttrip/lisbon\t4\t" in listed
    assert "\n## Assistant (" in shown_session
    assert renamed == "trip/lisbon is now “A week in Lisbon”.\n"
    assert "What should I pack for a week" in hits
    assert models.startswith(f"* {examples.OPENAI}\n")
    assert "trip/lisbon\treply\t2\t" in usage
    assert set(reader.server.sessions()) == {"trip/lisbon"}
    assert '"title":"A week in Lisbon"' in (reader.home / "lisbon.jsonl").read_text()
    assert (reader.home / "chatkeep-backup.db").is_file()
    assert "/chat" in json.loads((reader.home / "openapi.json").read_text())["paths"]
    assert nothing == "nothing\n"


def models(reader: Reader) -> None:
    listed, chosen, session = reader.outputs
    assert json.loads(listed) == shown("guides/models.md")
    assert json.loads(chosen)["model"] == examples.ANTHROPIC
    assert json.loads(session)["model"] == examples.OLLAMA
    assert reader.server.chat("poem", "And one about ink.").json()["model"] == examples.OLLAMA


def data_model(reader: Reader) -> None:
    _, printed, listed, branch, tokens, turns = reader.outputs
    assert printed.endswith(" 2\n")
    assert "'trip/lisbon'" in listed
    assert branch.splitlines()[0] == "('user', 'What should I pack for a week in Lisbon?')"
    assert "'reply', 11, 7" in tokens
    assert "'completed', None, 1" in turns


def operations(reader: Reader) -> None:
    assert reader.server.contents("valuable")[0] == "The recipe of my grandmother"
    backups = [path.name for path in reader.server.folder.glob("chatkeep.db.before-*")]
    assert len(backups) == 1
    assert (reader.home / "since-the-upgrade.jsonl").is_file()


def access(reader: Reader) -> None:
    first, missing, keys, reply, bobs, token, history, erased, _, tenants, audit = reader.outputs
    assert first == "[]"
    assert json.loads(missing) == shown("guides/access.md")
    assert [line.split("\t")[1] for line in keys.splitlines()] == ["web shop", "weekly report"]
    assert reply == "Reply to: My cat is called Minka."
    assert json.loads(bobs) == shown("guides/access.md", 1) == []
    assert set(json.loads(token)) == {"token", "expires_at"}
    assert json.loads(history)[0]["content"] == "My cat is called Minka."
    assert erased == "[]"
    assert [line.split("\t")[0] for line in tenants.splitlines()[1:]] == ["acme", "default"]
    assert "Minka" not in audit
    actions = [line.split("\t")[2] for line in audit.splitlines()]
    assert {"key.created", "tenant.created", "user.deleted"} <= set(actions)


def postgresql(reader: Reader) -> None:
    _, first, moved, _, doctor, history, backup, erased = reader.outputs
    assert first == "Reply to: What should I pack for a week in Lisbon?"
    assert re.search(r"^sessions\s+1$", moved, re.MULTILINE)
    assert "1 sessions, 2 messages" in doctor
    assert [message["role"] for message in json.loads(history)] == ["user", "assistant"]
    assert backup.startswith("chatkeep.dump: 1 sessions, 2 messages, ")
    assert erased.startswith("What is deleted is in no table and no index any more.\n")


OUTCOMES: dict[str, Callable[[Reader], None]] = {
    "index.md": index,
    "guides/python.md": python,
    "guides/branches.md": branches,
    "guides/sessions.md": sessions,
    "guides/search.md": search,
    "guides/deletion.md": deletion,
    "guides/export-and-import.md": export_and_import,
    "guides/events.md": events,
    "guides/usage.md": usage,
    "guides/terminal.md": terminal,
    "guides/models.md": models,
    "data-model.md": data_model,
    "operations.md": operations,
    "guides/access.md": access,
    "guides/postgresql.md": postgresql,
}
"""The checks after the examples of a page have run."""
