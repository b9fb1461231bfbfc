"""Accepting, deleting and looking up documents."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.domain import (
    Choice,
    DocumentKey,
    DocumentState,
    Origin,
    Outcome,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.errors import Conflict, InvalidRequest
from llamaindex_reaktly.registry.acceptance import declared, own_hash
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import documents, payloads

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Title", "Some text.")


def accept(registry: Registry, *documents: SourceDocument) -> list[bool]:
    receipts = registry.acceptance.accept([(d, f"int-{d.key.external_id}") for d in documents])
    return [receipt.unchanged for receipt in receipts]


def finish(registry: Registry, error: str | None = None) -> None:
    claims = registry.queue.claim(limit=100, characters=10**9, lease_seconds=60)
    registry.queue.settle([Verdict(claim, 1, error) for claim in claims], {})


def status_of(registry: Registry, key: DocumentKey = KEY) -> DocumentState:
    status = registry.documents.status(key.document_id)
    assert status is not None
    return status.state


def test_a_new_document_is_queued_and_can_be_fetched(registry: Registry) -> None:
    assert accept(registry, DOCUMENT) == [False]
    stored = registry.documents.fetch(KEY.document_id)
    assert stored is not None
    assert stored.document == DOCUMENT
    assert stored.status.state is DocumentState.QUEUED


def test_everything_that_was_declared_comes_back(registry: Registry) -> None:
    full = replace(
        DOCUMENT,
        url="https://example.com/a",
        summary="In short",
        tags=("one", "two"),
        language="de",
        attributes={"price": 1.5, "colours": ["red"], "nested": {"deep": None}},
        client_hash="h",
    )
    accept(registry, full)
    stored = registry.documents.fetch(KEY.document_id)
    assert stored is not None
    assert stored.document == full


def test_the_same_document_again_is_unchanged_whatever_its_progress(registry: Registry) -> None:
    accept(registry, DOCUMENT)
    assert accept(registry, DOCUMENT) == [True]
    finish(registry)
    assert accept(registry, DOCUMENT) == [True]
    status = registry.documents.status(KEY.document_id)
    assert status is not None
    assert (status.state, status.last_outcome) == (DocumentState.COMPLETED, Outcome.UNCHANGED)
    assert accept(registry, DOCUMENT) == [True]


def test_unchanged_is_judged_against_the_wanted_version_not_the_indexed_one(
    registry: Registry,
) -> None:
    accept(registry, DOCUMENT)
    finish(registry)
    accept(registry, replace(DOCUMENT, content="B"))
    assert accept(registry, DOCUMENT) == [False]
    stored = registry.documents.fetch(KEY.document_id)
    assert stored is not None
    assert (stored.document.content, stored.status.version) == ("Some text.", 3)


def test_a_failed_document_never_counts_as_unchanged(registry: Registry) -> None:
    accept(registry, DOCUMENT)
    finish(registry, error="bad content")
    assert status_of(registry) is DocumentState.FAILED
    assert accept(registry, DOCUMENT) == [False]


def test_a_deleted_document_never_counts_as_unchanged(registry: Registry) -> None:
    accept(registry, DOCUMENT)
    registry.documents.bury([KEY.document_id])
    assert accept(registry, DOCUMENT) == [False]
    assert status_of(registry) is DocumentState.QUEUED


def test_force_refresh_overrides_both_hashes(registry: Registry) -> None:
    hashed = replace(DOCUMENT, client_hash="h")
    accept(registry, hashed)
    assert accept(registry, replace(hashed, force_refresh=True)) == [False]


@pytest.mark.requirement("R-11")
@pytest.mark.parametrize(
    ("first", "second", "content", "unchanged"),
    [
        ("h", "h", "other text", True),
        ("h", "i", "Some text.", False),
        (None, None, "Some text.", True),
        (None, None, "other text", False),
        ("h", None, "Some text.", True),
        (None, "h", "Some text.", True),
        (None, "h", "other text", False),
    ],
)
def test_a_clients_hash_is_compared_with_a_clients_hash_and_ours_with_ours(
    registry: Registry, first: str | None, second: str | None, content: str, unchanged: bool
) -> None:
    accept(registry, replace(DOCUMENT, client_hash=first))
    pushed = replace(DOCUMENT, client_hash=second, content=content)
    assert accept(registry, pushed) == [unchanged]


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Other"},
        {"url": "https://example.com"},
        {"tags": ("x",)},
        {"attributes": {"price": 2}},
        {"summary": "s"},
        {"source_type": SourceType.PAGE},
    ],
)
def test_a_change_of_any_declared_field_is_a_change(
    registry: Registry, change: dict[str, object]
) -> None:
    accept(registry, DOCUMENT)
    assert accept(registry, replace(DOCUMENT, **change)) == [False]  # type: ignore[arg-type]


def test_the_last_of_the_same_document_in_one_batch_wins(registry: Registry) -> None:
    assert accept(registry, DOCUMENT, replace(DOCUMENT, content="last")) == [False, False]
    stored = registry.documents.fetch(KEY.document_id)
    assert stored is not None
    assert stored.document.content == "last"


def test_a_receipts_version_is_that_of_the_row_also_where_a_batch_holds_a_document_twice(
    registry: Registry,
) -> None:
    accept(registry, DOCUMENT)
    batch = [(replace(DOCUMENT, content=text), "int-a") for text in ("B", "C")]
    receipts = registry.acceptance.accept(batch)
    status = registry.documents.status(KEY.document_id)
    assert status is not None
    assert [receipt.version for receipt in receipts] == [2, 3]
    assert status.version == 3


def test_back_to_the_first_within_one_batch_is_the_first(registry: Registry) -> None:
    accept(registry, DOCUMENT, replace(DOCUMENT, content="B"), DOCUMENT)
    stored = registry.documents.fetch(KEY.document_id)
    assert stored is not None
    assert stored.document.content == "Some text."


def test_a_deleted_document_is_gone_from_fetch_and_listing_but_its_status_says_so(
    registry: Registry,
) -> None:
    accept(registry, DOCUMENT)
    assert registry.documents.bury([KEY.document_id]) == [KEY.document_id]
    assert registry.documents.bury([KEY.document_id]) == []
    assert registry.documents.fetch(KEY.document_id) is None
    assert registry.documents.page(knowledge_base_ids=["kb"]).items == []
    assert status_of(registry) is DocumentState.DELETED


def test_versions_from_before_a_delete_stay_invisible_after_the_document_came_back(
    registry: Registry,
) -> None:
    accept(registry, DOCUMENT)
    finish(registry)
    assert registry.visibility.visible_from([KEY.document_id]) == {KEY.document_id: 1}
    registry.documents.bury([KEY.document_id])
    assert registry.visibility.visible_from([KEY.document_id]) == {}
    accept(registry, DOCUMENT)
    assert registry.visibility.visible_from([KEY.document_id]) == {KEY.document_id: 2}


@pytest.mark.parametrize("registry_url", ["sqlite"], indirect=True)
def test_a_deleted_documents_text_is_in_no_file_of_the_registry(
    registry: Registry, tmp_path: Path
) -> None:
    secret = "unmistakable" * 2_000
    private = replace(
        DOCUMENT, title="Quixotic", content=secret, attributes={"note": "zanzibar"}, tags=("xylem",)
    )
    accept(registry, private)
    finish(registry)
    words = [b"unmistakable", b"Quixotic", b"zanzibar", b"xylem"]
    files = [tmp_path / "registry.sqlite", tmp_path / "registry.sqlite-wal"]
    assert any(words[0] in file.read_bytes() for file in files)
    registry.documents.bury([KEY.document_id])
    assert registry.database.scrub()
    for file in files:
        assert not [word for word in words if word in file.read_bytes()]


def test_a_deleted_documents_or_bases_payload_is_not_kept(registry: Registry) -> None:
    def payloads_kept() -> int:
        with registry.database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(payloads)).scalar_one()

    registry.knowledge_bases.create("kb", embedder="minilm")
    other = replace(DOCUMENT, key=replace(KEY, external_id="b"))
    accept(registry, DOCUMENT, other)
    registry.documents.bury([KEY.document_id])
    assert payloads_kept() == 1
    registry.knowledge_bases.delete("kb")
    assert payloads_kept() == 0


def test_an_unchanged_push_is_recorded_once_and_only_where_indexing_is_done(
    registry: Registry,
) -> None:
    def outcomes() -> list[Outcome | None]:
        statuses = registry.documents.statuses([KEY.document_id, other.key.document_id])
        return [status.last_outcome for status in sorted(statuses, key=lambda s: s.key.external_id)]

    other = replace(DOCUMENT, key=replace(KEY, external_id="b"))
    accept(registry, DOCUMENT)
    finish(registry)
    accept(registry, other)
    assert accept(registry, DOCUMENT, other) == [True, True]
    assert outcomes() == [Outcome.UNCHANGED, None]
    # A batch that is not unchanged as a whole records it too.
    accept(registry, replace(DOCUMENT, content="B"))
    finish(registry)
    assert outcomes() == [Outcome.INDEXED, Outcome.INDEXED]
    pushed = accept(registry, replace(DOCUMENT, content="B"), replace(other, content="B"))
    assert pushed == [True, False]
    assert outcomes()[0] is Outcome.UNCHANGED


def test_an_unchanged_push_is_recorded_for_documents_of_any_version(registry: Registry) -> None:
    first, second = DOCUMENT, replace(DOCUMENT, key=replace(KEY, external_id="b"), content="B")
    accept(registry, replace(second, content="A"))
    accept(registry, first, second)
    finish(registry)
    assert accept(registry, first, second) == [True, True]
    statuses = registry.documents.statuses([first.key.document_id, second.key.document_id])
    assert {status.version for status in statuses} == {1, 2}
    assert {status.last_outcome for status in statuses} == {Outcome.UNCHANGED}


@pytest.mark.parametrize("text", ["word " * 200_000, '\U0001f642"\n' * 200_000])
def test_the_hash_of_a_long_text_is_that_of_all_of_it(text: str) -> None:
    document = replace(DOCUMENT, content=text, url="https://example.com/a")
    whole = ["ARTICLE", "Title", text, None, document.url, declared(document)]
    assert own_hash(document) == hashlib.sha256(orjson.dumps(whole)).hexdigest()


@pytest.mark.parametrize("bases", [None, ["kb2", "kb0", "none", "kb1"]])
def test_a_listing_gives_every_document_once_over_its_pages(
    registry: Registry, bases: list[str] | None
) -> None:
    keys = [DocumentKey(f"kb{i % 3}", "integration:int", str(i)) for i in range(20)]
    accept(registry, *(replace(DOCUMENT, key=key) for key in keys))
    seen: list[str] = []
    cursor = None
    while True:
        page = registry.documents.page(knowledge_base_ids=bases, cursor=cursor, limit=3)
        seen += [item.document_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(key.document_id for key in keys)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "e30", "WzEsMl0", "é", "\x00"])
def test_a_cursor_that_no_listing_gave_out_is_refused(registry: Registry, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        registry.documents.page(knowledge_base_ids=None, cursor=cursor)
    assert caught.value.field == "cursor"


def test_a_job_id_that_two_documents_share_finds_both(registry: Registry) -> None:
    keys = [DocumentKey("kb", "integration:a", "b-c"), DocumentKey("kb", "integration:a-b", "c")]
    registry.acceptance.accept([(replace(DOCUMENT, key=key), "a-b-c") for key in keys])
    found = registry.documents.by_job("a-b-c", None)
    assert {status.key for status in found} == set(keys)
    assert registry.documents.by_job("a-b-c", ["other"]) == []


def test_only_failed_documents_can_be_retried(registry: Registry) -> None:
    accept(registry, DOCUMENT)
    with pytest.raises(Conflict):
        registry.documents.retry_one(KEY.document_id)
    finish(registry, error="bad")
    assert registry.documents.retry_one(KEY.document_id).state is DocumentState.QUEUED


_PART = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(_PART, _PART, _PART), min_size=2, max_size=2, unique=True))
def test_two_different_keys_never_have_one_document_id(
    parts: list[tuple[str, str, str]],
) -> None:
    first, second = (DocumentKey(*part) for part in parts)
    assert first.document_id != second.document_id


@given(_PART, _PART, _PART)
def test_a_boundary_moved_between_two_parts_makes_another_key(a: str, b: str, c: str) -> None:
    assert DocumentKey("kb", a, b + c).document_id != DocumentKey("kb", a + b, c).document_id
    assert DocumentKey(a + b, "s", c).document_id != DocumentKey(a, "s", b + c).document_id


def test_a_deleted_or_rebuilt_document_is_no_requests_any_more(registry: Registry) -> None:
    deleted = replace(DOCUMENT, key=replace(KEY, external_id="b"))
    origin = Origin("r-1", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    registry.acceptance.accept([(DOCUMENT, "j"), (deleted, "j")], origin)
    assert registry.indexes.give_up("kb", epoch=0, reason="lost") == 2
    registry.documents.bury([deleted.key.document_id])
    with registry.database.read() as connection:
        rows = connection.execute(sa.select(documents.c.request_id, documents.c.traceparent))
        assert [tuple(row) for row in rows] == [(None, None)] * 2


def test_a_retry_makes_the_document_the_retrying_requests(registry: Registry) -> None:
    registry.acceptance.accept([(DOCUMENT, "j")], Origin("r-1"))
    claims = registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    assert claims[0].origin == Origin("r-1")
    registry.queue.settle([Verdict(claims[0], error="bad")], {})
    registry.documents.retry_one(KEY.document_id, Origin("r-2"))
    (again,) = registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    assert again.origin == Origin("r-2")


def test_a_listing_is_in_the_order_of_bytes_whatever_the_databases_language(
    registry: Registry,
) -> None:
    bases = ["Zebra", "ape", "Über", "zoo", "10", "9", "a-b", "ab", "a b"]
    accept(registry, *(replace(DOCUMENT, key=replace(KEY, knowledge_base_id=b)) for b in bases))
    seen: list[str] = []
    cursor = None
    for _ in bases:
        page = registry.documents.page(knowledge_base_ids=None, cursor=cursor, limit=1)
        seen += [item.key.knowledge_base_id for item in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == sorted(bases, key=str.encode)


def test_a_source_of_more_documents_than_one_statement_takes_is_deleted_and_purged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamaindex_reaktly.registry.slices.IDS_PER_STATEMENT", 7)
    keys = [replace(KEY, external_id=str(number)) for number in range(20)]
    accept(registry, *(replace(DOCUMENT, key=key) for key in keys))
    ids = registry.documents.ids("kb", KEY.source)
    assert sorted(ids) == sorted(key.document_id for key in keys)
    assert sorted(registry.documents.bury(ids)) == sorted(ids)
    assert len(registry.queue.unpurged()) == 20
    registry.queue.mark_purged(ids)
    assert registry.queue.unpurged() == []


def test_a_knowledge_base_of_many_documents_goes_whole(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamaindex_reaktly.registry.knowledge_bases.IDS_PER_STATEMENT", 7)
    for base in ("kb", "other"):
        registry.knowledge_bases.create(base, embedder="minilm")
        keys = [replace(KEY, knowledge_base_id=base, external_id=str(n)) for n in range(20)]
        accept(registry, *(replace(DOCUMENT, key=key) for key in keys))
    registry.knowledge_bases.delete("kb")
    assert registry.knowledge_bases.find("kb") is None
    assert registry.documents.page(knowledge_base_ids=["kb"], include_deleted=True).items == []
    assert len(registry.documents.ids("other")) == 20


def a_page(external_id: str, url: str, *, base: str = "kb", source: str = "s") -> SourceDocument:
    key = DocumentKey(base, source, external_id)
    return replace(DOCUMENT, key=key, title=f"Title of {external_id}", url=url)


def test_what_is_chosen_by_id_url_or_title_is_buried_in_its_base_and_source(
    registry: Registry,
) -> None:
    here = [a_page("a", "/1"), a_page("b", "/1"), a_page("c", "/3"), a_page("d", "/4")]
    elsewhere = [a_page("a", "/1", base="other"), a_page("a", "/1", source="t")]
    accept(registry, *here, *elsewhere)
    choice = Choice(
        "kb",
        frozenset([here[2].key.document_id, elsewhere[0].key.document_id]),
        "s",
        frozenset(["/1", "/9"]),
        frozenset(["Title of c", "title of d"]),
    )
    buried = registry.documents.bury_chosen(choice)
    assert set(buried) == {document.key.document_id for document in here[:3]}
    assert registry.documents.bury_chosen(choice) == []
    assert {status_of(registry, one.key) for one in (here[3], *elsewhere)} == {DocumentState.QUEUED}


def test_what_was_replaced_since_it_was_looked_up_is_buried_only_if_still_as_chosen(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, stays = a_page("a", "/1"), a_page("b", "/1")
    accept(registry, moved, stays)
    write = registry.database.write

    def late(operation: Any, locks: Any = (), realm: Any = None) -> Any:
        monkeypatch.undo()
        accept(registry, replace(moved, url="/2"))
        return write(operation, locks, realm)

    monkeypatch.setattr(registry.database, "write", late)
    buried = registry.documents.bury_chosen(Choice("kb", source="s", urls=frozenset(["/1"])))
    assert buried == [stays.key.document_id]
    assert status_of(registry, moved.key) is DocumentState.QUEUED
