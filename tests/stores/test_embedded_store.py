"""What the embedded store does beyond the contract: its files and its processes."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.errors import StorageFull, Unavailable
from llamaindex_reaktly.filters import Comparison, Operator
from llamaindex_reaktly.stores import bases, schema, vector_view
from llamaindex_reaktly.stores.bases import file_name
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import (
    IndexedDocument,
    IndexedNode,
    Replacement,
    StoreCounts,
    StoreQuery,
    Vector,
)
from llamaindex_reaktly.stores.sqlite import sqlite3

KB = "kb"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "index")
    yield opened
    opened.close()


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
    scaled: Vector = vector / np.linalg.norm(vector)
    return scaled


def replacement(name: str, texts: list[str], version: int = 1, secret: str = "") -> Replacement:
    of = IndexedDocument(
        document_id=f"doc_{name}",
        version=version,
        source=f"integration:{secret}",
        external_id=f"{secret}{name}",
        source_type=SourceType.PAGE,
        title=f"{secret} title",
        url=f"https://example.com/{secret}",
        summary=secret,
        tags=(f"{secret}1", "b"),
        language="en",
        attributes={f"{secret}key": secret, "list": [f"{secret}{i}" for i in range(9)]},
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    nodes = [
        IndexedNode(
            node_id=f"{name}-{i}-{secret}",
            ordinal=i,
            text=text,
            headings=(secret,),
            terms=text,
            vector=unit(i),
            content_digest=f"{i}{secret}",
            extra=secret,
        )
        for i, text in enumerate(texts)
    ]
    return Replacement(of, nodes)


def bytes_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


SECRET = "zqxjsecret"  # no stem or prefix of it occurs in what stays
TRACES = [b"zqxjsecret", b"zqxjse", b"zqxj", b"jsecret"]


@pytest.mark.parametrize("seed", range(4))
def test_a_purge_leaves_no_trace_of_what_was_deleted_or_replaced(
    store: EmbeddedStore, seed: int
) -> None:
    """Pages are split and merged by the random sizes: that is where copies stay behind."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefgh", k=chance.randint(3, 9))) for _ in range(500)]

    def text(secret: str) -> str:
        plain = chance.choices(words, k=chance.randint(5, 200))
        return " ".join([secret, *plain, *(secret + word for word in plain[:30] if secret)])

    def made(name: str, version: int, secret: str) -> Replacement:
        texts = [text(secret) for _ in range(chance.randint(1, 10))]
        return replacement(name, texts, version, secret)

    for turn in range(8):
        secrets = [f"s{turn}-{i}" for i in range(chance.randint(1, 6))]
        store.replace(KB, [made(f"{turn}-{i}", 1, "") for i in range(chance.randint(1, 9))])
        store.replace(KB, [made(name, 1, SECRET) for name in secrets])
        replaced = secrets.pop()
        store.replace(KB, [made(replaced, 2, "")])
        store.search(KB, StoreQuery(vector=unit(1), terms={"en": [SECRET]}))
        assert TRACES[0] in bytes_of(store.directory)

        assert store.delete(KB, [f"doc_{name}" for name in secrets]) == len(secrets)
        store.purge(KB)

        found = bytes_of(store.directory)
        assert not [trace for trace in TRACES if trace in found]
    assert store.count(KB).documents > 8


def test_a_purge_leaves_no_trace_of_a_replaced_version(store: EmbeddedStore) -> None:
    store.replace(KB, [replacement("a", [f"{SECRET} text"] * 5, 1, SECRET)])
    store.replace(KB, [replacement("a", ["plain"], 2)])
    store.purge(KB)
    found = bytes_of(store.directory)
    assert not [trace for trace in TRACES if trace in found]
    assert len(store.search(KB, StoreQuery(terms={"en": ["plain"]}))) == 1


def test_a_drop_leaves_no_trace(store: EmbeddedStore) -> None:
    store.replace(KB, [replacement("a", [f"{SECRET} text"] * 50, 1, SECRET)])
    store.drop(KB)
    found = bytes_of(store.directory)
    assert not [trace for trace in TRACES if trace in found]
    assert len(found) < 250_000


def test_file_names_tell_nothing_of_the_knowledge_base(store: EmbeddedStore) -> None:
    store.replace(SECRET, [replacement("a", ["word"])])
    names = " ".join(path.name for path in store.directory.iterdir())
    assert not [trace for trace in TRACES if trace.decode() in names]
    assert TRACES[0] not in bytes_of(store.directory)


