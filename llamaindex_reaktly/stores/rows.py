"""What the embedded store's transactions read and write, in terms of the protocol's objects.

Each function works inside a transaction that its caller has begun.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.errors import EmbedderMismatch, IndexDamaged
from llamaindex_reaktly.stores import checksums
from llamaindex_reaktly.stores.filter_sql import Condition, field_values, microseconds
from llamaindex_reaktly.stores.lexical import Evidence, index_tokens, profile, split_terms
from llamaindex_reaktly.stores.protocol import (
    Candidate,
    IndexedDocument,
    IndexedNode,
    IndexedVersion,
    Replacement,
    Vector,
)
from llamaindex_reaktly.stores.sqlite import sqlite3
from llamaindex_reaktly.stores.vector_view import Rows, State, read_state

# Removals of so many changes are remembered; who comes later reads all vectors anew.
_LOGGED_CHANGES = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DOCUMENT_COLUMNS = (
    "documents.id, document_id, version, source, external_id, source_type, title, url,"
    " summary, tags, language, attributes, updated_at, documents.checksum"
)
_NODE_COLUMNS = (
    "document, node_id, ordinal, text, headings, extra, nodes.checksum,"
    " terms, content_digest, vector, vectors.checksum"
)


class _Stored(NamedTuple):
    """A document that is in the index, and where its nodes are."""

    row: int
    document_id: str
    version: int
    first_node: int
    nodes: int


def replace_documents(connection: sqlite3.Connection, replacements: Sequence[Replacement]) -> None:
    """Put each document (each named once) in the place of any version that is not newer."""
    state = read_state(connection)
    stored = {
        document.document_id: document
        for document in _stored(
            connection, [replacement.document.document_id for replacement in replacements]
        )
    }
    wanted = [
        replacement
        for replacement in replacements
        if (known := stored.get(replacement.document.document_id)) is None
        or known.version <= replacement.document.version
    ]
    if not wanted:
        return
    # Removals first and in order of node: FTS5 writes out its buffer whenever a lower
    # rowid follows a higher one.
    state = _removed(
        connection,
        state._replace(change=state.change + 1),
        [
            stored[replacement.document.document_id]
            for replacement in wanted
            if replacement.document.document_id in stored
        ],
    )
    for replacement in wanted:
        state = _added(connection, state, replacement)
    _write_state(connection, state)


def delete_documents(connection: sqlite3.Connection, document_ids: Iterable[str]) -> int:
    """Remove the documents; how many of them were there."""
    stored = _stored(connection, document_ids)
    if stored:
        state = read_state(connection)
        state = _removed(connection, state._replace(change=state.change + 1), stored)
        _write_state(connection, state)
    return len(stored)


def delete_everything(connection: sqlite3.Connection) -> None:
    """Remove every document."""
    state = read_state(connection)
    connection.execute("INSERT INTO term_index(term_index) VALUES ('delete-all')")
    for table in ("documents", "field_values", "nodes", "vectors", "profiles", "removals"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 (fixed names; values are bound)
    change = state.change + 1
    connection.execute("UPDATE state SET removed = ?", (change,))
    _write_state(
        connection,
        state._replace(
            change=change, log_start=change, dimension=None, documents=0, nodes=0, terms=0
        ),
    )


def traces_left(connection: sqlite3.Connection) -> bool:
    """Whether text that was removed may still be in the file."""
    (left,) = connection.execute("SELECT removed > purged FROM state").fetchone()
    return bool(left)


def wipe_traces(connection: sqlite3.Connection) -> None:
    """Rewrite the file without what was removed; outside of a transaction."""
    (removed,) = connection.execute("SELECT removed FROM state").fetchone()
    connection.execute("VACUUM")
    connection.execute("UPDATE state SET purged = max(purged, ?)", (removed,))


def _stored(connection: sqlite3.Connection, document_ids: Iterable[str]) -> list[_Stored]:
    rows = connection.execute(
        "SELECT id, document_id, version, first_node, nodes FROM documents"
        " WHERE document_id IN (SELECT value FROM json_each(?)) ORDER BY first_node",
        (json.dumps(list(document_ids)),),
    )
    return [_Stored(*row) for row in rows]


def _removed(connection: sqlite3.Connection, state: State, stored: Iterable[_Stored]) -> State:
    stored = sorted(stored, key=lambda document: document.first_node)
    if stored:
        connection.execute("UPDATE state SET removed = ?", (state.change,))
    for document in stored:
        nodes = (document.first_node, document.first_node + document.nodes - 1)
        (terms,) = connection.execute(
            "SELECT coalesce(sum(length), 0) FROM profiles WHERE node BETWEEN ? AND ?", nodes
        ).fetchone()
        indexed = connection.execute(
            "SELECT id, terms FROM nodes WHERE id BETWEEN ? AND ? ORDER BY id", nodes
        ).fetchall()
        connection.executemany(
            "INSERT INTO term_index(term_index, rowid, tokens) VALUES ('delete', ?, ?)",
            [(node, index_tokens(split_terms(terms))) for node, terms in indexed],
        )
        connection.execute("DELETE FROM nodes WHERE id BETWEEN ? AND ?", nodes)
        connection.execute("DELETE FROM vectors WHERE node BETWEEN ? AND ?", nodes)
        connection.execute("DELETE FROM profiles WHERE node BETWEEN ? AND ?", nodes)
        connection.execute("DELETE FROM field_values WHERE document = ?", (document.row,))
        connection.execute("DELETE FROM documents WHERE id = ?", (document.row,))
        if document.nodes:
            connection.execute(
                "INSERT INTO removals VALUES (?, ?, ?)",
                (state.change, document.first_node, document.nodes),
            )
        state = state._replace(
            documents=state.documents - 1,
            nodes=state.nodes - document.nodes,
            terms=state.terms - terms,
        )
    return state


def _added(connection: sqlite3.Connection, state: State, replacement: Replacement) -> State:
    document, nodes = replacement.document, replacement.nodes
    state = _with_dimension(state, nodes)
    row, first_node = state.last_document + 1, state.last_node + 1
    shown = (
        document.document_id,
        document.version,
        document.source,
        document.external_id,
        document.source_type.value,
        document.title,
        document.url,
        document.summary,
        _json(document.tags),
        document.language,
        _json(dict(document.attributes)),
        microseconds(document.updated_at),
    )
    connection.execute(
        "INSERT INTO documents (id, document_id, version, source, external_id, source_type,"
        " title, url, summary, tags, language, attributes, updated_at, first_node, nodes,"
        " checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row, *shown, first_node, len(nodes), checksums.of_row(row, *shown)),
    )
    connection.executemany(
        "INSERT INTO field_values VALUES (?, ?, ?, ?, ?)",
        [
            (value.field, value.kind, value.value, row, value.in_list)
            for value in field_values(document)
        ],
    )
    numbered = list(enumerate(nodes, start=first_node))
    headings = [_json(node.headings) for node in nodes]
    connection.executemany(
        "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                row,
                node.node_id,
                node.ordinal,
                node.content_digest,
                path,
                node.text,
                node.terms,
                node.extra,
                checksums.of_node(row, node.node_id, node.ordinal, path, node.text, node.extra),
            )
            for (number, node), path in zip(numbered, headings, strict=True)
        ],
    )
    vectors = [np.asarray(node.vector, dtype="<f4").tobytes() for node in nodes]
    connection.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?)",
        [
            (number, vector, checksums.of_vector(vector))
            for (number, _), vector in zip(numbered, vectors, strict=True)
        ],
    )
    terms = [split_terms(node.terms) for node in nodes]
    profiles = [profile(of_node) for of_node in terms]
    connection.executemany(
        "INSERT INTO profiles VALUES (?, ?, ?, ?, ?)",
        [
            (
                number,
                document.language,
                len(of_node),
                counts,
                checksums.of_profile(document.language, len(of_node), counts),
            )
            for (number, _), of_node, counts in zip(numbered, terms, profiles, strict=True)
        ],
    )
    connection.executemany(
        "INSERT INTO term_index(rowid, tokens) VALUES (?, ?)",
        [
            (number, index_tokens(of_node))
            for (number, _), of_node in zip(numbered, terms, strict=True)
        ],
    )
    return state._replace(
        last_document=row,
        last_node=state.last_node + len(nodes),
        documents=state.documents + 1,
        nodes=state.nodes + len(nodes),
        terms=state.terms + sum(map(len, terms)),
    )


def _with_dimension(state: State, nodes: Sequence[IndexedNode]) -> State:
    for node in nodes:
        dimension = len(node.vector)
        if dimension == state.dimension:
            continue
        if state.nodes:
            raise EmbedderMismatch(
                f"the knowledge base holds vectors of {state.dimension} dimensions,"
                f" not of {dimension}"
            )
        # An empty base takes any dimension; what others hold in memory is of no use then.
        state = state._replace(dimension=dimension, log_start=state.change)
    return state


def _write_state(connection: sqlite3.Connection, state: State) -> None:
    forgotten = state.change - _LOGGED_CHANGES
    if forgotten > state.log_start:
        connection.execute("DELETE FROM removals WHERE change <= ?", (forgotten,))
        state = state._replace(log_start=forgotten)
    connection.execute(
        "UPDATE state SET index_id = ?, change = ?, log_start = ?, last_document = ?,"
        " last_node = ?, dimension = ?, documents = ?, nodes = ?, terms = ?, checksum = ?",
        (*state, checksums.of_row(*state)),
    )


def matching_documents(connection: sqlite3.Connection, condition: Condition) -> list[str]:
    """The ids of the documents that a filter holds for."""
    rows = connection.execute(
        f"SELECT document_id FROM documents WHERE {condition.sql}",  # noqa: S608 (fixed names; values are bound)
        condition.parameters,
    )
    return [row[0] for row in rows]


def node_ranges(connection: sqlite3.Connection, condition: Condition) -> list[tuple[int, int]]:
    """Where the nodes of the documents are that a filter holds for: (first, how many)."""
    ranges: list[tuple[int, int]] = connection.execute(
        f"SELECT first_node, nodes FROM documents WHERE nodes > 0 AND {condition.sql}",  # noqa: S608 (fixed names; values are bound)
        condition.parameters,
    ).fetchall()
    return ranges


def candidates(
    connection: sqlite3.Connection,
    nodes: Rows,
    cosines: NDArray[np.floating],
    document_cosine: Callable[[int, int], float],
    evidence: Evidence | None,
    known: Mapping[int, IndexedDocument],
) -> tuple[list[Candidate], dict[int, IndexedDocument]]:
    """The nodes (ascending) with their documents and the evidence, in the same order.

    `document_cosine` is asked by a document's first node and number of nodes.
    `known` are documents by their rowid, which never change; those that were not among
    them are the second result.
    """
    found = connection.execute(
        "SELECT document, first_node, nodes, node_id, ordinal, text, headings, extra,"
        " nodes.checksum FROM nodes JOIN documents ON documents.id = document"
        " WHERE nodes.id IN (SELECT value FROM json_each(?)) ORDER BY nodes.id",
        (json.dumps(nodes.tolist()),),
    ).fetchall()
    if len(found) != len(nodes):
        raise IndexDamaged("the index has lost nodes that it still knows")
    of_documents = {
        row: document_cosine(first, count) for row, first, count in {row[:3] for row in found}
    }
    of_nodes = {row[0]: known.get(row[0]) for row in found}
    new = _documents(connection, [row for row, document in of_nodes.items() if document is None])
    nothing = [0.0] * len(found)
    result = []
    for row, cosine, bm25, matched_idf, query_idf in zip(
        found,
        cosines.tolist(),
        evidence.bm25.tolist() if evidence else nothing,
        evidence.matched_idf.tolist() if evidence else nothing,
        evidence.query_idf.tolist() if evidence else nothing,
        strict=True,
    ):
        document_row, _, _, node_id, ordinal, text, headings, extra, checksum = row
        checksums.require(
            checksums.of_node(document_row, node_id, ordinal, headings, text, extra), checksum
        )
        result.append(
            Candidate(
                document=of_nodes[document_row] or new[document_row],
                node_id=node_id,
                ordinal=ordinal,
                text=text,
                headings=tuple(orjson.loads(headings)),
                cosine=cosine,
                document_cosine=of_documents[document_row],
                bm25=bm25,
                matched_idf=matched_idf,
                query_idf=query_idf,
                extra=extra,
            )
        )
    return result, new


def _documents(
    connection: sqlite3.Connection, document_rows: Sequence[int]
) -> dict[int, IndexedDocument]:
    if not document_rows:
        return {}
    found = connection.execute(
        f"SELECT {_DOCUMENT_COLUMNS} FROM documents"  # noqa: S608 (fixed names; values are bound)
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(document_rows),),
    )
    return {row[0]: _document(row) for row in found}


def known_vectors(
    connection: sqlite3.Connection, document_ids: Collection[str]
) -> dict[str, Vector]:
    """`content_digest` → vector of the documents' nodes."""
    rows = connection.execute(
        "SELECT content_digest, vector, vectors.checksum"
        " FROM nodes JOIN vectors ON node = nodes.id"
        " WHERE document IN (SELECT id FROM documents"
        " WHERE document_id IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(document_ids)),),
    )
    return {digest: _vector(vector, checksum) for digest, vector, checksum in rows}


