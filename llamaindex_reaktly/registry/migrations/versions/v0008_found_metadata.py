"""What was found of documents whose owners left out title, summary or tags."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column; nothing was found yet."""
    op.add_column("payloads", sa.Column("found", sa.Text()))
