"""A page of a list that is read in pieces."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
CursorT = TypeVar("CursorT")


@dataclass(frozen=True, slots=True)
class Page(Generic[T, CursorT]):
    """Some items of a list, and the cursor of the next page; `None` if this is the last."""

    items: list[T]
    next_cursor: CursorT | None
