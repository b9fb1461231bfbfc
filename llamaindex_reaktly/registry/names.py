"""Which document a name means, where names may be given from one document to another.

A document's id follows from the external id that it came with, and stays. A second name that
comes with another external id moves its document there; from then on a row of the table tells
the id that the external id means. Who comes later to the place that was left gets an id that
follows from nothing.

Whatever decides by names holds the `Realm` of their sources, so that they mean the same until
it is done.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentKey, DocumentState, SecondName, SourceDocument
from llamaindex_reaktly.registry.database import Database, Realm
from llamaindex_reaktly.registry.schema import documents, names
from llamaindex_reaktly.registry.slices import slices

Name = DocumentKey | SecondName

FIRST = "first"
SECOND = "second"

_BY_NAME = sa.select(names.c.name_id, names.c.document_id).where(
    names.c.name_id.in_(sa.bindparam("ids", expanding=True))
)
_OF_DOCUMENTS = sa.select(names.c.document_id, names.c.name).where(
    names.c.document_id.in_(sa.bindparam("ids", expanding=True)), names.c.kind == SECOND
)
_LIVING = sa.select(
    documents.c.document_id,
    documents.c.knowledge_base_id,
    documents.c.source,
    documents.c.external_id,
).where(
    documents.c.document_id.in_(sa.bindparam("ids", expanding=True)),
    documents.c.state != DocumentState.DELETED,
)


def name_id(name: Name) -> str:
    """The row of a name: made like a document's id, its kind kept apart with the source."""
    if isinstance(name, SecondName):
        kind, text = SECOND, name.name
    else:
        kind, text = FIRST, name.external_id
    return DocumentKey(name.knowledge_base_id, f"{kind}:{name.source}", text).document_id


def second_name_of(document: SourceDocument) -> SecondName | None:
    """The second name that a document is sent with."""
    if document.second_name is None:
        return None
    return SecondName(document.key.knowledge_base_id, document.key.source, document.second_name)


def names_of(document: SourceDocument) -> list[Name]:
    """Both names that a document is sent with, or the one."""
    second = second_name_of(document)
    return [document.key] if second is None else [document.key, second]


def realm_of(wanted: Collection[Name]) -> Realm | None:
    """What to hold while one decides by names; None for none."""
    if not wanted:
        return None
    return Realm(
        frozenset(f"{len(n.knowledge_base_id)}:{n.knowledge_base_id}:{n.source}" for n in wanted),
        lambda connection: set(meant(connection, wanted).values()),
    )


def meant(connection: sa.Connection, wanted: Collection[Name]) -> dict[Name, str]:
    """The ids of the documents that names mean; names that mean none are left out."""
    by_id = {name_id(name): name for name in wanted}
    found = {by_id[row.name_id]: row.document_id for row in _rows(connection, _BY_NAME, by_id)}
    natural = {
        name.document_id: name
        for name in wanted
        if isinstance(name, DocumentKey) and name not in found
    }
    here = living(connection, natural)
    return found | {key: i for i, key in here.items() if key == natural[i]}


def living(connection: sa.Connection, document_ids: Collection[str]) -> dict[str, DocumentKey]:
    """Where documents are now; deleted and unknown ones are left out."""
    rows = _rows(connection, _LIVING, document_ids)
    return {r.document_id: DocumentKey(r.knowledge_base_id, r.source, r.external_id) for r in rows}


def second_names(connection: sa.Connection, document_ids: Collection[str]) -> dict[str, str]:
    """The second names of documents that have one."""
    rows = _rows(connection, _OF_DOCUMENTS, document_ids)
    return {row.document_id: row.name for row in rows}


def look_up(database: Database, wanted: Collection[SecondName]) -> dict[str, str]:
    """The documents that second names mean at this moment, by the ids of the names' rows."""
    ids = [name_id(name) for name in wanted]
    return {row[0]: row[1] for some in slices(ids) for row in database.look_up(_BY_NAME, ids=some)}


def forget(connection: sa.Connection, document_ids: Collection[str]) -> None:
    """Take their names from documents."""
    for some in slices(document_ids):
        connection.execute(sa.delete(names).where(names.c.document_id.in_(some)))


