"""Documents as they should be: accepting, deleting, looking up.

What is accepted is compared with the version that is *wanted*, not with the one that
is indexed: with A indexed and B queued, A is a change (CONTRACTS.md, "Ingesting again
replaces").
"""

import base64
import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from llamaindex_reaktly.domain import (
    NO_ORIGIN,
    ContentType,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Origin,
    Outcome,
    Priority,
    Receipt,
    SourceDocument,
    SourceType,
    StoredContent,
)
from llamaindex_reaktly.errors import Conflict, InvalidRequest, NotFound
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import (
    UNFINISHED,
    documents,
    payloads,
    replaced_versions,
    replacement_clock,
)

# Bound parameters of one statement: SQLite's limit is 250,000, PostgreSQL's 65,535.
IDS_PER_STATEMENT = 2_000
# Characters of a text that are digested in one go.
_STRETCH = 256 * 1024

_STATUS_COLUMNS = (
    documents.c.document_id,
    documents.c.knowledge_base_id,
    documents.c.source,
    documents.c.external_id,
    documents.c.version,
    documents.c.state,
    documents.c.queued_at,
    documents.c.updated_at,
    documents.c.chunks,
    documents.c.last_outcome,
    documents.c.error,
    documents.c.attempts,
    documents.c.finished_at,
    documents.c.source_type,
    documents.c.title,
    documents.c.url,
)


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """One page of a listing; `next_cursor` is None on the last."""

    items: list[DocumentStatus]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class IndexedState:
    """What the index should hold of a document. `is_silent`: its worker's lease ran out."""

    state: DocumentState
    version: int
    indexed_version: int | None
    chunks: int | None
    purged: bool
    is_silent: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A document with the version and the time (seconds since the epoch) that it had."""

    document: SourceDocument
    job_id: str
    version: int
    updated_at: float


def own_hash(document: SourceDocument) -> str:
    """Digest of the text and the declared metadata; when it was fetched is not part of it."""
    content = document.content
    before = [document.source_type, document.title]
    behind = [document.content_type, document.url, declared(document)]
    if len(content) <= _STRETCH:
        return hashlib.sha256(orjson.dumps([*before, content, *behind])).hexdigest()
    # The same bytes in steps: a text of megabytes would keep the interpreter to itself.
    digest = hashlib.sha256(orjson.dumps(before)[:-1] + b',"')
    for start in range(0, len(content), _STRETCH):
        digest.update(orjson.dumps(content[start : start + _STRETCH])[1:-1])
    digest.update(b'",' + orjson.dumps(behind)[1:])
    return digest.hexdigest()


def declared(document: SourceDocument) -> str:
    """The metadata that needs no column of its own, as JSON with sorted keys."""
    return orjson.dumps(
        {
            "summary": document.summary,
            "tags": document.tags,
            "language": document.language,
            "attributes": dict(document.attributes),
        },
        option=orjson.OPT_SORT_KEYS,
    ).decode()


class Documents:
    """The table of documents, as the doors use it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Made once: to build them costs more than to execute them.
        self._upserts: tuple[sa.Insert, sa.Insert] | None = None

    def accept(
        self, batch: Sequence[tuple[SourceDocument, str]], origin: Origin = NO_ORIGIN
    ) -> list[Receipt]:
        """Make each document the wanted version of itself; durable on return.

        `batch` pairs documents with their job ids; those that change are `origin`'s from
        then on. The answers are in the order of the batch; where it holds a document twice,
        the last one wins.
        """
        if not batch:
            return []
        ids = [document.key.document_id for document, _ in batch]
        known = {
            row[0]: _Known(*row)
            for some in slices(ids)
            for row in self._database.look_up(_KNOWN, ids=some)
        }
        hashes = _OwnHashes(batch)
        receipts = []
        for place, (document_id, (document, _)) in enumerate(zip(ids, batch, strict=True)):
            row = known.get(document_id)
            if row is None or not _is_unchanged(document, row, hashes, place):
                accepting = _Batch(batch, ids, hashes, origin)
                return self._database.write_together(self._accept, accepting, ids)
            receipts.append(Receipt(document_id, document.key, row.version, unchanged=True))
        # Most re-pushes change nothing: they have at most an outcome to record, and the
        # next time not even that.
        if new := [row for row in known.values() if _has_new_outcome(row)]:
            self._database.write(
                lambda connection: _note_unchanged(connection, new), [row.id for row in new]
            )
        return receipts

    def _accept(
        self, connection: sa.Connection, batches: Sequence["_Batch"]
    ) -> list[list[Receipt]]:
        """Accept what several requests brought as if it were one batch.

        Its statements cost about the same for one document as for dozens.
        """
        now = self._database.now(connection)
        known = _known(connection, {id_ for batch in batches for id_ in batch.ids})
        changed: dict[str, dict[str, object]] = {}
        payload: dict[str, dict[str, object]] = {}
        unchanged: dict[str, _Known] = {}
        answers = []
        for batch, ids, hashes, origin in batches:
            receipts: list[Receipt] = []
            for place, (document_id, (document, job_id)) in enumerate(zip(ids, batch, strict=True)):
                row = known.get(document_id)
                if row is not None and _is_unchanged(document, row, hashes, place):
                    unchanged[document_id] = row
                    receipts.append(Receipt(document_id, document.key, row.version, unchanged=True))
                    continue
                version = 1 if row is None else row.version + 1
                values = _row(document, document_id, job_id, version, now, hashes[place], origin)
                # The batch's own order is that of the queue, however its rows are ordered.
                values["queued_at"] = now + place * 1e-6
                changed[document_id] = values
                payload[document_id] = _payload(document, document_id)
                known[document_id] = _Known(
                    document_id,
                    version,
                    DocumentState.QUEUED,
                    document.client_hash,
                    hashes[place],
                    None,
                )
                receipts.append(Receipt(document_id, document.key, version, unchanged=False))
            answers.append(receipts)
        if changed:
            # In the order of the ids, as everybody does it (Database.write).
            rows = [changed[i] for i in sorted(changed)]
            if self._upserts is None:
                self._upserts = _upserts(self._database, rows[0])
            upsert, upsert_payloads = self._upserts
            connection.execute(upsert, rows)
            connection.execute(upsert_payloads, [payload[i] for i in sorted(payload)])
            self._database.ring_on_commit("work")
        if new := [
            row for row in unchanged.values() if _has_new_outcome(row) and row.id not in changed
        ]:
            _note_unchanged(connection, new)
        return answers

    def restore(
        self, batch: Sequence["Restored"], *, overwrite: bool = False
    ) -> list[Receipt | None]:
        """Accept documents with the version and the time that they had; durable on return.

        None stands for a document that is newer here and stays, unless `overwrite`. A
        deleted one is no longer here, and comes back.
        """
        ids = [restored.document.key.document_id for restored in batch]

        def update(connection: sa.Connection) -> list[Receipt | None]:
            rows = connection.execute(
                sa.select(documents.c.document_id, documents.c.updated_at).where(
                    documents.c.document_id.in_(ids), documents.c.state != DocumentState.DELETED
                )
            )
            here = {row[0]: row[1] for row in rows}
            wanted = [
                restored
                for document_id, restored in zip(ids, batch, strict=True)
                # A microsecond is what the file keeps of a time.
                if overwrite or here.get(document_id, 0.0) < restored.updated_at + 2e-6
            ]
            pairs = [(restored.document, restored.job_id) for restored in wanted]
            wanted_ids = [restored.document.key.document_id for restored in wanted]
            accepting = _Batch(pairs, wanted_ids, _OwnHashes(pairs), NO_ORIGIN)
            (receipts,) = self._accept(connection, [accepting])
            by_id = {receipt.document_id: receipt for receipt in receipts}
            for restored in wanted:
                receipt = by_id[restored.document.key.document_id]
                if not receipt.unchanged:
                    connection.execute(
                        sa.update(documents)
                        .where(documents.c.document_id == receipt.document_id)
                        .values(
                            version=sa.case(
                                (documents.c.version < restored.version, restored.version),
                                else_=documents.c.version,
                            ),
                            updated_at=restored.updated_at,
                        )
                    )
            return [by_id.get(document_id) for document_id in ids]

        return self._database.write(update, ids)

    def contents(self, knowledge_base_id: str, *, characters: int) -> Iterator[StoredContent]:
        """All documents of a knowledge base as accepted, by id, some `characters` at a time."""
        after = ""
        while True:
            with self._database.read() as connection:
                page = connection.execute(
                    sa.select(documents.c.document_id, documents.c.characters)
                    .where(
                        documents.c.knowledge_base_id == knowledge_base_id,
                        documents.c.document_id > after,
                        documents.c.state != DocumentState.DELETED,
                    )
                    .order_by(documents.c.document_id)
                    .limit(IDS_PER_STATEMENT)
                ).all()
            if not page:
                return
            some: list[str] = []
            taken = 0
            for after, length in page:
                some.append(after)
                taken += length
                if taken >= characters or after == page[-1][0]:
                    yield from self._contents(some)
                    some, taken = [], 0

    def _contents(self, document_ids: Sequence[str]) -> list[StoredContent]:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(documents, payloads.c.declared, payloads.c.content)
                .join(payloads, payloads.c.document_id == documents.c.document_id)
                .where(
                    documents.c.document_id.in_(document_ids),
                    documents.c.state != DocumentState.DELETED,
                )
                .order_by(documents.c.document_id)
            ).mappings()
            return [StoredContent(status_of(row), document_of(row, row)) for row in rows]

    def bury(self, document_ids: Collection[str]) -> list[str]:
        """Turn documents into tombstones, their payload gone; the ids of those that existed.

        Many are buried in several transactions, so that others get their turn in between.
        """

        def update(connection: sa.Connection, some: list[str]) -> list[str]:
            now = self._database.now(connection)
            rows = connection.execute(
                sa.update(documents)
                .where(
                    documents.c.document_id.in_(some),
                    documents.c.state != DocumentState.DELETED,
                )
                .values(
                    state=DocumentState.DELETED,
                    last_outcome=Outcome.DELETED,
                    visible_from=documents.c.version + 1,
                    updated_at=now,
                    finished_at=now,
                    purged=False,
                    client_hash=None,
                    own_hash=None,
                    indexed_version=None,
                    chunks=None,
                    error=None,
                    attempts=0,
                    title="",
                    url=None,
                    characters=0,
                    request_id=None,
                    traceparent=None,
                )
                .returning(documents.c.document_id)
            )
            buried = list(rows.scalars())
            connection.execute(sa.delete(payloads).where(payloads.c.document_id.in_(some)))
            self._database.ring_on_commit("done")
            return buried

        buried: list[str] = []
        for some in slices(sorted(document_ids)):
            buried += self._database.write(functools.partial(update, some=some), some)
        return buried

    def status(self, document_id: str) -> DocumentStatus | None:
        """Where a document stands; None if it was never accepted."""
        return next(iter(self.statuses([document_id])), None)

    def statuses(self, document_ids: Collection[str]) -> list[DocumentStatus]:
        """Where several documents stand; unknown ones are left out."""
        found: list[DocumentStatus] = []
        with self._database.read() as connection:
            for some in slices(document_ids):
                found.extend(
                    status_of(row)
                    for row in connection.execute(
                        sa.select(*_STATUS_COLUMNS).where(documents.c.document_id.in_(some))
                    ).mappings()
                )
        return found

    def by_job(
        self, job_id: str, knowledge_base_ids: Collection[str] | None
    ) -> list[DocumentStatus]:
        """Documents that go by a job id, in the given knowledge bases (None: in any)."""
        query = sa.select(*_STATUS_COLUMNS).where(documents.c.job_id == job_id)
        if knowledge_base_ids is not None:
            query = query.where(documents.c.knowledge_base_id.in_(list(knowledge_base_ids)))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(documents.c.document_id)).mappings()
            return [status_of(row) for row in rows]

    def page(
        self,
        *,
        knowledge_base_ids: Collection[str] | None,
        state: DocumentState | None = None,
        source: str | None = None,
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> DocumentPage:
        """Documents ordered by knowledge base and id, a page at a time.

        Raises `InvalidRequest` for a cursor that no listing gave out.
        """
        query = sa.select(*_STATUS_COLUMNS)
        if state is not None:
            query = query.where(documents.c.state == state)
            if state is not DocumentState.COMPLETED:
                query = query.where(UNFINISHED)
        elif not include_deleted:
            query = query.where(documents.c.state != DocumentState.DELETED)
        if source is not None:
            query = query.where(documents.c.source == source)
        query = query.order_by(documents.c.knowledge_base_id, documents.c.document_id)
        after = None if cursor is None else _read_cursor(cursor)
        rows: list[sa.RowMapping] = []
        with self._database.read() as connection:
            for place in _places(knowledge_base_ids, after):
                some = query.where(*place).limit(limit + 1 - len(rows))
                rows += connection.execute(some).mappings()
                if len(rows) > limit:
                    break
        items = [status_of(row) for row in rows[:limit]]
        return DocumentPage(items, _write_cursor(items[-1]) if len(rows) > limit else None)

    def fetch(self, document_id: str) -> StoredContent | None:
        """A document as accepted; None if it is unknown or deleted."""
        with self._database.read() as connection:
            row = (
                connection.execute(
                    sa.select(documents, payloads.c.declared, payloads.c.content)
                    .join(payloads, payloads.c.document_id == documents.c.document_id)
                    .where(
                        documents.c.document_id == document_id,
                        documents.c.state != DocumentState.DELETED,
                    )
                )
                .mappings()
                .one_or_none()
            )
        return None if row is None else StoredContent(status_of(row), document_of(row, row))

    def retry(self, document_ids: Collection[str], origin: Origin = NO_ORIGIN) -> int:
        """Put failed documents back into the queue; how many there were."""
        return self._requeue(
            document_ids,
            documents.c.state == DocumentState.FAILED,
            origin,
            finished_at=None,
        )

    def retry_one(self, document_id: str, origin: Origin = NO_ORIGIN) -> DocumentStatus:
        """Put a failed document back into the queue.

        Raises `NotFound` if it is unknown, `Conflict` if it has not failed.
        """
        if not self.retry([document_id], origin):
            status = self.status(document_id)
            if status is None:
                raise NotFound("there is no such document")
            raise Conflict(f"only failed documents can be retried; this one is {status.state}")
        status = self.status(document_id)
        if status is None:
            raise NotFound("there is no such document")
        return status

    def retry_all(self, knowledge_base_id: str | None) -> int:
        """Put all failed documents of a knowledge base (None: of all) back into the queue."""
        query = sa.select(documents.c.document_id).where(documents.c.state == DocumentState.FAILED)
        if knowledge_base_id is not None:
            query = query.where(documents.c.knowledge_base_id == knowledge_base_id)
        with self._database.read() as connection:
            failed = list(connection.execute(query).scalars())
        return self.retry(failed)

    def index_again(self, document_ids: Collection[str]) -> int:
        """Queue documents that are settled but not in the index as they should be."""
        settled = documents.c.state.in_([DocumentState.COMPLETED, DocumentState.FAILED])
        return self._requeue(document_ids, settled, NO_ORIGIN, indexed_version=None)

    def indexed_states(self, knowledge_base_id: str) -> dict[str, "IndexedState"]:
        """Of every document of a knowledge base, deleted ones too, what the index should hold."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                sa.select(
                    documents.c.document_id,
                    documents.c.state,
                    documents.c.version,
                    documents.c.indexed_version,
                    documents.c.chunks,
                    documents.c.purged,
                    documents.c.lease_until,
                ).where(documents.c.knowledge_base_id == knowledge_base_id)
            )
            return {
                row.document_id: IndexedState(
                    DocumentState(row.state),
                    row.version,
                    row.indexed_version,
                    row.chunks,
                    row.purged,
                    is_silent=row.state == DocumentState.PROCESSING
                    and (row.lease_until or 0.0) < now,
                )
                for row in rows
            }

    def _requeue(
        self,
        document_ids: Collection[str],
        condition: sa.ColumnElement[bool],
        origin: Origin,
        **values: None,
    ) -> int:
        def update(connection: sa.Connection, some: list[str]) -> int:
            self._database.ring_on_commit("work")
            return connection.execute(
                sa.update(documents)
                .where(documents.c.document_id.in_(some), condition)
                .values(
                    state=DocumentState.QUEUED,
                    queued_at=self._database.now(connection),
                    attempts=0,
                    error=None,
                    request_id=origin.request_id,
                    traceparent=origin.traceparent,
                    **values,
                )
            ).rowcount

        return sum(
            self._database.write(functools.partial(update, some=some), some)
            for some in slices(sorted(document_ids))
        )

    def ids(self, knowledge_base_id: str, source: str | None = None) -> list[str]:
        """Ids of all documents of a knowledge base, or of one source, that are not deleted."""
        query = sa.select(documents.c.document_id).where(
            documents.c.knowledge_base_id == knowledge_base_id,
            documents.c.state != DocumentState.DELETED,
        )
        if source is not None:
            query = query.where(documents.c.source == source)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

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


class _Known(NamedTuple):
    id: str
    version: int
    state: str
    client_hash: str | None
    own_hash: str | None
    last_outcome: str | None


_KNOWN = sa.select(
    documents.c.document_id,
    documents.c.version,
    documents.c.state,
    documents.c.client_hash,
    documents.c.own_hash,
    documents.c.last_outcome,
).where(documents.c.document_id.in_(sa.bindparam("ids", expanding=True)))


_NOTE_UNCHANGED = (
    sa.update(documents)
    .where(
        documents.c.document_id.in_(sa.bindparam("ids", expanding=True)),
        # As it was when it was compared: what came in between has an outcome of its own.
        documents.c.version == sa.bindparam("noted_version"),
    )
    # The state is no condition, or SQLite takes its index and walks all of that state.
    .values(
        last_outcome=sa.case(
            (documents.c.state == DocumentState.COMPLETED, Outcome.UNCHANGED),
            else_=documents.c.last_outcome,
        )
    )
)


def _has_new_outcome(row: _Known) -> bool:
    """Whether it is news that a push of this document changed nothing."""
    return row.state == DocumentState.COMPLETED and row.last_outcome != Outcome.UNCHANGED


def _note_unchanged(connection: sa.Connection, rows: Iterable[_Known]) -> None:
    # One statement for all of a version, which costs a third of one for each row.
    by_version: dict[int, list[str]] = {}
    for row in rows:
        by_version.setdefault(row.version, []).append(row.id)
    for version, ids in by_version.items():
        for some in slices(ids):
            connection.execute(_NOTE_UNCHANGED, {"ids": some, "noted_version": version})


def _known(connection: sa.Connection, ids: Collection[str]) -> dict[str, _Known]:
    return {
        row[0]: _Known(*row)
        for some in slices(ids)
        for row in connection.execute(_KNOWN, {"ids": some})
    }


class _OwnHashes(dict[int, str]):
    """The own hashes of a batch's documents by their places, each made when first asked for."""

    def __init__(self, batch: Sequence[tuple[SourceDocument, str]]) -> None:
        super().__init__()
        self._batch = batch

    def __missing__(self, place: int) -> str:
        self[place] = made = own_hash(self._batch[place][0])
        return made


class _Batch(NamedTuple):
    """What one request brings: documents with their job ids, and what is known of them."""

    documents: Sequence[tuple[SourceDocument, str]]
    ids: Sequence[str]
    hashes: _OwnHashes
    origin: Origin


def _is_unchanged(document: SourceDocument, row: _Known, hashes: _OwnHashes, place: int) -> bool:
    if document.force_refresh or row.state in (DocumentState.FAILED, DocumentState.DELETED):
        return False
    if document.client_hash is not None and row.client_hash is not None:
        return document.client_hash == row.client_hash
    return hashes[place] == row.own_hash


def _row(
    document: SourceDocument,
    document_id: str,
    job_id: str,
    version: int,
    now: float,
    document_hash: str,
    origin: Origin,
) -> dict[str, object]:
    return {
        "document_id": document_id,
        "knowledge_base_id": document.key.knowledge_base_id,
        "source": document.key.source,
        "external_id": document.key.external_id,
        "job_id": job_id,
        "version": version,
        "state": DocumentState.QUEUED.value,
        "queue_rank": Priority.HIGH - document.priority,
        "queued_at": now,
        "updated_at": now,
        "client_hash": document.client_hash,
        "own_hash": document_hash,
        "force_refresh": document.force_refresh,
        "visible_from": 1,
        "attempts": 0,
        "purged": True,
        "source_type": document.source_type.value,
        "content_type": None if document.content_type is None else document.content_type.value,
        "title": document.title,
        "url": document.url,
        "characters": len(document.content),
        "request_id": origin.request_id,
        "traceparent": origin.traceparent,
    }


# A new version starts its life in the queue afresh; what the index holds and what is
# visible of it is no business of accepting.
_KEPT_ON_CONFLICT = {"document_id", "knowledge_base_id", "source", "external_id", "visible_from"}
_RESET_ON_CONFLICT = {"error": None, "finished_at": None}


def _payload(document: SourceDocument, document_id: str) -> dict[str, object]:
    return {
        "document_id": document_id,
        "declared": declared(document),
        "content": document.content,
    }


def _upserts(database: Database, row: Mapping[str, object]) -> tuple[sa.Insert, sa.Insert]:
    """The statements that put rows like this one in place of older ones, and their payloads."""
    insert = database.insert(documents)
    replaced = {name: insert.excluded[name] for name in row if name not in _KEPT_ON_CONFLICT}
    upsert = insert.on_conflict_do_update(
        index_elements=[documents.c.document_id],
        # Two processes may have read the same version: the row's own counts.
        set_={
            **replaced,
            **_RESET_ON_CONFLICT,
            "version": sa.case(
                (documents.c.version >= insert.excluded.version, documents.c.version + 1),
                else_=insert.excluded.version,
            ),
        },
    )
    insert = database.insert(payloads)
    upsert_payloads = insert.on_conflict_do_update(
        index_elements=[payloads.c.document_id],
        set_={"declared": insert.excluded.declared, "content": insert.excluded.content},
    )
    return upsert, upsert_payloads


def status_of(values: sa.RowMapping) -> DocumentStatus:
    """A row's status part."""
    outcome, finished = values["last_outcome"], values["finished_at"]
    return DocumentStatus(
        document_id=values["document_id"],
        key=DocumentKey(values["knowledge_base_id"], values["source"], values["external_id"]),
        source_type=SourceType(values["source_type"]),
        title=values["title"],
        url=values["url"],
        state=DocumentState(values["state"]),
        last_outcome=None if outcome is None else Outcome(outcome),
        attempts=values["attempts"],
        chunks=values["chunks"],
        error=values["error"],
        version=values["version"],
        queued_at=datetime.fromtimestamp(values["queued_at"], UTC),
        finished_at=None if finished is None else datetime.fromtimestamp(finished, UTC),
        updated_at=datetime.fromtimestamp(values["updated_at"], UTC),
    )


def document_of(values: sa.RowMapping, payload: sa.RowMapping) -> SourceDocument:
    """What was accepted: a row of `documents` and its row of `payloads`."""
    extra = orjson.loads(payload["declared"])
    return SourceDocument(
        key=DocumentKey(values["knowledge_base_id"], values["source"], values["external_id"]),
        source_type=SourceType(values["source_type"]),
        title=values["title"],
        content=payload["content"],
        content_type=None
        if values["content_type"] is None
        else ContentType(values["content_type"]),
        url=values["url"],
        summary=extra.get("summary"),
        tags=tuple(extra.get("tags") or ()),
        language=extra.get("language"),
        attributes=extra.get("attributes") or {},
        client_hash=values["client_hash"],
        force_refresh=values["force_refresh"],
        priority=Priority(Priority.HIGH - values["queue_rank"]),
    )


def slices(ids: Collection[str]) -> Iterable[list[str]]:
    """Ids in the numbers that one statement, and one turn at a database, is good for."""
    rest = list(ids)
    for start in range(0, len(rest), IDS_PER_STATEMENT):
        yield rest[start : start + IDS_PER_STATEMENT]


def _places(
    knowledge_base_ids: Collection[str] | None, after: tuple[str, str] | None
) -> Iterable[Sequence[sa.ColumnElement[bool]]]:
    """Where a listing goes on, place by place.

    One knowledge base at a time: with a list of them SQLite begins each page at the bases'
    first documents and skips what the pages before have shown.
    """
    if knowledge_base_ids is None:
        row = sa.tuple_(documents.c.knowledge_base_id, documents.c.document_id)
        yield [] if after is None else [row > sa.tuple_(*after)]
        return
    for knowledge_base_id in sorted(knowledge_base_ids):
        place = [documents.c.knowledge_base_id == knowledge_base_id]
        if after is not None:
            if knowledge_base_id < after[0]:
                continue
            if knowledge_base_id == after[0]:
                place.append(documents.c.document_id > after[1])
        yield place


def _write_cursor(last: DocumentStatus) -> str:
    place = orjson.dumps([last.key.knowledge_base_id, last.document_id])
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        knowledge_base_id, document_id = place
    except (ValueError, TypeError):
        raise InvalidRequest("cursor: not one that a listing gave out", field="cursor") from None
    if not isinstance(knowledge_base_id, str) or not isinstance(document_id, str):
        raise InvalidRequest("cursor: not one that a listing gave out", field="cursor")
    return knowledge_base_id, document_id
