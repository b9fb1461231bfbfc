"""Second names: which document a post is a version of, where it moves, who finds it."""

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    Receipt,
    SecondName,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.registry.acceptance import Restored
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import names

_BASES = itertools.count()


def page(
    url: str, second_name: str | None = None, content: str = "Text.", base: str = "kb"
) -> SourceDocument:
    return SourceDocument(
        DocumentKey(base, "pages", url),
        SourceType.PAGE,
        "Title",
        content,
        url=url,
        is_renamable=True,
        second_name=second_name,
    )


def post(registry: Registry, *pages: SourceDocument) -> list[Receipt]:
    return registry.acceptance.accept([(p, f"pages-{p.key.external_id}") for p in pages])


def finish(registry: Registry) -> None:
    claims = registry.queue.claim(limit=100, characters=10**9, lease_seconds=60)
    registry.queue.settle([Verdict(claim, 1) for claim in claims], {})


def held(registry: Registry, base: str = "kb") -> dict[str, tuple[str | None, str]]:
    """Each page by its url: its second name and its content."""
    pages: dict[str, tuple[str | None, str]] = {}
    for stored in registry.documents.contents(base, characters=10**6):
        document = stored.document
        assert document.key.external_id == document.url
        assert document.url not in pages, "two pages at one place"
        pages[document.url] = (document.second_name, document.content)
    return pages


def key_of(name: str, base: str = "kb") -> SecondName:
    return SecondName(base, "pages", name)


def test_a_known_second_name_with_another_external_id_moves_its_document(
    registry: Registry,
) -> None:
    (first,) = post(registry, page("/old", "k", "Old."))
    (second,) = post(registry, page("/new", "k", "New."))
    assert second.document_id == first.document_id
    assert second.version == first.version + 1
    assert held(registry) == {"/new": ("k", "New.")}
    assert [s.key.external_id for s in registry.documents.by_job("pages-/new", None)] == ["/new"]
    assert registry.documents.by_job("pages-/old", None) == []


def test_a_moved_document_is_replaced_where_it_is_now_without_its_second_name(
    registry: Registry,
) -> None:
    (first,) = post(registry, page("/old", "k"))
    post(registry, page("/new", "k"))
    (again,) = post(registry, page("/new", content="Edited."))
    assert again.document_id == first.document_id
    assert held(registry) == {"/new": ("k", "Edited.")}


def test_a_place_that_was_left_is_free_for_another_document(registry: Registry) -> None:
    (moved,) = post(registry, page("/old", "k", "Moved."))
    post(registry, page("/new", "k", "Moved."))
    (other,) = post(registry, page("/old", content="Another."))
    assert other.document_id != moved.document_id
    assert held(registry) == {"/new": ("k", "Moved."), "/old": (None, "Another.")}
    assert post(registry, page("/old", content="Another."))[0].unchanged
    assert post(registry, page("/new", "k", "Moved."))[0].unchanged
    assert registry.documents.bury_named([page("/old").key]) == [other.document_id]
    assert held(registry) == {"/new": ("k", "Moved.")}


def test_a_known_external_id_is_replaced_whatever_second_name_comes_with_it(
    registry: Registry,
) -> None:
    (first,) = post(registry, page("/a", "k1", "One."))
    (second,) = post(registry, page("/a", "k2", "Two."))
    assert second.document_id == first.document_id
    assert held(registry) == {"/a": ("k2", "Two.")}
    assert registry.documents.bury_named([key_of("k1")]) == []
    assert registry.documents.bury_named([key_of("k2")]) == [first.document_id]


def test_a_second_name_alone_that_changes_is_kept_though_the_document_is_unchanged(
    registry: Registry,
) -> None:
    (first,) = post(registry, page("/a", "k1"))
    finish(registry)
    (again,) = post(registry, page("/a", "k2"))
    assert again.unchanged
    assert again.version == first.version
    assert held(registry) == {"/a": ("k2", "Text.")}