def nodes_of(
    connection: sqlite3.Connection, document_id: str, from_version: int, to_version: int
) -> list[IndexedNode]:
    """The document's nodes in order, if its version is between these two."""
    rows = connection.execute(
        f"SELECT {_NODE_COLUMNS} FROM nodes JOIN vectors ON node = nodes.id"  # noqa: S608 (fixed names; values are bound)
        " WHERE document ="
        " (SELECT id FROM documents WHERE document_id = ? AND version BETWEEN ? AND ?)"
        " ORDER BY ordinal, nodes.id",
        (document_id, from_version, to_version),
    )
    return [_node(row) for row in rows]


def documents(connection: sqlite3.Connection, condition: Condition | None) -> list[Replacement]:
    """The documents that a filter holds for, in the order they came, with their nodes."""
    return [replacement for _, replacement in stream(connection, condition)]


def stream(
    connection: sqlite3.Connection, condition: Condition | None
) -> Iterator[tuple[int, Replacement]]:
    """As `documents`, one at a time, each with its rowid."""
    where = f"WHERE {condition.sql}" if condition else ""
    rows = connection.execute(
        f"SELECT {_DOCUMENT_COLUMNS}, {_NODE_COLUMNS} FROM documents"  # noqa: S608 (fixed names; values are bound)
        " LEFT JOIN nodes ON nodes.document = documents.id"
        f" LEFT JOIN vectors ON vectors.node = nodes.id {where}"
        " ORDER BY documents.id, ordinal, nodes.id",
        condition.parameters if condition else (),
    )
    for row_id, group in groupby(rows, key=lambda row: row[0]):
        of_one = list(group)
        nodes = tuple(_node(row[14:]) for row in of_one if row[14] is not None)
        yield row_id, Replacement(_document(of_one[0][:14]), nodes)


