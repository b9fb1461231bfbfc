"""An index that is not what was written to it is noticed and made again, and never answers."""

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    SearchMode,
    SearchRequest,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.errors import IndexDamaged, Unavailable
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.bases import file_name
from tests.upgrades.keep_release import WordVectors, claim, index

KB = "kb"
Answers = dict[str, list[list[str]]]
WORDS = [
    "anchor",
    "beacon",
    "capstan",
    "davit",
    "ensign",
    "fathom",
    "gangway",
    "halyard",
    "jetty",
    "keel",
    "ladder",
    "mast",
]


def document(number: int, edition: str = "first") -> SourceDocument:
    lines = [f"{WORDS[(number + i) % len(WORDS)]} {edition} {'filler ' * 60}" for i in range(4)]
    return SourceDocument(
        DocumentKey(KB, "integration:a", f"d{number}"),
        SourceType.PAGE,
        f"Page {number}",
        "\n".join(lines),
        attributes={"number": number},
    )


def opened(data_dir: Path) -> KnowledgeBase:
    settings = Settings(data_dir=data_dir)
    return KnowledgeBase(settings, embedder_loader=lambda _name: WordVectors())


def work(knowledge_base: KnowledgeBase) -> int:
    """What a worker does with what is queued; how many documents."""
    done = 0
    while claims := claim(knowledge_base):
        try:
            index(knowledge_base, claims)
        except Unavailable as error:
            knowledge_base.registry.queue.release(claims, error.message)
            continue
        done += len(claims)
    return done


def answers(knowledge_base: KnowledgeBase) -> Answers:
    return {
        f"{mode} {word}": sorted(
            [hit.key.external_id, str(hit.version), *(p.text for p in hit.passages)]
            for hit in knowledge_base.search(SearchRequest(KB, word, limit=5, mode=mode)).hits
        )
        for mode in SearchMode
        for word in WORDS[::3]
    }


def never_wrong(knowledge_base: KnowledgeBase, right: Answers) -> bool:
    """Ask; whether it answered. What it answers is right, or the test fails."""
    try:
        found = answers(knowledge_base)
    except Unavailable:
        return False
    assert found == right
    return True


@pytest.fixture(autouse=True)
def _again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamaindex_reaktly.watched_store.PAUSE_SECONDS", 0.0)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def knowledge_base(data_dir: Path) -> Iterator[KnowledgeBase]:
    with opened(data_dir) as knowledge_base:
        knowledge_base.registry.knowledge_bases.create(KB, embedder="minilm")
        knowledge_base.submit([document(number) for number in range(16)])
        work(knowledge_base)
        knowledge_base.submit([document(number, "second") for number in range(5)])
        work(knowledge_base)
        yield knowledge_base


def file_of(data_dir: Path) -> Path:
    return (data_dir / "index" / file_name(KB)).resolve()


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


def truncate_within_a_page(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3 + 1)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def delete(file: Path) -> None:
    file.unlink()


def delete_everything(file: Path) -> None:
    shutil.rmtree(file.parent)


def delete_the_link(file: Path) -> None:
    (file.parent / file_name(KB)).unlink()


def random_bytes(file: Path) -> None:
    overwrite(file, 0, random.Random(1).randbytes(file.stat().st_size))


def overwrite_the_header(file: Path) -> None:
    overwrite(file, 0, random.Random(2).randbytes(100))


def overwrite_the_schema(file: Path) -> None:
    overwrite(file, 100, bytes(3_996))


def overwrite_the_middle(file: Path) -> None:
    size = file.stat().st_size
    overwrite(file, size // 3, random.Random(3).randbytes(size // 3))


def change_texts(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"filler ", b"falter "))


