"""Keys with their secrets, users of tenants, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables. Nothing that is there changes: without a key nobody needs one."""
    with op.batch_alter_table("tenants") as tenants:
        tenants.add_column(sa.Column("parent_id", sa.Text(), nullable=True))
        tenants.add_column(sa.Column("deleted_at", sa.BigInteger(), nullable=True))
        tenants.create_foreign_key(op.f("fk_tenants_parent_id"), "tenants", ["parent_id"], ["id"])
        tenants.create_check_constraint(
            op.f("ck_tenants_parent_id"), "parent_id IS NULL OR id LIKE parent_id || '/_%'"
        )
    op.create_index("ix_tenants_parent", "tenants", ["parent_id", "id"])
    _create_keys()
    _create_secrets()
    op.create_table(
        "audit",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_tenant", "audit", ["tenant_id", "pk"])


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "scope IN ('chat', 'read', 'admin', 'metrics')", name=op.f("ck_keys_scope")
        ),
        sa.CheckConstraint(
            "(scope IN ('admin', 'metrics')) = (tenant_id IS NULL)", name=op.f("ck_keys_tenant_id")
        ),
        sa.CheckConstraint('"user" IS NULL OR tenant_id IS NOT NULL', name=op.f("ck_keys_user")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_keys_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index("ix_keys_tenant", "keys", ["tenant_id"])


def _create_secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_secrets_digest")),
        sa.CheckConstraint("kind IN ('ckp', 'cku', 'ckb')", name=op.f("ck_secrets_kind")),
        sa.ForeignKeyConstraint(
            ["key_id"], ["keys.id"], name=op.f("fk_secrets_key_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_secrets")),
    )
    op.create_index("ix_secrets_key", "secrets", ["key_id"])
    op.create_index(
        "ix_secrets_expiry",
        "secrets",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
