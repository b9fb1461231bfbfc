"""The queue that is not there: which documents the index does not agree with yet.

A claim is a lease on a row. Its token fences: when a lease ran out and another worker
took the row, or a newer version was accepted, or the document was deleted, the first
worker's verdict changes nothing.
"""

import functools
import math
import time
import uuid
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
import structlog

from llamaindex_reaktly.domain import DocumentState, Origin, Outcome
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.documents import document_of
from llamaindex_reaktly.registry.found import written
from llamaindex_reaktly.registry.schema import (
    UNPURGED,
    counters,
    documents,
    payloads,
)
from llamaindex_reaktly.registry.slices import slices
from llamaindex_reaktly.registry.visibility import indexed_versions, next_tick, note_replaced
from llamaindex_reaktly.settings import LONGEST_LEASE_SECONDS

log = structlog.get_logger(__name__)

# A document whose worker died this often without a verdict is taken for the cause.
MAX_ATTEMPTS = 3
# Before a worker has measured anything: seconds to make one document searchable.
DEFAULT_SECONDS_PER_DOCUMENT = 0.25
# So often it may be in the hands of one that is killed: by its operator, most likely, but
# whatever makes the system end all of us for want of memory must end one day, too.
MAX_KILLS = 10
# So many waiting documents of a knowledge base are told what they wait for.
MAX_EXPLAINED = 1000

# How long a count of the queue is good enough for an estimate.
COUNT_SECONDS = 1.0


_COUNTERS = sa.select(counters.c.name, counters.c.value)
_UNSETTLED = (
    sa.select(sa.func.count())
    .select_from(documents)
    .where(documents.c.state.in_([DocumentState.QUEUED, DocumentState.PROCESSING]))
)


