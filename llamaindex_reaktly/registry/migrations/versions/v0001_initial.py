"""The first schema: documents, knowledge bases, keys and counters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("knowledge_bases", sa.Text(), nullable=False),
        sa.Column("default_knowledge_base", sa.Text()),
        sa.Column("rate_limits", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("token_hash", name="uq_api_keys_token_hash"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("knowledge_base_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("queue_rank", sa.SmallInteger(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("client_hash", sa.Text()),
        sa.Column("own_hash", sa.Text()),
        sa.Column("force_refresh", sa.Boolean(), nullable=False),
        sa.Column("visible_from", sa.BigInteger(), nullable=False),
        sa.Column("indexed_version", sa.BigInteger()),
        sa.Column("chunks", sa.Integer()),
        sa.Column("last_outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sa.Column("purged", sa.Boolean(), nullable=False),
        sa.Column("lease_token", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text()),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("characters", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_documents"),
    )
    op.create_index("ix_documents_job_id", "documents", ["job_id"])
    op.create_index("ix_documents_listing", "documents", ["knowledge_base_id", "document_id"])
    op.create_index("ix_documents_unpurged", "documents", ["purged", "state"])
    op.create_index("ix_documents_queue", "documents", ["state", "queue_rank", "queued_at"])
    op.create_table(
        "knowledge_bases",
        sa.Column("knowledge_base_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text()),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("embedder_build", sa.Text()),
        sa.Column("dimension", sa.Integer()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("knowledge_base_id", name="pk_knowledge_bases"),
    )
    op.create_table(
        "payloads",
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("declared", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_payloads"),
    )
