"""Whether a knowledge base's file is sound, to the last row; reads all of it.

What a search verifies as it reads is verified here too, and what it cannot: that the
full-text index and the values that filters compare are those of the nodes and documents.
"""

from collections import Counter
from collections.abc import Iterator

from llamaindex_reaktly.errors import IndexDamaged
from llamaindex_reaktly.stores import rows
from llamaindex_reaktly.stores.filter_sql import field_values
from llamaindex_reaktly.stores.lexical import index_tokens, profile, split_terms
from llamaindex_reaktly.stores.sqlite import sqlite3
from llamaindex_reaktly.stores.vector_view import State, brought_up_to_date

_MOST_WORDS_OF_THE_ENGINE = 3


def problems(connection: sqlite3.Connection, state: State) -> list[str]:
    """What is wrong, in sentences; empty if nothing is. Inside a transaction."""
    found = [
        f"SQLite says: {message}"
        for (message,) in connection.execute(f"PRAGMA integrity_check({_MOST_WORDS_OF_THE_ENGINE})")
        if message != "ok"
    ]
    if found:
        return found
    try:
        brought_up_to_date(None, connection, state)
        return [*_of_documents(connection, state), *_of_terms(connection, state)]
    except IndexDamaged as error:
        return [error.message]


def _of_documents(connection: sqlite3.Connection, state: State) -> Iterator[str]:
    documents = nodes = 0
    for row, replacement in rows.stream(connection, None):
        documents += 1
        nodes += len(replacement.nodes)
        known = connection.execute(
            "SELECT first_node, nodes FROM documents WHERE id = ?", (row,)
        ).fetchone()
        placed = connection.execute(
            "SELECT count(*) FROM nodes WHERE document = ? AND id >= ? AND id < ?",
            (row, known[0], known[0] + known[1]),
        ).fetchone()
        if placed[0] != known[1] or known[1] != len(replacement.nodes):
            yield f"{replacement.document.document_id} does not have the nodes that it counts"
        filterable = connection.execute(
            "SELECT field, kind, value, in_list FROM field_values WHERE document = ?", (row,)
        )
        expected = {
            (value.field, value.kind, value.value, value.in_list)
            for value in field_values(replacement.document)
        }
        if set(filterable) != expected:
            yield f"{replacement.document.document_id} is not filtered by what it shows"
    if (documents, nodes) != (state.documents, state.nodes):
        yield "the index does not hold as many documents and nodes as it counts"


def _of_terms(connection: sqlite3.Connection, state: State) -> Iterator[str]:
    nodes_with: Counter[str] = Counter()
    total = 0
    for terms, length, counts in connection.execute(
        "SELECT terms, length, counts FROM nodes LEFT JOIN profiles ON node = nodes.id"
    ):
        of_node = split_terms(str(terms))
        total += len(of_node)
        if length != len(of_node) or counts != profile(of_node):
            yield "a node is not ranked by its own terms"
        nodes_with.update(set(index_tokens(of_node).split()))
    if total != state.terms:
        yield "the index does not hold as many terms as it counts"
    if dict(connection.execute("SELECT term, doc FROM term_frequency")) != nodes_with:
        yield "the full-text index is not that of the nodes"
