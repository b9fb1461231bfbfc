"""How much a knowledge base holds, and how much it may."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from llamaindex_reaktly.errors import QuotaExceeded
from llamaindex_reaktly.registry.database import Database, Realm
from llamaindex_reaktly.registry.schema import LIVING, documents, knowledge_bases
from llamaindex_reaktly.registry.slices import slices


@dataclass(frozen=True, slots=True)
class Usage:
    """Documents that are not deleted, in whatever state, and the characters of their content."""

    documents: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """What each knowledge base may hold; None: any amount."""

    documents: int | None = None
    characters: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count for."""
        return self.documents is not None or self.characters is not None

    def refusal(self, knowledge_base_id: str) -> QuotaExceeded:
        """The error for a document that is too much."""
        limits = [
            f"{limit:,} {what}"
            for limit, what in ((self.documents, "documents"), (self.characters, "characters"))
            if limit is not None
        ]
        return QuotaExceeded(
            f"the knowledge base {knowledge_base_id!r} may hold {' and '.join(limits)}; "
            "delete something, or ask its operator for more"
        )


UNLIMITED = Quota()


class UsageOfBases:
    """The table of documents, by how much of them there is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, knowledge_base_ids: Collection[str] | None = None) -> dict[str, Usage]:
        """What bases hold: those of these that exist, or all. Looks at each of their documents."""
        query = sa.select(knowledge_bases.c.knowledge_base_id)
        with self._database.read() as connection:
            existing = set(connection.execute(query).scalars())
            if knowledge_base_ids is not None:
                existing &= set(knowledge_base_ids)
            return _count(connection, existing)


class Room:
    """What is left of a quota inside one transaction.

    It counts the bases' documents anew, so that nothing can drift: a millisecond for ten
    thousand documents, from an index, and only where there is a quota.
    """

    def __init__(
        self, connection: sa.Connection, quota: Quota, knowledge_base_ids: Collection[str]
    ) -> None:
        self._quota = quota
        self._usage = _count(connection, knowledge_base_ids)

    def take(self, knowledge_base_id: str, *, is_new: bool, characters: int) -> bool:
        """Count a document, or a change of one by so many characters; whether it fits.

        What makes a base no fuller fits even where it holds more than it may.
        """
        used = self._usage[knowledge_base_id]
        wanted = Usage(used.documents + is_new, used.characters + characters)
        if is_new and _is_over(wanted.documents, self._quota.documents):
            return False
        if characters > 0 and _is_over(wanted.characters, self._quota.characters):
            return False
        self._usage[knowledge_base_id] = wanted
        return True


def quota_realm(knowledge_base_ids: Iterable[str], beside: Realm | None) -> Realm:
    """To hold while one counts on what bases hold; `beside` whatever else is to be held."""
    places = frozenset(f"quota:{id_}" for id_ in knowledge_base_ids)
    if beside is None:
        return Realm(places, lambda _: ())
    return Realm(places | beside.places, beside.documents)


def _is_over(wanted: int, limit: int | None) -> bool:
    return limit is not None and wanted > limit


def _count(connection: sa.Connection, knowledge_base_ids: Collection[str]) -> dict[str, Usage]:
    found = dict.fromkeys(knowledge_base_ids, Usage())
    for some in slices(sorted(found)):
        rows = connection.execute(
            sa.select(
                documents.c.knowledge_base_id,
                sa.func.count(),
                # Of 32-bit numbers PostgreSQL makes a wider sum, of wider ones a decimal.
                sa.cast(sa.func.sum(documents.c.characters), sa.BigInteger),
            )
            .where(documents.c.knowledge_base_id.in_(some), LIVING)
            .group_by(documents.c.knowledge_base_id)
        )
        found |= {base: Usage(number, characters) for base, number, characters in rows}
    return found
