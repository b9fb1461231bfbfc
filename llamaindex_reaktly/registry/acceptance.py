"""Accepting documents: comparing them, putting them in the place of older ones.

What is accepted is compared with the version that is *wanted*, not with the one that
is indexed: with A indexed and B queued, A is a change (CONTRACTS.md, "Ingesting again
replaces").
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from llamaindex_reaktly.domain import (
    NO_ORIGIN,
    DocumentState,
    Origin,
    Outcome,
    Priority,
    Receipt,
    SourceDocument,
)
from llamaindex_reaktly.registry.database import Database, Realm
from llamaindex_reaktly.registry.documents import bury
from llamaindex_reaktly.registry.names import (
    Naming,
    look_up,
    name_id,
    names_of,
    realm_of,
    second_name_of,
)
from llamaindex_reaktly.registry.schema import documents, payloads
from llamaindex_reaktly.registry.slices import slices
from llamaindex_reaktly.registry.usage import UNLIMITED, Quota, Room, quota_realm

# Characters of a text that are digested in one go.
_STRETCH = 256 * 1024


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
    values: dict[str, object] = {
        "summary": document.summary,
        "tags": document.tags,
        "language": document.language,
        "attributes": dict(document.attributes),
    }
    if document.fill_missing:  # others keep the hashes that they had before there was this
        values["fill_missing"] = True
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


class Acceptance:
    """The table of documents, as those write to it who bring some."""

    def __init__(self, database: Database, quota: Quota = UNLIMITED) -> None:
        self._database = database
        self._quota = quota
        # Made once: to build them costs more than to execute them.
        self._upserts: tuple[sa.Insert, sa.Insert] | None = None

    def accept(
        self, batch: Sequence[tuple[SourceDocument, str]], origin: Origin = NO_ORIGIN
    ) -> list[Receipt]:
        """Make each document the wanted version of itself; durable on return.

        `batch` pairs documents with their job ids; those that change are `origin`'s from
        then on. The answers are in the order of the batch; where it holds a document twice,
        the last one wins. Raises `QuotaExceeded` where not all of them have room.
        """
        receipts = self._accept_batch(batch, origin, is_whole=True)
        return [receipt for receipt in receipts if receipt is not None]

    def accept_fitting(
        self, batch: Sequence[tuple[SourceDocument, str]], origin: Origin = NO_ORIGIN
    ) -> list[Receipt | None]:
        """As `accept`, but what has no room is left out, and has None for an answer."""
        return self._accept_batch(batch, origin, is_whole=False)

    def _accept_batch(
        self, batch: Sequence[tuple[SourceDocument, str]], origin: Origin, *, is_whole: bool
    ) -> list[Receipt | None]:
        if not batch:
            return []
        ids = [document.key.document_id for document, _ in batch]
        known = {
            row[0]: _Known(*row)
            for some in slices(ids)
            for row in self._database.look_up(_KNOWN, ids=some)
        }
        hashes = _OwnHashes(batch)
        wanted = [name for document, _ in batch if (name := second_name_of(document))]
        named = look_up(self._database, wanted) if wanted else {}
        receipts: list[Receipt | None] = []
        for place, (document_id, (document, _)) in enumerate(zip(ids, batch, strict=True)):
            row = known.get(document_id)
            second = second_name_of(document)
            if (
                row is None
                or not _is_unchanged(document, row, hashes, place)
                or (second is not None and named.get(name_id(second)) != document_id)
            ):
                accepting = _Batch(batch, ids, hashes, origin, is_whole)
                realm = self._realm(batch)
                return self._database.write_together(self._accept, accepting, ids, realm)
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
    ) -> list[list[Receipt | None]]:
        """Accept what several requests brought as if it were one batch.

        Its statements cost about the same for one document as for dozens.
        """
        room = None
        if self._quota.is_limited:
            bases = {d.key.knowledge_base_id for batch in batches for d, _ in batch.documents}
            room = Room(connection, self._quota, bases)
        now = self._database.now(connection)
        naming = Naming(connection, (d for batch in batches for d, _ in batch.documents))
        known = _known(connection, {id_ for batch in batches for id_ in batch.ids} | naming.ids)
        changed: dict[str, dict[str, object]] = {}
        payload: dict[str, dict[str, object]] = {}
        unchanged: dict[str, _Known] = {}
        answers = []
        for batch, ids, hashes, origin, is_whole in batches:
            receipts: list[Receipt | None] = []
            for place, (own_id, (document, job_id)) in enumerate(zip(ids, batch, strict=True)):
                if room is not None:
                    meant = naming.find(document) if document.is_renamable else own_id
                    row = None if meant is None else known.get(meant)
                    is_unchanged = row is not None and _is_unchanged(document, row, hashes, place)
                    if not is_unchanged and not _fits(document, row, room):
                        if is_whole:
                            raise self._quota.refusal(document.key.knowledge_base_id)
                        receipts.append(None)
                        continue
                document_id = naming.place(document) if document.is_renamable else own_id
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
                    document.key.external_id,
                    len(document.content),
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
        naming.write()
        if naming.displaced:
            bury(connection, sorted(naming.displaced), now)
            self._database.ring_on_commit("work")
        return answers

    def restore(
        self, batch: Sequence[Restored], *, overwrite: bool = False
    ) -> list[Receipt | None]:
        """Accept documents with the version and the time that they had; durable on return.

        None stands for a document that is newer here and stays, unless `overwrite`. A
        deleted one is no longer here, and comes back.
        """
        pairs = [(restored.document, restored.job_id) for restored in batch]

        def update(connection: sa.Connection) -> list[Receipt | None]:
            naming = Naming(connection, (document for document, _ in pairs))
            # What each is a version of, as things are; the last one of a document counts.
            ids = [naming.find(document) or document.key.document_id for document, _ in pairs]
            rows = connection.execute(
                sa.select(documents.c.document_id, documents.c.updated_at).where(
                    documents.c.document_id.in_(ids), documents.c.state != DocumentState.DELETED
                )
            )
            here = {row[0]: row[1] for row in rows}
            places = [
                place
                for place, (document_id, restored) in enumerate(zip(ids, batch, strict=True))
                # A microsecond is what the file keeps of a time.
                if overwrite or here.get(document_id, 0.0) < restored.updated_at + 2e-6
            ]
            wanted = [pairs[place] for place in places]
            own_ids = [document.key.document_id for document, _ in wanted]
            (receipts,) = self._accept(
                connection, [_Batch(wanted, own_ids, _OwnHashes(wanted), NO_ORIGIN, True)]
            )
            answers: list[Receipt | None] = [None] * len(batch)
            for place, receipt in zip(places, receipts, strict=True):
                answers[place] = receipt
                restored = batch[place]
                if receipt is not None and not receipt.unchanged:
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
            return answers

        locks = [document.key.document_id for document, _ in pairs]
        return self._database.write(update, locks, self._realm(pairs))

    def _realm(self, batch: Sequence[tuple[SourceDocument, str]]) -> Realm | None:
        names = realm_of(
            [name for document, _ in batch if document.is_renamable for name in names_of(document)]
        )
        if not self._quota.is_limited:
            return names
        return quota_realm((document.key.knowledge_base_id for document, _ in batch), names)


def _fits(document: SourceDocument, row: "_Known | None", room: Room) -> bool:
    is_new = row is None or row.state == DocumentState.DELETED
    return room.take(
        document.key.knowledge_base_id,
        is_new=is_new,
        characters=len(document.content) - (0 if row is None else row.characters),
    )


class _Known(NamedTuple):
    id: str
    version: int
    state: str
    client_hash: str | None
    own_hash: str | None
    last_outcome: str | None
    external_id: str
    characters: int


_KNOWN = sa.select(
    documents.c.document_id,
    documents.c.version,
    documents.c.state,
    documents.c.client_hash,
    documents.c.own_hash,
    documents.c.last_outcome,
    documents.c.external_id,
    documents.c.characters,
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
    is_whole: bool
    """Whether one that has no room refuses all."""


def _is_unchanged(document: SourceDocument, row: _Known, hashes: _OwnHashes, place: int) -> bool:
    if document.force_refresh or row.state in (DocumentState.FAILED, DocumentState.DELETED):
        return False
    if document.key.external_id != row.external_id:  # it moves
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
_KEPT_ON_CONFLICT = {"document_id", "knowledge_base_id", "source", "visible_from"}
_RESET_ON_CONFLICT = {"error": None, "finished_at": None}


def _payload(document: SourceDocument, document_id: str) -> dict[str, object]:
    return {
        "document_id": document_id,
        "declared": declared(document),
        "content": document.content,
        "found": None,
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
        set_={
            "declared": insert.excluded.declared,
            "content": insert.excluded.content,
            "found": insert.excluded.found,
        },
    )
    return upsert, upsert_payloads
