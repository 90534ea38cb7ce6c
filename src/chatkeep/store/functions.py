"""Functions of SQL that each database has in its own way."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class LowerCase(sa.sql.functions.GenericFunction[str]):
    """A text in lower case, the letters of all scripts."""

    type = sa.Text()
    inherit_cache = True


@compiles(LowerCase, "sqlite")
def _sqlite(element: LowerCase, compiler: SQLCompiler, **more: Any) -> str:
    # Python's own: see `sqlite.py`.
    return f"lower({compiler.process(element.clauses, **more)})"


@compiles(LowerCase, "postgresql")
def _postgresql(element: LowerCase, compiler: SQLCompiler, **more: Any) -> str:
    # Columns are compared byte by byte (migration 0009), and know the case of A to Z alone.
    return f'lower({compiler.process(element.clauses, **more)} COLLATE "und-x-icu")'