def test_selecting_and_deleting_by_filter(store: EmbeddedStore) -> None:
    store.replace(KB, [replacement(name, ["one", "two"]) for name in ("a", "b", "c")])
    only = Comparison("externalId", Operator.IN, ("a", "c"))
    assert [found.document.external_id for found in store.select(KB, only)] == ["a", "c"]
    assert [len(found.nodes) for found in store.select(KB, None)] == [2, 2, 2]
    assert store.delete_matching(KB, only) == 2
    assert [found.document.external_id for found in store.select(KB, None)] == ["b"]
    assert store.delete_matching("none", only) == 0
    assert store.select("none", None) == []


def test_vectors_in_memory_follow_another_store_of_the_same_files(store: EmbeddedStore) -> None:
    """Appending, removing, compacting, and reading anew all lead to what the file has."""
    other = EmbeddedStore(store.directory)
    chance = random.Random(1)
    names: set[str] = set()
    for turn in range(120):
        changed = chance.sample(range(30), k=chance.randint(1, 4))
        if chance.random() < 0.3:
            other.delete(KB, [f"doc_{i}" for i in changed])
            names -= {str(i) for i in changed}
        elif chance.random() < 0.05:
            other.drop(KB)
            names.clear()
        else:
            made = [replacement(str(i), ["w"] * chance.randint(1, 3), turn) for i in changed]
            other.replace(KB, made)
            names |= {str(i) for i in changed}
        found = store.search(KB, StoreQuery(vector=unit(0), candidates=1_000))
        assert {candidate.document.external_id for candidate in found} == names
        assert len(found) == store.count(KB).nodes
        for candidate in found:
            expected = float(unit(candidate.ordinal) @ unit(0))
            assert candidate.cosine == pytest.approx(expected, abs=1e-5)
    other.close()


