"""Versions that were replaced, for stores that do not replace at once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and two tables, the clock at nought."""
    op.add_column(
        "documents",
        sa.Column("live_since", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.create_table(
        "replaced_versions",
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("live_until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("live_since", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger()),
        sa.Column("successor", sa.BigInteger(), nullable=False),
        sa.Column("knowledge_base_id", sa.Text(), nullable=False),
        sa.Column("replaced_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", "live_until", name="pk_replaced_versions"),
    )
    op.create_index("ix_replaced_versions_replaced_at", "replaced_versions", ["replaced_at"])
    clock = op.create_table(
        "replacement_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replacement_clock"),
    )
    op.bulk_insert(clock, [{"id": 1, "tick": 0}])