def overwrite(file: Path, place: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(content)


DAMAGES = [
    truncate,
    truncate_within_a_page,
    empty,
    delete,
    delete_everything,
    delete_the_link,
    random_bytes,
    overwrite_the_header,
    overwrite_the_schema,
    overwrite_the_middle,
    change_texts,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_made_again_without_a_wrong_answer(
    knowledge_base: KnowledgeBase, data_dir: Path, damage: Callable[[Path], None]
) -> None:
    right = answers(knowledge_base)
    knowledge_base.close()
    damage(file_of(data_dir))
    with opened(data_dir) as again:
        assert not never_wrong(again, right)
        assert not never_wrong(again, right)
        assert "1 of the indexes" in again.readiness()["indexes"]
        statuses = again.list_documents(KB).items
        assert {status.state for status in statuses} == {DocumentState.QUEUED}
        assert all("damaged" in (status.error or "") for status in statuses)
        assert work(again) == 16
        assert never_wrong(again, right)
        assert again.readiness()["indexes"] == "ok"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_file_that_is_damaged_while_it_is_open_never_makes_an_answer_wrong(
    knowledge_base: KnowledgeBase, data_dir: Path, damage: Callable[[Path], None]
) -> None:
    """What a process still has in its memory may answer, as long as it is right."""
    right = answers(knowledge_base)
    with opened(data_dir) as other:
        damage(file_of(data_dir))
        for _ in range(2):
            never_wrong(knowledge_base, right)
            never_wrong(other, right)
        new = document(99)
        knowledge_base.submit([new])
        work(other)
        knowledge_base.delete([new.key])
        for _ in range(2):
            never_wrong(knowledge_base, right)
            never_wrong(other, right)
            work(other)
    knowledge_base.close()
    with opened(data_dir) as again:
        never_wrong(again, right)
        work(again)
        assert never_wrong(again, right)


def test_an_older_copy_of_the_file_is_noticed(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    knowledge_base.close()
    older = file_of(data_dir).read_bytes()
    with opened(data_dir) as between:
        between.submit([document(number, "third") for number in range(3)])
        work(between)
        right = answers(between)
    file_of(data_dir).write_bytes(older)
    with opened(data_dir) as again:
        assert not never_wrong(again, right)
        work(again)
        assert never_wrong(again, right)


def test_a_log_that_lost_its_last_writes_is_noticed(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    """SQLite drops what follows a damaged frame of its log without a word."""
    right = answers(knowledge_base)
    file = file_of(data_dir)
    log = Path(f"{file}-wal")
    copies = {path: path.read_bytes() for path in (file, log)}
    assert copies[log]
    knowledge_base.close()
    for path, content in copies.items():
        path.write_bytes(content)
    overwrite(log, len(copies[log]) // 2, bytes(64))
    with opened(data_dir) as again:
        assert not never_wrong(again, right)
        work(again)
        assert never_wrong(again, right)


def test_an_index_of_a_first_release_that_lacks_documents_is_noticed(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    """It remembered no mark, so the documents are counted once."""
    right = answers(knowledge_base)
    knowledge_base.registry.indexes.give_up(KB, epoch=0, reason="a test")
    work(knowledge_base)
    knowledge_base.registry.database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM indexes")
    )
    assert never_wrong(knowledge_base, right)
    mark = knowledge_base.registry.indexes.get(KB).mark
    assert mark == knowledge_base.store.mark(KB)
    knowledge_base.registry.database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM indexes")
    )
    delete(file_of(data_dir))
    assert not never_wrong(knowledge_base, right)
    work(knowledge_base)
    assert never_wrong(knowledge_base, right)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_page_never_makes_an_answer_wrong_or_a_failure(
    knowledge_base: KnowledgeBase, data_dir: Path, seed: int
) -> None:
    """Vectors only: what the full-text index holds is compared by `verify` alone."""
    chance = random.Random(seed)
    right = answers(knowledge_base)
    knowledge_base.close()
    file = file_of(data_dir)
    whole = file.read_bytes()
    pages = len(whole) // 4096
    for _ in range(12):
        page = chance.randrange(pages)
        place = page * 4096 + chance.randrange(4_000)
        overwrite(file, place, chance.randbytes(chance.choice([1, 64])))
        with opened(data_dir) as again:
            vector_right = {k: v for k, v in right.items() if k.startswith("vector")}
            try:
                found = answers(again)
            except Unavailable:
                pass
            else:
                assert {k: found[k] for k in vector_right} == vector_right
            work(again)
        file = file_of(data_dir)


def test_an_index_is_given_up_once_whoever_notices(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    right = answers(knowledge_base)
    knowledge_base.close()
    random_bytes(file_of(data_dir))
    with opened(data_dir) as one, opened(data_dir) as two:
        threads = [
            threading.Thread(target=never_wrong, args=(each, right)) for each in (one, two) * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.registry.indexes.get(KB).epoch == 1
        assert work(two) == 16
        assert never_wrong(one, right)
        assert never_wrong(two, right)
        assert one.registry.indexes.get(KB).epoch == 1
    assert len(list((data_dir / "index").glob("*.sqlite3"))) == 2  # the link and the file


def test_a_claim_from_before_the_index_was_given_up_is_fenced_off(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    right = answers(knowledge_base)
    edited = document(7, "third")
    knowledge_base.submit([edited])
    claims = claim(knowledge_base)
    with opened(data_dir) as other:
        assert other.rebuild(KB) == 16
        with pytest.raises(AssertionError):  # `index` sees to it that its verdict counts
            index(knowledge_base, claims)
        assert work(other) == 16
    found = answers(knowledge_base)
    assert found.keys() == right.keys()
    assert found != right
    statuses = knowledge_base.list_documents(KB).items
    assert {status.state for status in statuses} == {DocumentState.COMPLETED}


def test_a_disk_that_damages_everything_does_not_keep_a_worker_busy(
    knowledge_base: KnowledgeBase, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamaindex_reaktly.watched_store.PAUSE_SECONDS", 3600.0)
    right = answers(knowledge_base)
    for _ in range(3):
        delete(file_of(data_dir))
        assert not never_wrong(knowledge_base, right)
        work(knowledge_base)
        if not file_of(data_dir).exists():
            break
    assert knowledge_base.registry.indexes.get(KB).epoch == 1
    monkeypatch.setattr("llamaindex_reaktly.watched_store.PAUSE_SECONDS", 0.0)
    assert not never_wrong(knowledge_base, right)
    work(knowledge_base)
    assert never_wrong(knowledge_base, right)


def test_a_base_that_is_sound_is_searched_while_another_is_made_again(
    knowledge_base: KnowledgeBase, data_dir: Path
) -> None:
    other = replace(document(1), key=DocumentKey("other", "integration:a", "x"))
    knowledge_base.submit([other])
    work(knowledge_base)
    random_bytes(file_of(data_dir))
    knowledge_base.close()
    with opened(data_dir) as again:
        with pytest.raises(IndexDamaged):
            again.search(SearchRequest(KB, "anchor"))
        assert again.search(SearchRequest("other", "anchor")).hits
