"""The structure of the code: who may import whom, and how long a function may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "chatkeep"

LAYERS = (
    ("__init__",),
    ("domain", "telemetry", "examples", "redaction", "files", "idle_timer", "addresses"),
    ("background",),
    ("store", "providers", "notifications"),
    # The settings of providers are in the providers' files.
    ("settings", "leases", "shared_notifications"),
    ("titles",),
    ("turns",),
    ("sessions",),
    ("access", "transfer"),
    ("api",),
    ("app",),
    ("cli",),
    ("__main__",),
)
"""The packages and modules, lowest first: one imports from layers below its own, never sideways."""

LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

STORE_LAYERS = (
    ("pipeline", "signals"),
    ("database", "database_files", "functions", "page", "prepared", "tables", "search.query"),
    ("lock", "migrations", "search.words"),
    ("backup", "postgres", "sqlite", "search.fts5", "search.tsvector"),
    ("opening", "audit", "erasing", "server_checks"),
    ("dump", "tenants"),
    ("branches", "events", "exchange", "exports", "files", "keys", "leases", "rows", "usage"),
    ("search.active_runs", "search.index"),
    ("idempotency", "messages", "moving", "open_calls", "sessions", "search.hits"),
    ("deletion", "reconciliation", "session_changes", "turns"),
    ("turn_records",),
    ("details", "imports", "session_messages", "turn_creation"),
    ("__init__",),
)
"""The modules of the store, lowest first: what runs functions, then the tables, then the work."""

STORE_LAYER = {name: number for number, names in enumerate(STORE_LAYERS) for name in names}

READERS_OF_SETTINGS = {"app", "cli"}
LIMIT = 40
LONGER = {
    "app.py:_build",
    "store/messages.py:_window_statement",
    "store/turn_creation.py:create_turn",
}
"""Functions whose code is longer than the limit: this list only gets shorter."""

FILES = sorted(SOURCE.rglob("*.py"))


def package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_packages(path: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            if parts[0] == "chatkeep":
                packages |= {name if name in LAYER else "__init__" for name in names}
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("chatkeep") for alias in node.names)
    return packages


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_package_imports_from_layers_below_its_own(path: Path) -> None:
    importer = package(path)
    for imported in imported_packages(path) - {importer}:
        assert LAYER[imported] < LAYER[importer], f"{importer} imports {imported}"
        assert imported != "settings" or importer in READERS_OF_SETTINGS


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A function's lines without its docstring."""
    first, last = function.lineno, function.end_lineno or function.lineno
    length = last - first + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


STORE = SOURCE / "store"
STORE_FILES = [path for path in FILES if STORE in path.parents]


def store_module(path: Path) -> str:
    parts = path.relative_to(STORE).with_suffix("").parts
    return "migrations" if parts[0] == "migrations" else ".".join(parts)


def imported_store_modules(path: Path) -> set[str]:
    """By their names within the store; of a package's name, the module that is taken from it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chatkeep.store"):
            parts = (node.module or "").split(".")[2:]
            name = ".".join(parts)
            of_package = {".".join([*parts, alias.name]) for alias in node.names}
            modules |= {name} if name in STORE_LAYER else of_package
    return modules


@pytest.mark.parametrize("path", STORE_FILES, ids=lambda path: str(path.relative_to(STORE)))
def test_a_module_of_the_store_imports_from_layers_below_its_own(path: Path) -> None:
    for imported in imported_store_modules(path):
        importer = store_module(path)
        assert STORE_LAYER[imported] < STORE_LAYER[importer], f"{importer} imports {imported}"


@pytest.mark.parametrize(
    "path", sorted((STORE / "migrations" / "versions").glob("*.py")), ids=lambda path: path.stem
)
def test_a_released_migration_imports_nothing_of_the_program(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    assert "chatkeep" not in names


def test_a_function_fits_on_a_screen() -> None:
    longer = {
        f"{path.relative_to(SOURCE)}:{node.name}"
        for path in FILES
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of_code(node) > LIMIT
    }
    assert longer == LONGER


def test_every_event_has_a_payload_and_a_meaning() -> None:
    from chatkeep.domain.events import EVENTS, EventType

    assert set(EVENTS) == set(EventType)


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    from chatkeep.api.problems import STATUS
    from chatkeep.domain import errors

    errors = errors.ChatError.__subclasses__()
    assert set(STATUS) == set(errors)
    assert len({error.code for error in errors}) == len(errors)


@pytest.mark.parametrize("module", ["chatkeep.cli", "chatkeep.cli.server.local"])
def test_a_command_that_needs_no_server_of_its_own_imports_none(module: str) -> None:
    """Importing one takes three times as long as all else that a command does."""
    script = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert not {"fastapi", "langchain_core", "sqlalchemy", "uvicorn"} & set(run.stdout.split())
