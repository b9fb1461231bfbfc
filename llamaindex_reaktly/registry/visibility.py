"""Which version of a document a search may show, from when, and until when.

Where the index keeps older versions, a clock that ticks with each replacement tells which
one was live when a search began; what was replaced is noted until no search can want it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import documents, replaced_versions, replacement_clock
from llamaindex_reaktly.settings import LONGEST_LEASE_SECONDS

_VISIBLE = sa.select(documents.c.document_id, documents.c.visible_from).where(
    documents.c.document_id.in_(sa.bindparam("ids", expanding=True)),
    documents.c.state != DocumentState.DELETED,
)

_CLOCK = sa.select(replacement_clock.c.tick)

_LIVE = sa.select(
    documents.c.document_id,
    documents.c.indexed_version,
    documents.c.live_since,
    documents.c.visible_from,
).where(
    documents.c.document_id.in_(sa.bindparam("ids", expanding=True)),
    documents.c.state != DocumentState.DELETED,
    documents.c.indexed_version.is_not(None),
)

_REPLACED = sa.select(replaced_versions.c.document_id, replaced_versions.c.version).where(
    replaced_versions.c.document_id.in_(sa.bindparam("ids", expanding=True)),
    replaced_versions.c.version.is_not(None),
    replaced_versions.c.live_since <= sa.bindparam("tick"),
    replaced_versions.c.live_until > sa.bindparam("tick"),
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """All versions before `successor` may leave the index, whose time was `live_until`."""

    knowledge_base_id: str
    document_id: str
    live_until: int
    successor: int


class Visibility:
    """The registry's word on what a search may show."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def visible_from(self, document_ids: Collection[str]) -> Mapping[str, int]:
        """The lowest version of each document that a search may show.

        Documents that are deleted or unknown are left out: none of theirs may be shown.
        """
        if not document_ids:
            return {}
        rows = self._database.look_up(_VISIBLE, ids=list(document_ids))
        return dict(rows)

    def replacement_clock(self) -> int:
        """The tick at which a search begins, to ask `live_versions` with what it found."""
        ((tick,),) = self._database.look_up(_CLOCK)
        return int(tick)

    def live_versions(self, document_ids: Collection[str], tick: int) -> Mapping[str, int]:
        """The one version of each document that a search which began at that tick may show.

        A version that has replaced it since is not shown to that search, which may have
        found a part of it. Documents without any are left out.
        """
        if not document_ids:
            return {}
        live = {}
        later = {}
        for document_id, version, since, lowest in self._database.look_up(
            _LIVE, ids=list(document_ids)
        ):
            if since <= tick:
                live[document_id] = version
            else:
                later[document_id] = lowest
        if later:
            rows = self._database.look_up(_REPLACED, ids=list(later), tick=tick)
            live |= {
                document_id: version
                for document_id, version in rows
                if version >= later[document_id]
            }
        return live

    def replaced(self, grace_seconds: float, limit: int = 500) -> list[Replaced]:
        """Versions whose last searches ended, if none takes longer than the grace."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                sa.select(
                    replaced_versions.c.knowledge_base_id,
                    replaced_versions.c.document_id,
                    replaced_versions.c.live_until,
                    replaced_versions.c.successor,
                )
                .where(
                    sa.or_(
                        replaced_versions.c.replaced_at < now - grace_seconds,
                        # The clock was set back since.
                        replaced_versions.c.replaced_at > now + LONGEST_LEASE_SECONDS,
                    )
                )
                .order_by(replaced_versions.c.replaced_at)
                .limit(limit)
            )
            return [Replaced(*row) for row in rows]

    def forget_replaced(self, removed: Collection[Replaced]) -> None:
        """Record that the index holds no version older than these ones' successors."""

        def update(connection: sa.Connection) -> None:
            for one in removed:
                connection.execute(
                    sa.delete(replaced_versions).where(
                        replaced_versions.c.document_id == one.document_id,
                        replaced_versions.c.live_until == one.live_until,
                    )
                )

        self._database.write(update)


def next_tick(connection: sa.Connection) -> int:
    """The time at which what this transaction writes goes live."""
    tick: int = connection.execute(
        sa.update(replacement_clock)
        .values(tick=replacement_clock.c.tick + 1)
        .returning(replacement_clock.c.tick)
    ).scalar_one()
    return tick


def indexed_versions(
    connection: sa.Connection, verdicts: Sequence[Verdict]
) -> dict[str, tuple[int | None, int]]:
    """The version that is live of each document, and since which tick."""
    query = sa.select(
        documents.c.document_id, documents.c.indexed_version, documents.c.live_since
    ).where(documents.c.document_id.in_([verdict.claim.document_id for verdict in verdicts]))
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def note_replaced(
    connection: sa.Connection,
    claim: Claim,
    before: tuple[int | None, int],
    tick: int,
    now: float,
    *,
    done: bool,
) -> None:
    """Note what the claim's version replaced, or that it came too late to replace anything."""
    version, since = before
    successor = claim.version
    if not done:
        # Written into the index by a worker that had lost it: of no use to any search.
        if version is None or version <= claim.version:
            return
        successor, version = version, None
    elif version == claim.version or (version is None and claim.version == 1):
        return
    connection.execute(
        sa.insert(replaced_versions).values(
            document_id=claim.document_id,
            live_until=tick,
            live_since=since,
            version=version,
            successor=successor,
            knowledge_base_id=claim.document.key.knowledge_base_id,
            replaced_at=now,
        )
    )