def test_a_document_that_moves_onto_another_takes_its_place(registry: Registry) -> None:
    left, taken = post(registry, page("/a", "k1", "Mover."), page("/b", "k2", "Taken over."))
    finish(registry)
    (moved,) = post(registry, page("/b", "k1", "Mover."))
    assert moved.document_id == taken.document_id
    assert held(registry) == {"/b": ("k1", "Mover.")}
    status = registry.documents.status(left.document_id)
    assert status is not None
    assert status.state is DocumentState.DELETED
    assert registry.queue.unpurged() == [("kb", left.document_id)]
    assert registry.documents.bury_named([key_of("k2")]) == []


def test_swapped_second_names_of_a_batch_leave_both_documents_searchable(
    registry: Registry,
) -> None:
    first, second = post(registry, page("/a", "k1"), page("/b", "k2"))
    finish(registry)
    before = registry.visibility.visible_from([first.document_id, second.document_id])
    post(registry, page("/a", "k2"), page("/b", "k1"))
    assert held(registry) == {"/a": ("k2", "Text."), "/b": ("k1", "Text.")}
    assert registry.visibility.visible_from([first.document_id, second.document_id]) == before


def test_a_deleted_document_leaves_its_names(registry: Registry) -> None:
    post(registry, page("/a", "k"))
    post(registry, page("/b", "k"))
    (document_id,) = registry.documents.ids("kb")
    registry.documents.bury([document_id])
    with registry.database.read() as connection:
        assert connection.execute(sa.select(names)).all() == []
    assert registry.documents.bury_named([key_of("k"), page("/b").key]) == []
    (new,) = post(registry, page("/c", "k"))
    assert new.version == 1
    assert held(registry) == {"/c": ("k", "Text.")}


def test_names_of_a_knowledge_base_go_with_it(registry: Registry) -> None:
    for base in ("kb", "other"):
        registry.knowledge_bases.create(base, embedder="minilm")
        post(registry, page("/a", "k", base=base))
    registry.knowledge_bases.delete("kb")
    with registry.database.read() as connection:
        assert len(connection.execute(sa.select(names)).all()) == 1
    assert held(registry, "other") == {"/a": ("k", "Text.")}


def test_names_are_those_of_one_knowledge_base_and_one_source(registry: Registry) -> None:
    here = page("/a", "k")
    elsewhere = page("/b", "k", base="other")
    beside = replace(page("/c", "k"), key=DocumentKey("kb", "other pages", "/c"))
    ids = {receipt.document_id for receipt in post(registry, here, elsewhere, beside)}
    assert len(ids) == 3
    assert registry.documents.bury_named([key_of("k")]) == [here.key.document_id]


def test_what_was_moved_is_known_again_when_an_export_is_read_back(registry: Registry) -> None:
    (first,) = post(registry, page("/a", "k", "Old."))
    (now,) = registry.documents.statuses([first.document_id])
    exported = Restored(page("/a", "k", "Old."), "j", 1, now.updated_at.timestamp() - 60)
    post(registry, page("/b", "k", "New."))
    assert registry.acceptance.restore([exported]) == [None]  # it is newer here
    (receipt,) = registry.acceptance.restore([exported], overwrite=True)
    assert receipt is not None
    assert receipt.document_id == first.document_id
    assert held(registry) == {"/a": ("k", "Old.")}


# -- against a model ------------------------------------------------------------------


@dataclass
class Model:
    """Pages by url, as CONTRACTS has it: a known url is replaced, else a known key moves."""

    pages: dict[str, tuple[str | None, str]]

    def post(self, url: str, name: str | None, content: str) -> None:
        owner = next((u for u, (n, _) in self.pages.items() if name and n == name), None)
        kept = self.pages.get(url, (None, ""))[0]
        if owner is not None and owner != url:
            del self.pages[owner]
        self.pages[url] = (name or kept, content)

    def delete(self, *, url: str | None = None, name: str | None = None) -> None:
        for found in [u for u, (n, _) in self.pages.items() if u == url or (name and n == name)]:
            del self.pages[found]


