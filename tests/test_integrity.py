"""`doctor --deep`: the registry and the index, compared document by document."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import SearchMode, SearchRequest
from llamaindex_reaktly.integrity import Findings, compare, repair
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.stores.sqlite import sqlite3
from tests.test_damaged_index import KB, answers, document, file_of, opened, work
from tests.upgrades.keep_release import claim


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def knowledge_base(data_dir: Path) -> Iterator[KnowledgeBase]:
    with opened(data_dir) as knowledge_base:
        knowledge_base.registry.knowledge_bases.create(KB, embedder="minilm")
        knowledge_base.submit([document(number) for number in range(6)])
        work(knowledge_base)
        yield knowledge_base


def look(knowledge_base: KnowledgeBase) -> Findings:
    return compare(knowledge_base, KB, wait=lambda _seconds: None)


def mended(knowledge_base: KnowledgeBase) -> Findings:
    """What was found; afterwards nothing is."""
    right = answers(knowledge_base)
    findings = look(knowledge_base)
    repair(knowledge_base, KB, findings)
    work(knowledge_base)
    assert look(knowledge_base) == Findings()
    assert answers(knowledge_base) == right or findings != Findings()
    return findings


def id_of(number: int) -> str:
    return document(number).key.document_id


def change(data_dir: Path, statement: str, *parameters: object) -> None:
    """Damage the index behind the store's back, its checksums in order."""
    connection = sqlite3.connect(file_of(data_dir), isolation_level=None)
    connection.execute(statement, parameters)
    connection.close()


def test_an_index_that_is_as_it_should_be_is_left_alone(knowledge_base: KnowledgeBase) -> None:
    knowledge_base.submit([document(99)])
    knowledge_base.delete([document(5).key])
    assert look(knowledge_base) == Findings()
    assert repair(knowledge_base, KB, Findings()) == 0


def test_missing_documents_are_indexed_again(knowledge_base: KnowledgeBase) -> None:
    knowledge_base.store.delete(KB, [id_of(1), id_of(2)])
    assert sorted(mended(knowledge_base).missing) == sorted([id_of(1), id_of(2)])
    hits = knowledge_base.search(SearchRequest(KB, "beacon", mode=SearchMode.TEXT)).hits
    assert {hit.document_id for hit in hits} >= {id_of(1)}


def test_another_version_or_a_part_of_one_is_stale(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    write = knowledge_base.registry.database.write
    write(
        lambda connection: connection.exec_driver_sql(
            "UPDATE documents SET indexed_version = 3, version = 3 WHERE document_id = ?",
            (id_of(1),),
        )
    )
    write(
        lambda connection: connection.exec_driver_sql(
            "UPDATE documents SET chunks = 9 WHERE document_id = ?", (id_of(2),)
        )
    )
    assert sorted(mended(knowledge_base).stale) == sorted([id_of(1), id_of(2)])


def test_nodes_of_deleted_and_unknown_documents_are_removed(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    knowledge_base.registry.documents.bury([id_of(1)])
    assert look(knowledge_base) == Findings()  # a worker has it on its list
    knowledge_base.registry.queue.mark_purged([id_of(1)])
    knowledge_base.registry.database.write(
        lambda connection: connection.exec_driver_sql(
            "DELETE FROM documents WHERE document_id = ?", (id_of(2),)
        )
    )
    assert sorted(mended(knowledge_base).orphaned) == sorted([id_of(1), id_of(2)])
    assert {one.document_id for one in knowledge_base.store.versions(KB)} == {
        id_of(number) for number in (0, 3, 4, 5)
    }


def test_documents_of_a_silent_worker_are_told_of(knowledge_base: KnowledgeBase) -> None:
    knowledge_base.submit([document(1, "again")])
    (claimed,) = claim(knowledge_base)
    assert look(knowledge_base) == Findings()
    knowledge_base.registry.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE documents SET lease_until = 1")
    )
    assert look(knowledge_base).stuck == [claimed.document_id]


def test_what_changes_between_two_looks_is_no_finding(knowledge_base: KnowledgeBase) -> None:
    knowledge_base.store.delete(KB, [id_of(1)])

    def meanwhile(_seconds: float) -> None:
        knowledge_base.registry.documents.index_again([id_of(1)])
        work(knowledge_base)

    assert compare(knowledge_base, KB, wait=meanwhile) == Findings()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE field_values SET value = 7 WHERE field = 'sourceData.number'", "filtered"),
        ("DELETE FROM field_values WHERE document = 1", "filtered"),
        ("INSERT INTO term_index(term_index) VALUES ('delete-all')", ""),
        ("INSERT INTO term_index(rowid, tokens) VALUES (1, 'ffff')", "full-text"),
        ("UPDATE nodes SET terms = terms || ' more' WHERE id = 2", "terms"),
        ("UPDATE nodes SET text = 'other' WHERE id = 2", "row"),
        ("UPDATE vectors SET vector = zeroblob(64) WHERE node = 3", "vector"),
        ("UPDATE vectors SET vector = zeroblob(8) WHERE node = 3", "dimension"),
        ("UPDATE profiles SET counts = zeroblob(10) WHERE node = 3", "terms"),
        ("DELETE FROM nodes WHERE id = 4", "nodes"),
        ("UPDATE documents SET title = 'other' WHERE id = 1", "row"),
    ],
)
def test_damage_that_no_search_would_notice_is_found_and_mended(
    knowledge_base: KnowledgeBase, data_dir: Path, statement: str, words: str
) -> None:
    right = answers(knowledge_base)
    change(data_dir, statement)
    findings = look(knowledge_base)
    assert words in " ".join(findings.damage)
    assert repair(knowledge_base, KB, findings) == 6
    work(knowledge_base)
    assert look(knowledge_base) == Findings()
    assert answers(knowledge_base) == right
