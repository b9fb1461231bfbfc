"""The embedded store's file: tables, pragmas and how a connection to it is made.

One file holds one knowledge base. Rowids of documents and nodes only ever grow and
are never given twice, so a rowid names one version of a document or one node for good,
and the nodes of a version have consecutive ones.

What is removed leaves copies behind in spite of `secure_delete`, which does not clear the
gaps of pages that SQLite rebalances: `wipe_traces` in `rows` rewrites the file to be rid
of them. FTS5 only marks what is deleted and may keep it through an `optimize`; its own
secure-delete option made a replacement ten times as slow (measured). So the index holds
no text: `lexical` gives it digests of terms.

Nothing here may run `ANALYZE` or `PRAGMA optimize`: this SQLite gathers samples
(STAT4) that hold values of the indexed columns, which a delete would leave behind.
"""

import time
from pathlib import Path
from urllib.parse import quote

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.sqlite import sqlite3

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

_TABLES = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    change INTEGER NOT NULL,          -- grows with every transaction that wrote
    log_start INTEGER NOT NULL,       -- removals of later changes are all in the log
    last_document INTEGER NOT NULL,
    last_node INTEGER NOT NULL,
    dimension INTEGER,                -- of every vector here; NULL while there is none
    documents INTEGER NOT NULL,
    nodes INTEGER NOT NULL,
    terms INTEGER NOT NULL,           -- over all nodes, repetitions counted
    removed INTEGER NOT NULL,         -- the last change that removed text
    purged INTEGER NOT NULL           -- the last removal whose traces are wiped
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0);

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    first_node INTEGER NOT NULL,
    nodes INTEGER NOT NULL,
    language TEXT NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    source_type TEXT NOT NULL,
    title TEXT NOT NULL,
    url TEXT,
    summary TEXT,
    tags TEXT NOT NULL,
    attributes TEXT NOT NULL,
    updated_at INTEGER NOT NULL       -- microseconds since 1970, UTC
);
CREATE INDEX documents_by_language ON documents (language);

-- What filters compare: one row for each value of each field of a document.
CREATE TABLE field_values (
    field TEXT NOT NULL,
    kind TEXT NOT NULL,               -- s string, n number, b boolean, t time
    value NOT NULL,
    document INTEGER NOT NULL,
    in_list INTEGER NOT NULL,
    PRIMARY KEY (field, kind, value, document)
) WITHOUT ROWID;
CREATE INDEX field_values_by_document ON field_values (document);

CREATE TABLE nodes (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL,
    node_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    content_digest TEXT NOT NULL,
    headings TEXT NOT NULL,
    text TEXT NOT NULL,
    terms TEXT NOT NULL,
    extra TEXT
);
CREATE INDEX nodes_by_document ON nodes (document);

-- Beside the nodes, so that the scans of vectors and term counts read nothing else.
CREATE TABLE vectors (node INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE profiles (
    node INTEGER PRIMARY KEY,
    language TEXT NOT NULL,
    length INTEGER NOT NULL,
    counts BLOB NOT NULL
);

CREATE VIRTUAL TABLE term_index USING fts5(tokens, content='', tokenize='ascii');
CREATE VIRTUAL TABLE term_frequency USING fts5vocab(term_index, row);

-- Ranges of nodes that went, for the processes that hold vectors in memory.
CREATE TABLE removals (
    change INTEGER NOT NULL,
    first_node INTEGER NOT NULL,
    nodes INTEGER NOT NULL
);
CREATE INDEX removals_by_change ON removals (change);
"""


def connect(path: Path, *, create: bool) -> sqlite3.Connection | None:
    """Open a knowledge base's file; None if it is not there (or has no tables yet).

    With `create` the file and its tables are made. Raises `Unavailable` for a file
    written by a later release.
    """
    if not create and not path.exists():
        return None
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
        cached_statements=256,
    )
    try:
        if _prepare(connection, create=create):
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _prepare(connection: sqlite3.Connection, *, create: bool) -> bool:
    connection.execute("PRAGMA page_size = 4096")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    version = _user_version(connection)
    if version == 0 and create:
        _use_write_ahead_log(connection)
        connection.execute("BEGIN IMMEDIATE")
        version = _user_version(connection)
        if version == 0:
            for statement in _statements(_TABLES):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = SCHEMA_VERSION
        connection.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise Unavailable("the index was written by a later release; upgrade, or rebuild the index")
    return version == SCHEMA_VERSION


def _statements(script: str) -> list[str]:
    """The script's statements one by one: `executescript` would commit the transaction."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Changing the journal mode does not wait for other connections as statements do.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
