"""What is known of each knowledge base's index."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table and a column; an unknown index is looked at when it is next used."""
    op.add_column(
        "documents", sa.Column("lost", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "indexes",
        sa.Column(
            "knowledge_base_id",
            sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("index_id", sa.Text()),
        sa.Column("change", sa.BigInteger()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("rebuild_reason", sa.Text()),
        sa.Column("lost_at", sa.Double()),
        sa.PrimaryKeyConstraint("knowledge_base_id", name="pk_indexes"),
    )