def _rows(
    connection: sa.Connection, query: sa.Select[Any], ids: Iterable[str]
) -> Iterator[sa.Row[Any]]:
    for some in slices(ids):
        yield from connection.execute(query, {"ids": some})


@dataclass(frozen=True, slots=True)
class _Named:
    """What a document is called."""

    key: DocumentKey
    second: SecondName | None

    def rows(self, document_id: str) -> list[dict[str, str]]:
        """What the table has to hold of it: an external id that its id follows from, nothing."""
        kinds: list[tuple[str, Name, str]] = []
        if self.key.document_id != document_id:
            kinds.append((FIRST, self.key, self.key.external_id))
        if self.second is not None:
            kinds.append((SECOND, self.second, self.second.name))
        return [
            {"name_id": name_id(name), "document_id": document_id, "kind": kind, "name": text}
            for kind, name, text in kinds
        ]


class Naming:
    """Finds the documents that a batch's are versions of, one after the other.

    A known external id is the document, whatever second name comes with it; else a known
    second name is, and it moves. Where a second name is known elsewhere, its document has
    moved on top of another, and is displaced. Lives in one transaction.
    """

    def __init__(self, connection: sa.Connection, batch: Iterable[SourceDocument]) -> None:
        renamable = [document for document in batch if document.is_renamable]
        wanted = {name for document in renamable for name in names_of(document)}
        self._connection = connection
        self._meant = meant(connection, wanted) if wanted else {}
        # Documents that are there, with what they are called now.
        ids = {*self._meant.values(), *(document.key.document_id for document in renamable)}
        seconds = second_names(connection, ids)
        self._named: dict[str, _Named] = {}
        for document_id, key in living(connection, ids).items():
            text = seconds.get(document_id)
            second = None if text is None else SecondName(key.knowledge_base_id, key.source, text)
            self._named[document_id] = _Named(key, second)
            self._meant.update(dict.fromkeys((key, second) if second else (key,), document_id))
        self._renamed: dict[str, _Named | None] = {}
        self.ids = ids
        self.displaced: set[str] = set()

    def find(self, document: SourceDocument) -> str | None:
        """The document that this would be a version of; None if it would be a new one."""
        found = (self._meant.get(name) for name in names_of(document))
        return next((one for one in found if one is not None), None)

    def place(self, document: SourceDocument) -> str:
        """The id of the document that this is a version of, which from now on has its names."""
        key, second = document.key, second_name_of(document)
        document_id = self.find(document) or (
            _new_id() if key.document_id in self._named else key.document_id
        )
        elsewhere = None if second is None else self._meant.get(second)
        if elsewhere not in (None, document_id):
            self._displace(elsewhere)
        before = self._named.get(document_id)
        if second is None and before is not None:
            second = before.second
        self._take_names(document_id)
        self._named[document_id] = named = _Named(key, second)
        self._meant[key] = document_id
        if second is not None:
            self._meant[second] = document_id
        self.displaced.discard(document_id)
        if named != before:
            self._renamed.setdefault(document_id, before)
        return document_id

    def write(self) -> None:
        """Make the table tell what names mean now."""
        renamed = sorted(
            i
            for i, before in self._renamed.items()
            if (before and before.rows(i)) or (i in self._named and self._named[i].rows(i))
        )
        forget(self._connection, renamed)
        rows = [row for i in renamed if i in self._named for row in self._named[i].rows(i)]
        if rows:
            self._connection.execute(sa.insert(names), rows)

    def _displace(self, document_id: str) -> None:
        self._renamed.setdefault(document_id, self._named[document_id])
        self._take_names(document_id)
        del self._named[document_id]
        self.displaced.add(document_id)

    def _take_names(self, document_id: str) -> None:
        if (named := self._named.get(document_id)) is not None:
            for name in (named.key, named.second):
                if name is not None and self._meant.get(name) == document_id:
                    del self._meant[name]


def _new_id() -> str:
    return DocumentKey("", "", secrets.token_hex(16)).document_id
