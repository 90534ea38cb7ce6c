"""The structure of the code: who may import whom, and how long a function may be."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "chatkeep"

FLOORS = {
    "__init__": 0, "domain": 0, "settings": 0, "telemetry": 0,
    "growing": 0, "silence": 0, "examples": 0, "redaction": 0, "files": 0,
    "records": 1, "context": 1, "titles": 1, "providers": 1, "feed": 1, "foreign": 1,
    "store": 2,
    "turns": 2, "titling": 3,
    "engine": 4,
    "api": 5,
    "app": 6,
    "cli": 7, "__main__": 8,
}  # fmt: skip
"""Each room's floor. A room imports from floors below its own; a folder is one room."""

READERS_OF_SETTINGS = {"app", "cli"}
LIMIT = 40
LONGER = {
    "api/search.py:find",
    "api/sessions.py:history",
    "api/sessions.py:list_sessions",
    "api/usage.py:read_usage",
    "app.py:create_app",
    "cli/archive.py:export",
    "cli/archive.py:import_",
    "cli/look.py:usage",
    "cli/talk.py:chat",
    "engine/running.py:_end",
    "providers/embedded.py:_launch",
    "providers/models.py:answer",
    "store/messages.py:_window_statement",
    "store/posts.py:accept",
    "store/records.py:receipt",
    "store/turns.py:end",
}
"""Functions that are longer than the limit: this list only gets shorter."""

FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            if parts[0] == "chatkeep":
                found |= {name if name in FLOORS else "__init__" for name in names}
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("chatkeep") for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_from_below(path: Path) -> None:
    here = room(path)
    for other in imported_rooms(path) - {here}:
        assert FLOORS[other] < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {other}"
        assert other != "settings" or here in READERS_OF_SETTINGS


def test_a_function_fits_on_a_screen() -> None:
    longer = {
        f"{path.relative_to(SOURCE)}:{node.name}"
        for path in FILES
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LIMIT
    }
    assert longer == LONGER


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    from chatkeep.app import STATUS
    from chatkeep.domain import errors

    errors = errors.ChatError.__subclasses__()
    assert set(STATUS) == set(errors)
    assert len({error.code for error in errors}) == len(errors)
