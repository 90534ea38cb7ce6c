"""What a check of `chatkeep doctor` finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, with which result, and what to do about it."""

    what: str
    state: Literal["ok", "warning", "error"] = "ok"
    advice: str = ""
