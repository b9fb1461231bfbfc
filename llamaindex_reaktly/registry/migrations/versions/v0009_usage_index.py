"""An index from which a knowledge base's documents and characters are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LIVING = sa.text("state <> 'deleted'")


def upgrade() -> None:
    """Add it; nothing else changes."""
    op.create_index(
        "ix_documents_usage",
        "documents",
        ["knowledge_base_id", "characters"],
        sqlite_where=LIVING,
        postgresql_where=LIVING,
    )