_URLS = st.sampled_from(["/a", "/b", "/c"])
_NAMES = st.sampled_from(["k1", "k2", "k3"])
_POST = st.tuples(_URLS, st.none() | _NAMES, st.sampled_from(["One.", "Two."]))
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.lists(_POST, min_size=1, max_size=4)),
        st.tuples(st.just("url"), _URLS),
        st.tuples(st.just("name"), _NAMES),
        st.tuples(st.just("finish"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
@example(
    steps=[
        ("post", [("/a", "k1", "One.")]),
        ("post", [("/b", "k1", "One.")]),
        ("post", [("/a", "k2", "Two.")]),
        ("post", [("/c", "k2", "Two.")]),
        ("post", [("/a", None, "One."), ("/b", "k2", "Two.")]),
        ("url", "/b"),
    ]
)
def test_whatever_is_posted_and_deleted_the_pages_are_those_of_the_model(
    registry: Registry, steps: Sequence[tuple[str, object]]
) -> None:
    base = f"kb{next(_BASES)}"
    model = Model({})
    for kind, argument in steps:
        if kind == "post":
            assert isinstance(argument, list)
            post(registry, *(page(url, name, text, base) for url, name, text in argument))
            for url, name, text in argument:
                model.post(url, name, text)
        elif kind == "url":
            registry.documents.bury_named([page(str(argument), base=base).key])
            model.delete(url=str(argument))
        elif kind == "name":
            registry.documents.bury_named([key_of(str(argument), base)])
            model.delete(name=str(argument))
        else:
            finish(registry)
        assert held(registry, base) == model.pages


# -- at the same time -----------------------------------------------------------------

Posts = list[tuple[str, str | None, str]]


def at_once(*work: Callable[[], object]) -> None:
    """Run each in a thread, all begun together."""
    barrier = threading.Barrier(len(work))

    def begin(one: Callable[[], object]) -> None:
        barrier.wait(timeout=10)
        one()

    with ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(begin, one) for one in work]:
            future.result(timeout=30)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([("/a", "k2", "L."), ("/b", "k1", "L.")], [("/b", "k1", "R."), ("/a", "k2", "R.")]),
        ([("/a", "k2", "L."), ("/b", "k1", "L.")], [("/c", "k2", "R.")]),
        ([("/c", "k1", "L.")], [("/c", None, "R.")]),
        ([("/c", "k1", "L.")], [("/c", "k2", "R.")]),
        ([("/c", "k3", "L.")], [("/d", "k3", "R.")]),
    ],
)
def test_what_two_processes_post_at_once_ends_as_if_one_had_come_first(
    registry: Registry, registry_url: str, left: Posts, right: Posts
) -> None:
    start: Posts = [("/a", "k1", "A."), ("/b", "k2", "B.")]
    possible = []
    for order in ((left, right), (right, left)):
        model = Model({})
        for url, name, text in (*start, *order[0], *order[1]):
            model.post(url, name, text)
        possible.append(model.pages)
    with closing(Registry(registry_url)) as other:
        for number in range(10):
            base = f"kb{number}"
            first, one, two = ([page(*p, base=base) for p in some] for some in (start, left, right))
            post(registry, *first)
            at_once(partial(post, registry, *one), partial(post, other, *two))
            assert held(registry, base) in possible


def test_a_delete_by_a_name_that_moves_meanwhile_deletes_one_page_or_what_came_before(
    registry: Registry, registry_url: str
) -> None:
    with closing(Registry(registry_url)) as other:
        for number in range(20):
            base = f"kb{number}"
            post(registry, page("/a", "k", base=base), page("/b", "other", base=base))
            at_once(
                partial(post, registry, page("/b", "k", "Moved.", base=base)),
                partial(other.documents.bury_named, [key_of("k", base)]),
            )
            assert held(registry, base) in ({}, {"/b": ("k", "Moved.")})
