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

from pathlib import Path
from urllib.parse import quote

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores import checksums
from llamaindex_reaktly.stores.sqlite import sqlite3

SCHEMA_VERSION = 2
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
    purged INTEGER NOT NULL,          -- the last removal whose traces are wiped
    index_id TEXT NOT NULL DEFAULT '',         -- random: no two files have the same
    checksum INTEGER NOT NULL DEFAULT 0        -- of all but removed and purged
);
INSERT INTO state (id, change, log_start, last_document, last_node, documents, nodes, terms,
    removed, purged) VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0);

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
    updated_at INTEGER NOT NULL,      -- microseconds since 1970, UTC
    checksum INTEGER NOT NULL DEFAULT 0
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
    extra TEXT,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX nodes_by_document ON nodes (document);

-- Beside the nodes, so that the scans of vectors and term counts read nothing else.
CREATE TABLE vectors (
    node INTEGER PRIMARY KEY,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE profiles (
    node INTEGER PRIMARY KEY,
    language TEXT NOT NULL,
    length INTEGER NOT NULL,
    counts BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
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

# Version 1 had no name and no checksums. In place, because to make the index again would be
# to embed everything again.
_FROM_VERSION_1 = """
ALTER TABLE state ADD COLUMN index_id TEXT NOT NULL DEFAULT '';
ALTER TABLE state ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vectors ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE profiles ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE documents SET checksum = of_row(id, document_id, version, source, external_id,
    source_type, title, url, summary, tags, language, attributes, updated_at);
UPDATE nodes SET checksum = of_node(document, node_id, ordinal, headings, text, extra);
UPDATE vectors SET checksum = of_vector(vector);
UPDATE profiles SET checksum = of_profile(language, length, counts);
"""

_NAME = """
UPDATE state SET index_id = lower(hex(randomblob(16)));
UPDATE state SET checksum = of_row(index_id, change, log_start, last_document, last_node,
    dimension, documents, nodes, terms);
"""


def connect(path: Path) -> sqlite3.Connection | None:
    """Open a knowledge base's file; None if it is not there, or has no tables.

    A file of an earlier version is brought to this one. Raises `Unavailable` for one
    written by a later release.
    """
    try:
        connection = _opened(path, "rw")
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None
    try:
        version = _user_version(connection)
        if 0 < version < SCHEMA_VERSION:
            _bring_up_to_date(connection)
            version = SCHEMA_VERSION
        if version > SCHEMA_VERSION:
            raise Unavailable(
                "the index was written by a later release; upgrade, or rebuild the index"
            )
        if version:
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def make(path: Path) -> None:
    """Make an empty file with its tables, where none is; durable on return."""
    connection = _opened(path, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        _run(connection, _TABLES + _NAME)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        # Notices a damaged page when it is read, instead of what it makes of a statement.
        connection.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _user_version(connection) < SCHEMA_VERSION:  # else another process was first
        _run(connection, _FROM_VERSION_1 + _NAME)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, script: str) -> None:
    connection.create_function("of_row", -1, checksums.of_row)
    connection.create_function("of_node", 6, checksums.of_node)
    connection.create_function("of_vector", 1, checksums.of_vector)
    connection.create_function("of_profile", 3, checksums.of_profile)
    for statement in _statements(script):
        connection.execute(statement)


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
