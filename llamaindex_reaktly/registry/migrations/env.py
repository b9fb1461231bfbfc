"""Alembic's entry: runs the migrations on the connection that it is handed."""

import sqlalchemy as sa
from alembic import context

from llamaindex_reaktly.registry.schema import metadata

connection = context.config.attributes["connection"]
if not isinstance(connection, sa.Connection):
    raise TypeError("migrations run on a connection handed over in the configuration")
# The caller owns the transaction: all of an upgrade happens or none of it.
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
