"""Where the rows are kept: `Store` decides on which thread a function meets the database."""

from chatkeep.store.database import Store
from chatkeep.store.migrations import is_current

__all__ = ["Store", "is_current"]
