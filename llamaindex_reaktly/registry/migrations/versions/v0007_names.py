"""Second names of documents, and the external ids to which they have moved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add a table; no document has a second name yet."""
    op.create_table(
        "names",
        sa.Column("name_id", _ID, nullable=False),
        sa.Column("document_id", _ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name_id", name="pk_names"),
    )
    op.create_index("ix_names_document_id", "names", ["document_id"])