def test_a_log_that_no_longer_reaches_back_makes_everything_read_anew(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamaindex_reaktly.stores.rows._LOGGED_CHANGES", 3)
    store.replace(KB, [replacement("a", ["old"]), replacement("b", ["stays"])])
    store.search(KB, StoreQuery(vector=unit(0)))
    for version in range(2, 12):
        store.replace(KB, [replacement("a", ["new"], version)])
    loaded: list[int] = []
    whole = vector_view._loaded

    def counted(connection: sqlite3.Connection, state: vector_view.State) -> vector_view.VectorView:
        loaded.append(state.change)
        return whole(connection, state)

    monkeypatch.setattr(vector_view, "_loaded", counted)
    found = store.search(KB, StoreQuery(vector=unit(0)))
    assert sorted(candidate.text for candidate in found) == ["new", "stays"]
    assert len(loaded) == 1


def test_only_the_most_recently_used_bases_stay_open(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        import test_embedded_store as shared
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        store = shared.EmbeddedStore(Path(sys.argv[1]), max_open=8)
        for turn in range(2):
            for i in range(80):
                if turn == 0:
                    store.replace(f"kb{i}", [shared.replacement("a", [f"word{i}"])])
                [found] = store.search(
                    f"kb{i}", shared.StoreQuery(vector=shared.unit(0), terms={"en": [f"word{i}"]})
                )
                assert found.bm25 > 0
        store.close()
    """
    with _run(script, str(tmp_path / "index")) as run:
        assert run.wait(timeout=50) == 0


def test_the_vectors_of_all_bases_together_are_bounded_in_memory(tmp_path: Path) -> None:
    base = 10 * 8 * 4  # chunks, dimensions, bytes
    store = EmbeddedStore(tmp_path, max_vector_bytes=3 * base)
    names = [f"kb{i}" for i in range(8)]
    for turn in range(2):
        for name in names:
            if not turn:
                store.replace(name, [replacement("a", ["word"] * 10)])
            assert len(store.search(name, StoreQuery(vector=unit(0)))) == 10
            assert sum(store._bases.get(one).vector_bytes for one in names) <= 3 * base
            store._bases.get(name)  # the look at all of them was a use of each
    store.close()


def test_a_base_that_is_closed_in_use_finishes_its_work(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, max_open=1)
    for name in ("a", "b", "a"):
        store.replace(name, [replacement("x", ["word"])])
    assert store.count("b") == StoreCounts(documents=1, nodes=1)
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        store.count("a")


def test_a_file_of_a_later_release_is_refused(store: EmbeddedStore) -> None:
    store.replace(KB, [replacement("a", ["word"])])
    store.close()
    connection = sqlite3.connect(store.directory / file_name(KB))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unavailable, match="later release"):
        EmbeddedStore(store.directory).count(KB)


def test_a_damaged_file_is_reported_as_such(store: EmbeddedStore) -> None:
    store.directory.mkdir()
    (store.directory / file_name(KB)).write_bytes(b"not a database " * 1_000)
    with pytest.raises(Unavailable, match="damaged"):
        store.count(KB)


def test_a_base_that_stays_locked_is_reported_as_busy(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamaindex_reaktly.stores.schema.BUSY_TIMEOUT_S", 0.05)
    store.replace(KB, [replacement("a", ["word"])])
    other = sqlite3.connect(store.directory / file_name(KB), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy"):
        store.replace(KB, [replacement("b", ["word"])])
    other.execute("ROLLBACK")
    other.close()
    store.replace(KB, [replacement("b", ["word"])])
    assert store.count(KB).documents == 2


def test_a_file_that_was_never_finished_is_an_empty_base(store: EmbeddedStore) -> None:
    store.directory.mkdir()
    (store.directory / file_name(KB)).touch()
    assert store.search(KB, StoreQuery(vector=unit(0))) == []
    store.replace(KB, [replacement("a", ["word"])])
    assert store.count(KB).documents == 1


WRITER = """
    import sys
    from pathlib import Path
    import test_embedded_store as shared
    store = shared.EmbeddedStore(Path(sys.argv[1]))
    version = 1
    while len(sys.argv) < 3 or version <= int(sys.argv[2]):
        texts = ["word"] * (1 + version % 4)
        store.replace("kb", [shared.replacement(name, texts, version) for name in "ab"])
        print(version, flush=True)
        version += 1
"""


def _run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )


def _assert_whole(store: EmbeddedStore, query: StoreQuery) -> int:
    found = store.search(KB, query)
    versions = {candidate.document.version for candidate in found}
    assert len(versions) == 1
    [version] = versions
    for name in "ab":
        nodes = [c for c in found if c.document.external_id == name]
        assert len(nodes) == 1 + version % 4
    return version


def test_searches_see_whole_versions_while_another_process_writes(store: EmbeddedStore) -> None:
    writer = _run(WRITER, str(store.directory), "150")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "1\n"
    queries = [
        StoreQuery(vector=unit(0)),
        StoreQuery(terms={"en": ["word"]}),
        StoreQuery(vector=unit(0), terms={"en": ["word"]}),
    ]
    seen = set()
    while writer.poll() is None:
        seen |= {_assert_whole(store, query) for query in queries}
    assert writer.wait() == 0
    writer.stdout.close()
    assert _assert_whole(store, queries[0]) == 150
    assert len(seen) > 3


def test_a_killed_writer_leaves_whole_versions(store: EmbeddedStore) -> None:
    for _ in range(3):
        writer = _run(WRITER, str(store.directory))
        assert writer.stdout is not None
        acknowledged = 0
        while acknowledged < 20:
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        last = int(rest[-1]) if rest else acknowledged
        version = _assert_whole(store, StoreQuery(vector=unit(0), terms={"en": ["word"]}))
        assert version >= last
        assert store.count(KB) == StoreCounts(documents=2, nodes=2 * (1 + version % 4))
        store.drop(KB)


def test_a_full_disk_leaves_whole_versions_and_is_over_when_there_is_room(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says the same at its own limit of pages as at the disk's."""
    store.replace(KB, [replacement("a", ["one"]), replacement("b", ["two"])])
    connect = schema.connect

    def cramped(path: Path) -> sqlite3.Connection | None:
        connection = connect(path)
        if connection is not None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    big = [replacement(name, [f"word{i} " * 400 for i in range(50)], 2) for name in "ab"]
    monkeypatch.setattr(bases, "connect", cramped)
    full = EmbeddedStore(store.directory)
    for _ in range(3):
        with pytest.raises(StorageFull):
            full.replace(KB, big)
    assert {one.version for one in full.versions(KB)} == {1}
    full.close()
    monkeypatch.undo()
    store.replace(KB, big)
    assert store.count(KB) == StoreCounts(documents=2, nodes=100)
    assert store.problems(KB) == []