class IngestionQueue:
    """The table of documents, as a worker uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unsettled = 0
        self._counted_at = -math.inf

    def claim(
        self,
        *,
        limit: int,
        characters: int,
        lease_seconds: float,
        above_rank: int | None = None,
        suspects: bool = True,
        within: str | None = None,
        without: Collection[str] = (),
        owner: str = "",
    ) -> list[Claim]:
        """Take the most urgent documents: by priority, then by age.

        At most `limit` of them, and no more than some `characters` of content after the
        first. `above_rank` asks only for those more urgent than that rank. A suspect, which
        was at fault before or whose last worker fell silent, is claimed alone, so that it
        takes no other with it; without `suspects` not at all. Only from the knowledge base
        `within`, if there is one, and from none of those `without`. Under its `owner`'s name
        a claim can be found when the owner has died (`reclaim`).
        """
        wanted = [documents.c.state == DocumentState.QUEUED]
        if above_rank is not None:
            wanted.append(documents.c.queue_rank < above_rank)
        if not suspects:
            wanted.append(documents.c.attempts == 0)
        if within is not None:
            wanted.append(documents.c.knowledge_base_id == within)
        if without:
            wanted.append(documents.c.knowledge_base_id.not_in(list(without)))

        def take(connection: sa.Connection) -> list[Claim]:
            now = self._database.now(connection)
            self._recover(connection, now)
            ids = self._choose(connection, limit, characters, wanted)
            if not ids:
                return []
            token = f"{owner}.{uuid.uuid4().hex}"
            rows = (
                connection.execute(
                    sa.update(documents)
                    .where(documents.c.document_id.in_(ids))
                    .values(
                        state=DocumentState.PROCESSING,
                        lease_token=token,
                        lease_until=now + lease_seconds,
                        attempts=documents.c.attempts + 1,
                    )
                    .returning(documents)
                )
                .mappings()
                .all()
            )
            payload = {
                row["document_id"]: row
                for row in connection.execute(
                    sa.select(payloads).where(payloads.c.document_id.in_(ids))
                ).mappings()
            }
            claims: list[Claim] = []
            for row in rows:
                try:
                    document = document_of(row, payload[row["document_id"]])
                except (KeyError, ValueError):
                    # A damaged row. To raise would be to try it again for ever, and no other.
                    _fail_unreadable(connection, row["document_id"], now)
                    continue
                claims.append(
                    Claim(
                        document=document,
                        document_id=row["document_id"],
                        version=row["version"],
                        updated_at=row["updated_at"],
                        rank=row["queue_rank"],
                        attempts=row["attempts"],
                        token=token,
                        queued_at=row["queued_at"],
                        claimed_at=now,
                        origin=Origin(row["request_id"], row["traceparent"]),
                    )
                )
            return sorted(claims, key=lambda claim: ids.index(claim.document_id))

        # A look without the write lock first: an idle worker then disturbs nobody.
        with self._database.read() as connection:
            if not self._anything(connection, wanted):
                return []
        return self._database.write(take)

    def _anything(
        self, connection: sa.Connection, wanted: Sequence[sa.ColumnElement[bool]]
    ) -> bool:
        now = self._database.now(connection)
        waiting = sa.select(documents.c.document_id).where(*wanted)
        silent = sa.select(documents.c.document_id).where(
            documents.c.state == DocumentState.PROCESSING, _lease_is_over(now)
        )
        return any(connection.execute(query.limit(1)).first() for query in (waiting, silent))

    def _recover(self, connection: sa.Connection, now: float) -> None:
        """Put documents whose worker fell silent back into the queue, or give them up."""
        silent = (documents.c.state == DocumentState.PROCESSING, _lease_is_over(now))
        self._try_again(connection, silent, now, MAX_ATTEMPTS)

    def reclaim(self, owner: str, *, crashed: bool) -> int:
        """Take back what a worker that is known to be dead had claimed; how many documents.

        Each counts as tried. Where the worker was killed from outside, which is seldom the
        documents' doing, they are given up only after many deaths.
        """
        held = (
            documents.c.state == DocumentState.PROCESSING,
            documents.c.lease_token.startswith(f"{owner}.", autoescape=True),
        )

        def update(connection: sa.Connection) -> int:
            limit = MAX_ATTEMPTS if crashed else MAX_KILLS
            return self._try_again(connection, held, self._database.now(connection), limit)

        return self._database.write(update)

    def _try_again(
        self,
        connection: sa.Connection,
        which: Sequence[sa.ColumnElement[bool]],
        now: float,
        limit: int,
    ) -> int:
        """Put claimed documents back, or give up those that were tried so often; how many."""
        reason = f"processing did not end in {limit} attempts"
        given_up = connection.execute(
            sa.update(documents)
            .where(documents.c.document_id.in_(_unlocked(*which, documents.c.attempts >= limit)))
            .values(
                state=DocumentState.FAILED,
                last_outcome=Outcome.FAILED,
                error=reason,
                finished_at=now,
            )
            .returning(documents.c.request_id, documents.c.document_id, documents.c.version)
        ).all()
        for request_id, document_id, version in given_up:
            log.warning(
                "document_failed",
                request_id=request_id,
                document_id=document_id,
                version=version,
                reason=reason,
                attempt=limit,
            )
        if given_up:
            self._database.count_on_commit({"documents_failed": len(given_up)})
            self._database.ring_on_commit("done")
        queued = connection.execute(
            sa.update(documents)
            .where(documents.c.document_id.in_(_unlocked(*which)))
            .values(state=DocumentState.QUEUED)
        )
        return len(given_up) + queued.rowcount

    def _choose(
        self,
        connection: sa.Connection,
        limit: int,
        characters: int,
        wanted: Sequence[sa.ColumnElement[bool]],
    ) -> list[str]:
        query = (
            sa.select(
                documents.c.document_id,
                documents.c.attempts,
                documents.c.characters,
                documents.c.queue_rank,
            )
            .where(*wanted)
            .order_by(documents.c.queue_rank, documents.c.queued_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        chosen: list[str] = []
        taken = 0
        first_rank: int | None = None
        for document_id, attempts, length, rank in connection.execute(query):
            if attempts and chosen:
                continue
            if first_rank is not None and rank != first_rank:
                break
            if attempts:
                return [document_id]
            if chosen and taken + length > characters:
                break
            chosen.append(document_id)
            taken += length
            first_rank = rank
        return chosen

    def extend(self, tokens: Collection[str], lease_seconds: float) -> None:
        """Say that the holder of these claims is alive."""

        def update(connection: sa.Connection) -> None:
            held = _unlocked(
                documents.c.state == DocumentState.PROCESSING,
                documents.c.lease_token.in_(list(tokens)),
            )
            connection.execute(
                sa.update(documents)
                .where(documents.c.document_id.in_(held))
                .values(lease_until=self._database.now(connection) + lease_seconds)
            )

        self._database.write(update)

    def settle(
        self,
        verdicts: Sequence[Verdict],
        counts: Mapping[str, int],
        *,
        older_are_kept: bool = False,
    ) -> list[Claim]:
        """Record verdicts and add `counts` to the counters, in one transaction.

        Where older versions are kept in the index, this is the moment at which searches
        that begin show the new ones; the older ones are noted, to be removed later.

        Returns the claims whose fence had fallen: a newer version or a delete came in
        between, or the lease ran out. Of those, nothing was recorded.
        """

        def update(connection: sa.Connection) -> list[Claim]:
            now = self._database.now(connection)
            fallen = []
            tick = next_tick(connection) if older_are_kept else None
            before = {} if tick is None else indexed_versions(connection, verdicts)
            for verdict in verdicts:
                claim = verdict.claim
                failed = verdict.error is not None
                indexed = before.get(claim.document_id, (None, 0))
                values: dict[str, object] = {
                    "state": DocumentState.FAILED if failed else DocumentState.COMPLETED,
                    "last_outcome": Outcome.FAILED if failed else Outcome.INDEXED,
                    "error": verdict.error,
                    "finished_at": now,
                    "lost": False,
                    "lease_token": None,
                    "lease_until": None,
                }
                if not failed:
                    values |= {"indexed_version": claim.version, "chunks": verdict.chunks}
                    if tick is not None and indexed[0] != claim.version:
                        values["live_since"] = tick
                    if verdict.found is not None and verdict.found.title:
                        values["title"] = verdict.found.title
                done = connection.execute(
                    sa.update(documents)
                    .where(
                        documents.c.document_id == claim.document_id,
                        documents.c.state == DocumentState.PROCESSING,
                        documents.c.version == claim.version,
                        documents.c.lease_token == claim.token,
                    )
                    .values(values)
                )
                if not done.rowcount:
                    fallen.append(claim)
                elif verdict.found is not None:
                    connection.execute(
                        sa.update(payloads)
                        .where(payloads.c.document_id == claim.document_id)
                        .values(found=written(verdict.found))
                    )
                if tick is not None and not failed:
                    is_done = bool(done.rowcount)
                    note_replaced(connection, claim, indexed, tick, now, done=is_done)
            self._database.count_on_commit(counts)
            self._database.ring_on_commit("done")
            return fallen

        return self._database.write(update, [v.claim.document_id for v in verdicts])

    def release(
        self, claims: Sequence[Claim], reason: str | None = None, *, at_fault: bool = False
    ) -> None:
        """Give claims back to be tried again; `reason` is shown meanwhile.

        It costs an attempt only where the document itself is `at_fault`.
        """

        def update(connection: sa.Connection) -> None:
            for claim in claims:
                connection.execute(
                    sa.update(documents)
                    .where(
                        documents.c.document_id == claim.document_id,
                        documents.c.state == DocumentState.PROCESSING,
                        documents.c.lease_token == claim.token,
                    )
                    .values(
                        state=DocumentState.QUEUED,
                        attempts=claim.attempts - (not at_fault),
                        error=reason,
                        lease_token=None,
                        lease_until=None,
                    )
                )

        self._database.write(update, [claim.document_id for claim in claims])

    def explain(self, knowledge_base_id: str, reason: str) -> None:
        """Show in documents that wait in a knowledge base, the first ones, what they wait for."""
        waiting = (
            _unlocked(
                documents.c.state == DocumentState.QUEUED,
                documents.c.knowledge_base_id == knowledge_base_id,
                documents.c.attempts == 0,
                documents.c.error.is_distinct_from(reason),
            )
            .order_by(documents.c.queue_rank, documents.c.queued_at)
            .limit(MAX_EXPLAINED)
        )
        self._database.write(
            lambda connection: connection.execute(
                sa.update(documents)
                .where(documents.c.document_id.in_(waiting))
                .values(error=reason)
            )
        )

    def unpurged(self, limit: int = 10_000) -> list[tuple[str, str]]:
        """(knowledge base, document id) of deleted documents that the index may still hold.

        Those whose last worker may still be at work are left out until its lease is over.
        """
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                sa.select(documents.c.knowledge_base_id, documents.c.document_id)
                .where(
                    documents.c.state == DocumentState.DELETED,
                    UNPURGED,
                    sa.or_(documents.c.lease_until.is_(None), _lease_is_over(now)),
                )
                .limit(limit)
            )
            return [(kb, document_id) for kb, document_id in rows]

    def mark_purged(self, document_ids: Collection[str], tokens: Collection[str] = ()) -> None:
        """Record that the index holds nothing of these deleted documents any more.

        A document that a worker still holds is left: that worker may put it back into the
        index, and then cleans up itself, saying by its `tokens` that it is done.
        """

        def update(connection: sa.Connection, some: Sequence[str]) -> None:
            now = self._database.now(connection)
            connection.execute(
                sa.update(documents)
                .where(
                    documents.c.document_id.in_(some),
                    documents.c.state == DocumentState.DELETED,
                    sa.or_(
                        documents.c.lease_until.is_(None),
                        _lease_is_over(now),
                        documents.c.lease_token.in_(list(tokens)),
                    ),
                )
                .values(purged=True, lease_token=None, lease_until=None)
            )

        for some in slices(sorted(document_ids)):
            self._database.write(functools.partial(update, some=some), some)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        self._database.write(lambda _: self._database.count_on_commit(counts))

    def counters(self) -> dict[str, int]:
        """All counters since the registry was made."""
        return dict(self._database.look_up(_COUNTERS))

    def seconds_per_document(self) -> float:
        """What a document costs one worker, measured since the registry was made."""
        counters = self.counters()
        if not (indexed := counters.get("documents_indexed", 0)):
            return DEFAULT_SECONDS_PER_DOCUMENT
        return counters.get("busy_milliseconds", 0) / 1000 / indexed

    def unsettled(self) -> int:
        """How many documents waited or were worked on a second ago or less, in all bases.

        Every bulk asks, and counting goes through the whole queue.
        """
        now = time.monotonic()
        if now - self._counted_at > COUNT_SECONDS:
            self._counted_at = now
            ((number,),) = self._database.look_up(_UNSETTLED)
            self._unsettled = int(number)
        return self._unsettled


def _unlocked(*conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[str]]:
    """Ids of documents; on PostgreSQL without those that another transaction has locked."""
    # SQLite, which locks everything at once, has no such clause, and SQLAlchemy leaves it out.
    return sa.select(documents.c.document_id).where(*conditions).with_for_update(skip_locked=True)


def _lease_is_over(now: float) -> sa.ColumnElement[bool]:
    """Whether nobody keeps a lease any more.

    One that ends later than any can was given before the clock was set back; what it is on
    would else wait until the clock is where it was.
    """
    until = documents.c.lease_until
    return sa.or_(until < now, until > now + LONGEST_LEASE_SECONDS)


def _fail_unreadable(connection: sa.Connection, document_id: str, now: float) -> None:
    connection.execute(
        sa.update(documents)
        .where(documents.c.document_id == document_id)
        .values(
            state=DocumentState.FAILED,
            last_outcome=Outcome.FAILED,
            error="what was accepted of it is damaged in the registry; post it again",
            finished_at=now,
            lease_token=None,
            lease_until=None,
        )
    )
