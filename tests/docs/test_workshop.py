"""What a contributor and a hosted runner rely on: recipes, links, the workflow, the version."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import chatkeep
from tests.docs.reader import DOCS, ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RECIPES = sorted(path for path in (ROOT / "scripts").iterdir() if not path.suffix)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob(".github/**/*.md")])
CALLERS = [
    *DOCUMENTS,
    ROOT / ".ci" / "run",
    ROOT / "pyproject.toml",
    *(ROOT / ".github").rglob("*.yml"),
]


def workflow() -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


# --- Recipes ---


def test_every_recipe_is_a_script_that_can_be_run() -> None:
    for script in [*RECIPES, ROOT / ".ci" / "run"]:
        assert os.access(script, os.X_OK), script
        assert script.read_text().startswith("#!/usr/bin/env bash\n# "), script
        subprocess.run(["bash", "-n", script], check=True)


def test_the_recipes_that_are_named_exist_and_contributing_explains_all() -> None:
    for path in CALLERS:
        for name in re.findall(r"\bscripts/[\w.-]*\w", path.read_text()):
            folder = ROOT / "web" if name == "scripts/maths-font" else ROOT
            assert (folder / name).is_file(), f"{path}: {name}"
    loop = CONTRIBUTING.partition("\n## Set up\n")[2].partition("\n## Tests\n")[0]
    assert [path.name for path in RECIPES if f"scripts/{path.name}`" not in loop] == ["install"]
    assert "\nscripts/install\n" in loop


def test_contributing_explains_every_folder_of_tests() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").is_file()}
    assert set(re.findall(r"^\| `tests/(\w+)`", CONTRIBUTING, re.MULTILINE)) == folders


def test_a_recipe_hands_its_arguments_to_pytest(tmp_path: Path) -> None:
    """Run in a copy of the folders that it needs, with a pytest that prints its arguments."""
    copy = tmp_path / "copy"
    (copy / "scripts").mkdir(parents=True)
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / "scripts" / "test").write_text((ROOT / "scripts" / "test").read_text())
    pytest_ = copy / ".venv" / "bin" / "pytest"
    pytest_.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$@"\n')
    pytest_.chmod(0o755)
    command = ["bash", copy / "scripts" / "test", "tests/api", "-k", "two words"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    assert ran.stdout.splitlines() == [str(copy), "tests/api", "-k", "two words"]


# --- Continuous integration ---


def test_the_workflow_runs_what_a_developer_runs_and_may_only_read() -> None:
    text = workflow()
    steps = text["jobs"]["ci"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert text["permissions"] == {"contents": "read"}
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
            assert step["with"]["persist-credentials"] is False


def test_ci_compares_the_built_page_and_builds_nothing_into_the_tree() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "scripts/page --check" in lines
    assert not {"scripts/page", "scripts/docs", "scripts/format", "scripts/install"} & set(lines)


def test_the_hooks_run_the_locked_tools() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        assert hook["language"] == "system"
        program = hook["entry"].split()[0]
        assert program == "npm" or Path(sys.executable).with_name(Path(program).name).is_file()


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_an_issue_form_has_what_the_host_demands(form: str) -> None:
    body = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text())
    assert {"name", "description", "body"} <= set(body)
    fields = [field for field in body["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


# --- Documents ---


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_document_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        page = path.parent / target if target else path
        assert page.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(page), f"{path.name}: {target}#{anchor}"


def test_the_changelog_keeps_to_its_format() -> None:
    versions = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version)
    kinds = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


# --- The version ---


def test_the_version_is_written_in_one_place_and_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/chatkeep/__init__.py"
    version = chatkeep.__version__
    assert json.loads((ROOT / "openapi.json").read_text())["info"]["version"] == version
    assert re.findall(r"^## \[([\d.]+)\]", CHANGELOG, re.MULTILINE)[0] == version
    supported = (ROOT / "SECURITY.md").read_text()
    assert f"\n| {version.rpartition('.')[0]} | yes |" in supported
