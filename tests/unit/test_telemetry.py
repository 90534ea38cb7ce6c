"""Log lines as an operator gets them, on the standard error of a process."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, logging
from chatkeep import telemetry

telemetry.configure(level={level!r}, form={form!r}, redact=lambda line: line.replace("sk-1", "…"))
logger = telemetry.logger("test")

async def task():
    logger.info("in_a_task")

async def main():
    text = " ".join(["a", "private", "matter"])
    with telemetry.bound(turn_id="turn_1"):
        started = asyncio.create_task(task())
        logger.warning("of_another", turn_id="turn_2")
    await started
    logger.debug("detail")
    logger.info("after", key="sk-1", name="Grüße")
    logging.getLogger("library").warning("It has %s.", "sk-1")
    logging.getLogger("library").info("a request")
    try:
        {{}}["missing"]
    except KeyError:
        logger.exception("crashed")

asyncio.run(main())
"""


def written(form: str, level: str = "info") -> str:
    """What a process writes whose standard error is a pipe."""
    program = PROGRAM.format(level=level, form=form)
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    assert process.stdout == b""
    return process.stderr.decode()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_each_line_is_an_object_without_secrets_where_nobody_watches(form: str) -> None:
    text = written(form)

    events = {line["event"]: line for line in objects(text)}
    assert list(events) == ["of_another", "in_a_task", "after", "It has ….", "crashed"]
    assert [line["level"] for line in events.values()] == [
        *("warning", "info", "info", "warning", "error"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in events.values())
    assert events["after"]["key"] == "…"
    assert events["after"]["name"] == "Grüße"
    assert "KeyError: 'missing'" in events["crashed"]["exception"]
    assert "sk-1" not in text


def test_values_bound_by_a_caller_are_in_the_lines_of_its_tasks_and_in_no_later_ones() -> None:
    turns = {line["event"]: line.get("turn_id") for line in objects(written("json"))}

    assert turns == {
        "in_a_task": "turn_1",
        "of_another": "turn_2",
        "after": None,
        "It has ….": None,
        "crashed": None,
    }


def test_the_console_has_a_line_for_people_and_a_plain_traceback() -> None:
    text = written("console")

    after = next(line for line in text.splitlines() if "after" in line)
    assert after.split()[1:] == ["[info", "]", "after", "key=…", "name=Grüße"]
    assert "KeyError: 'missing'" in text
    # Some tracebacks show the values of variables.
    assert "private matter" not in text
    assert "\\x1b[" not in text.encode("unicode_escape").decode()
    assert "sk-1" not in text


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["of_another", "in_a_task", "detail", "after", "It has ….", "crashed"]),
        ("warning", ["of_another", "It has ….", "crashed"]),
        ("error", ["crashed"]),
    ],
)
def test_lines_below_the_level_are_not_written(level: str, events: list[str]) -> None:
    assert [line["event"] for line in objects(written("json", level))] == events
