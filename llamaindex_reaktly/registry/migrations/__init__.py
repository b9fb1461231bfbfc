"""Alembic's migrations of the registry, forwards only."""

# The newest revision. Kept here so that a start on a current database need not import
# Alembic, which takes a fifth of a second; a test compares it with Alembic's own answer.
HEAD = "0009"