def languages(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The documents' languages, most frequent first."""
    rows = connection.execute(
        "SELECT language FROM documents GROUP BY language ORDER BY count(*) DESC, language"
    )
    return tuple(row[0] for row in rows)


def versions(connection: sqlite3.Connection) -> list[IndexedVersion]:
    """Every document with its version and number of nodes."""
    rows = connection.execute("SELECT document_id, version, nodes FROM documents ORDER BY id")
    return [IndexedVersion(*row) for row in rows]


def _document(row: Sequence[object]) -> IndexedDocument:
    *shown, checksum = row
    checksums.require(checksums.of_row(*shown), checksum)  # type: ignore[arg-type]
    (
        _, document_id, version, source, external_id, source_type, title, url,
        summary, tags, language, attributes, updated_at,
    ) = shown  # fmt: skip
    return IndexedDocument(
        document_id=str(document_id),
        version=_integer(version),
        source=str(source),
        external_id=str(external_id),
        source_type=SourceType(str(source_type)),
        title=str(title),
        url=_optional(url),
        summary=_optional(summary),
        tags=tuple(json.loads(str(tags))),
        language=str(language),
        attributes=json.loads(str(attributes)),
        updated_at=_EPOCH + timedelta(microseconds=_integer(updated_at)),
    )


def _node(row: Sequence[object]) -> IndexedNode:
    document, node_id, ordinal, text, headings, extra, checksum = row[:7]
    terms, content_digest, vector, sum_of_vector = row[7:]
    checksums.require(
        checksums.of_node(
            _integer(document),
            str(node_id),
            _integer(ordinal),
            str(headings),
            str(text),
            _optional(extra),
        ),
        checksum,
    )
    return IndexedNode(
        node_id=str(node_id),
        ordinal=_integer(ordinal),
        text=str(text),
        headings=tuple(json.loads(str(headings))),
        terms=str(terms),
        vector=_vector(vector, sum_of_vector),
        content_digest=str(content_digest),
        extra=_optional(extra),
    )


def _vector(blob: object, checksum: object) -> Vector:
    assert isinstance(blob, bytes)
    checksums.require(checksums.of_vector(blob), checksum)
    return np.frombuffer(blob, dtype="<f4")


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
