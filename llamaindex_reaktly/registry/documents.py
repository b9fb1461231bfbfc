"""Documents as they should be: looking up and listing, deleting, queueing again."""

import base64
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson
import sqlalchemy as sa

from llamaindex_reaktly.domain import (
    NO_ORIGIN,
    Choice,
    ContentType,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Origin,
    Outcome,
    Priority,
    SecondName,
    SourceDocument,
    SourceType,
    StoredContent,
)
from llamaindex_reaktly.errors import Conflict, InvalidRequest, NotFound
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.found import read
from llamaindex_reaktly.registry.names import (
    Name,
    forget,
    meant,
    realm_of,
    second_names,
)
from llamaindex_reaktly.registry.schema import UNFINISHED, documents, payloads
from llamaindex_reaktly.registry.slices import IDS_PER_STATEMENT, slices

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


class Documents:
    """The table of documents, as the doors use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
                sa.select(documents, payloads.c.declared, payloads.c.content, payloads.c.found)
                .join(payloads, payloads.c.document_id == documents.c.document_id)
                .where(
                    documents.c.document_id.in_(document_ids),
                    documents.c.state != DocumentState.DELETED,
                )
                .order_by(documents.c.document_id)
            ).mappings()
            seconds = second_names(connection, document_ids)
            return [
                StoredContent(
                    status_of(row),
                    replace(document_of(row, row), second_name=seconds.get(row["document_id"])),
                    read(row["found"]),
                )
                for row in rows
            ]

    def bury(self, document_ids: Collection[str]) -> list[str]:
        """Turn documents into tombstones, their payload gone; the ids of those that existed.

        Many are buried in several transactions, so that others get their turn in between.
        """

        def update(connection: sa.Connection, some: Sequence[str]) -> list[str]:
            self._database.ring_on_commit("done")
            return bury(connection, some, self._database.now(connection))

        buried: list[str] = []
        for some in slices(sorted(document_ids)):
            buried += self._database.write(functools.partial(update, some=some), some)
        return buried

    def bury_named(self, names: Collection[Name]) -> list[str]:
        """As `bury`, by whatever each name means when its turn comes; the ids."""

        def update(connection: sa.Connection, some: Sequence[Name]) -> list[str]:
            self._database.ring_on_commit("done")
            ids = sorted(set(meant(connection, some).values()))
            return bury(connection, ids, self._database.now(connection))

        buried: list[str] = []
        for some in slices(names):
            locks = [name.document_id for name in some if isinstance(name, DocumentKey)]
            realm = realm_of([name for name in some if isinstance(name, SecondName)])
            buried += self._database.write(functools.partial(update, some=some), locks, realm)
        return buried

    def bury_chosen(self, choice: Choice) -> list[str]:
        """As `bury`, those that are as chosen when their turn comes; the ids."""

        def update(connection: sa.Connection, some: Collection[str]) -> list[str]:
            self._database.ring_on_commit("done")
            # What was replaced since it was looked up may be no longer as chosen.
            ids = [id_ for id_ in _chosen(connection, choice) if id_ in some]
            return bury(connection, ids, self._database.now(connection))

        with self._database.read() as connection:
            found = sorted(_chosen(connection, choice))
        buried: list[str] = []
        for some in slices(found):
            locked = frozenset(some)
            buried += self._database.write(functools.partial(update, some=locked), locked)
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
        return next(iter(self._contents([document_id])), None)

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

    def indexed_states(self, knowledge_base_id: str) -> dict[str, IndexedState]:
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
        def update(connection: sa.Connection, some: Sequence[str]) -> int:
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


def _chosen(connection: sa.Connection, choice: Choice) -> set[str]:
    of_source = documents.c.source == choice.source
    found: set[str] = set()
    for column, values, condition in (
        (documents.c.document_id, choice.document_ids, sa.true()),
        (documents.c.url, choice.urls, of_source),
        (documents.c.title, choice.titles, of_source),
    ):
        for some in slices(sorted(values)):
            found.update(
                connection.execute(
                    sa.select(documents.c.document_id).where(
                        documents.c.knowledge_base_id == choice.knowledge_base_id,
                        documents.c.state != DocumentState.DELETED,
                        column.in_(some),
                        condition,
                    )
                ).scalars()
            )
    return found


def bury(connection: sa.Connection, document_ids: Collection[str], now: float) -> list[str]:
    """Turn documents into tombstones, nameless and without payload; those that existed."""
    rows = connection.execute(
        sa.update(documents)
        .where(
            documents.c.document_id.in_(document_ids),
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
    connection.execute(sa.delete(payloads).where(payloads.c.document_id.in_(document_ids)))
    forget(connection, document_ids)
    return buried


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
    found = read(payload["found"])
    return SourceDocument(
        key=DocumentKey(values["knowledge_base_id"], values["source"], values["external_id"]),
        source_type=SourceType(values["source_type"]),
        title="" if found is not None and found.title else values["title"],
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
        fill_missing=bool(extra.get("fill_missing")),
    )


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
