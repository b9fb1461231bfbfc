"""Ids that compare by their bytes on PostgreSQL, and indexes for bases of any size."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_IDS = {
    "counters": ("name",),
    "documents": ("document_id", "external_id", "job_id", "knowledge_base_id", "source", "state"),
    "knowledge_bases": ("knowledge_base_id",),
    "payloads": ("document_id",),
}


def upgrade() -> None:
    """Change collations, which writes the indexes anew but no table, and replace an index."""
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in _IDS.items():
            changes = ", ".join(f'ALTER COLUMN {name} TYPE text COLLATE "C"' for name in columns)
            op.execute(f"ALTER TABLE {table} {changes}")
    op.create_index(
        "ix_documents_unfinished",
        "documents",
        ["knowledge_base_id", "state", "document_id"],
        sqlite_where=sa.text("state <> 'completed'"),
        postgresql_where=sa.text("state <> 'completed'"),
    )
    op.drop_index("ix_documents_unpurged", "documents")
    op.create_index(
        "ix_documents_unpurged",
        "documents",
        ["document_id"],
        sqlite_where=sa.text("NOT purged"),
        postgresql_where=sa.text("NOT purged"),
    )
