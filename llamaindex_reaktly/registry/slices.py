"""Ids in the numbers that one statement, and one turn at a database, is good for."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

# Bound parameters of one statement: SQLite's limit is 250,000, PostgreSQL's 65,535.
IDS_PER_STATEMENT = 2_000


def slices(ids: Iterable[T]) -> Iterable[Sequence[T]]:
    """All of `ids`, some at a time."""
    rest = list(ids)
    for start in range(0, len(rest), IDS_PER_STATEMENT):
        yield rest[start : start + IDS_PER_STATEMENT]
