"""Which request a document came by, and which workers there are."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns that may be empty, and a table."""
    op.add_column("documents", sa.Column("request_id", sa.Text()))
    op.add_column("documents", sa.Column("traceparent", sa.Text()))
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("silence_seconds", sa.Double(), nullable=False),
        sa.Column("paused_since", sa.Double()),
        sa.Column("pause_reason", sa.Text()),
        sa.PrimaryKeyConstraint("worker_id", name="pk_workers"),
    )
