"""The database: its tables, the functions that work on them, and `Store`, which runs those."""

from chatkeep.store.database import Store
from chatkeep.store.migrations import is_current

__all__ = ["Store", "is_current"]
