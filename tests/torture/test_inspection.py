"""The reckoning finds what is planted behind the product's back, and nothing else.

The faults are put into the files of a real server that is at rest.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.stores.sqlite import sqlite3
from torture.documents import Name, version_word
from torture.fleet import Fleet, Shape
from torture.inspection import inspect, settle
from torture.oracle import Fault, Oracle
from torture.schedule import Request, Verb
from torture.workload import Writer

NAMES = {
    word: Name("kb", "int", word)
    for word in ("good", "lost", "stale", "doubled", "torn", "undeleted", "deleted", "stuck")
}
STAGED_DELETES = ("undeleted", "deleted")


def version(word: str, number: int) -> str:
    return version_word("planted", word, number)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, Shape(apis=1, workers=1, supervised=0)) as fleet:
        fleet.start()
        yield fleet


@pytest.mark.timeout(120)
def test_planted_faults_are_found_each_by_its_name_and_no_other(fleet: Fleet) -> None:
    oracle = Oracle()
    with fleet.connection() as connection:
        writer = Writer(oracle, connection)
        for number in (1, 2):
            posted = {name: version(word, number) for word, name in NAMES.items()}
            answer = writer.carry_out(Request(Verb.INGEST_BULK, dict(posted), 0.0, 0.0))
            assert answer is not None
            assert answer.status == 200
            settle(fleet, oracle)
        gone = {NAMES[word]: None for word in STAGED_DELETES}
        writer.carry_out(Request(Verb.DELETE_BULK, dict(gone), 0.0, 0.0))
    inspect(fleet, oracle)
    assert oracle.violations() == []

    # A worker that lives would put some of it right.
    fleet.workers[0].stop()
    plant(fleet.data_dir)
    settle(fleet, oracle, within=0.5)
    inspect(fleet, oracle, traces=False)

    found: dict[str, set[Fault]] = {}
    for violation in oracle.violations():
        subject = f"{violation.subject} "
        (word,) = [w for w, name in NAMES.items() if f"'{w}'" in subject] or [str(violation)]
        found.setdefault(word, set()).add(violation.fault)
    assert {
        word: fault in found.get(word, ()) for word, fault in EXPECTED.items()
    } == dict.fromkeys(EXPECTED, True), found
    assert found.keys() == EXPECTED.keys()


EXPECTED = {
    "lost": Fault.MISSING,
    "stale": Fault.WRONG_VERSION,
    "doubled": Fault.DOUBLED,
    "torn": Fault.DOUBLED,
    "undeleted": Fault.UNDELETED,
    "stuck": Fault.STUCK,
}


def plant(data_dir: Path) -> None:
    registry = sqlite3.connect(data_dir / "registry.sqlite", isolation_level=None)

    def change(statement: str, *parameters: str) -> None:
        assert registry.execute(statement, parameters).rowcount == 1

    change("DELETE FROM documents WHERE external_id = 'lost'")
    # All of the older version, as if the newer one had never come.
    for column, table in (("title", "documents"), ("content", "payloads")):
        change(
            f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE document_id = "
            "(SELECT document_id FROM documents WHERE external_id = 'stale')",
            version("stale", 2),
            version("stale", 1),
        )
    change("UPDATE documents SET state = 'processing' WHERE external_id = 'stuck'")
    change("UPDATE documents SET state = 'completed' WHERE external_id = 'undeleted'")
    columns = [row[1] for row in registry.execute("PRAGMA table_info(documents)")]
    others = ", ".join(name for name in columns if name != "document_id")
    change(
        f"INSERT INTO documents (document_id, {others}) "
        f"SELECT 'doc_of_a_twin', {others} FROM documents WHERE external_id = 'doubled'"
    )
    registry.close()
    # A knowledge base's name is a link to its file.
    (index,) = (path for path in (data_dir / "index").glob("*.sqlite3") if path.is_symlink())
    store = sqlite3.connect(index, isolation_level=None)
    torn = store.execute(
        "UPDATE nodes SET text = text || ? WHERE text LIKE ?",
        (f" edition {version('torn', 1)}", f"%{version('torn', 2)}%"),
    )
    assert torn.rowcount
    store.close()
