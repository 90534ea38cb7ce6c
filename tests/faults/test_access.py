"""Each query forgets its tenant on purpose: then the matrix of callers must find it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MATRIX = "tests/api/test_access.py::test_every_address_with_every_caller"

CRITERION = re.compile(r"\b\w+\.c\.tenant_id == (?:sa\.bindparam\(\"tenant\"\)|tenant\b)")

GUARDED_TWICE = (
    'sessions.c.pk == sa.bindparam("key"), ',
    "sessions.c.pk == calls.c.session_pk, ",
    "of_tenant = sa.select(sessions.c.session_id).where",
)
"""What stands before a tenant that makes no difference: the session is given by its key, or is
looked up again with its tenant before anything happens to it."""

EVERY = 12
"""In a normal run, one of so many is tried."""


def places() -> list[tuple[Path, int]]:
    """Where in the store's sources a query names its tenant: file, and position in it."""
    found = []
    for path in sorted((ROOT / "src" / "chatkeep" / "store").rglob("*.py")):
        if "migrations" in path.parts:
            continue
        text = path.read_text()
        for match in CRITERION.finditer(text):
            before = text[: match.start()].removesuffix("(")
            if not any(before.endswith(mark) for mark in GUARDED_TWICE):
                found.append((path.relative_to(ROOT), match.start()))
    return found


def is_found(folder: Path, path: Path, position: int) -> bool:
    """Whether the matrix fails where this query has no tenant, by what it asserts."""
    source = (ROOT / path).read_text()
    match = CRITERION.match(source, position)
    assert match is not None
    broken = source[: match.start()] + "sa.true()" + source[match.end() :]
    shutil.copytree(ROOT / "src", folder / "src")
    (folder / path).write_text(broken)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", MATRIX],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{folder / 'src'}:{ROOT}"},
        capture_output=True,
        check=False,
        text=True,
    )
    return (
        run.returncode == 1
        and re.search("^E +(assert |AssertionError)", run.stdout, re.MULTILINE) is not None
    )


def test_the_matrix_finds_every_query_without_its_tenant(
    tmp_path: Path, full: bool, summarise: Callable[[str], None]
) -> None:
    tried = places() if full else places()[::EVERY]
    assert tried
    missed = [
        f"{path}:{position}"
        for number, (path, position) in enumerate(tried)
        if not is_found(tmp_path / str(number), path, position)
    ]
    summarise(f"{len(tried) - len(missed)} of {len(tried)} queries without a tenant were found")
    assert missed == []
