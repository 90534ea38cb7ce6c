"""What Alembic runs: the revisions, in the transaction that the caller has begun."""

from alembic import context

from chatkeep.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can roll back DDL too; Alembic assumes it cannot.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
