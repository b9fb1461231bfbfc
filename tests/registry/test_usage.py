"""Quotas hold exactly, on each database, whoever comes at the same time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from llamaindex_reaktly.domain import DocumentKey, Receipt, SourceDocument, SourceType
from llamaindex_reaktly.errors import QuotaExceeded
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.usage import Quota, Usage

CLIENTS = 16


def document(name: str, content: str = "12345", base: str = "kb") -> SourceDocument:
    key = DocumentKey(base, "integration:int", name)
    return SourceDocument(key, SourceType.PAGE, name, content)


def page(url: str, content: str, key: str | None = None) -> SourceDocument:
    """A document that can move."""
    return SourceDocument(
        DocumentKey("kb", "quant", url),
        SourceType.PAGE,
        url,
        content,
        is_renamable=True,
        second_name=key,
    )


def jobs(documents: Sequence[SourceDocument]) -> list[tuple[SourceDocument, str]]:
    return [(one, f"int-{one.key.external_id}") for one in documents]


def accept(registry: Registry, *documents: SourceDocument) -> list[Receipt]:
    return registry.acceptance.accept(jobs(documents))


def fitting(registry: Registry, *documents: SourceDocument) -> list[bool]:
    receipts = registry.acceptance.accept_fitting(jobs(documents))
    return [receipt is not None for receipt in receipts]


def usage(registry: Registry) -> Usage:
    return registry.usage.of(["kb"])["kb"]


@pytest.fixture
def limited(registry_url: str) -> Iterator[Registry]:
    """Three documents a knowledge base, and 20 characters."""
    with closing(Registry(registry_url, Quota(3, 20))) as registry:
        for base in ("kb", "other"):
            registry.knowledge_bases.ensure(base, embedder="minilm")
        yield registry


def test_usage_counts_what_is_not_deleted(limited: Registry) -> None:
    accept(limited, document("a"), document("b", "ä" * 7), document("c", base="other"))
    assert limited.usage.of() == {"kb": Usage(2, 12), "other": Usage(1, 5)}
    assert limited.usage.of(["kb", "nobody's"]) == {"kb": Usage(2, 12)}
    accept(limited, document("a", "1"))
    limited.documents.bury([document("b").key.document_id])
    assert usage(limited) == Usage(1, 1)


def test_one_document_too_many_is_refused_and_nothing_of_its_batch_stays(
    limited: Registry,
) -> None:
    accept(limited, document("a"), document("b"))
    with pytest.raises(QuotaExceeded, match="3 documents and 20 characters"):
        accept(limited, document("c"), document("d"))
    assert usage(limited) == Usage(2, 10)
    accept(limited, document("c"))
    accept(limited, document("d", base="other"))
    limited.documents.bury([document("a").key.document_id])
    accept(limited, document("d"))
    assert usage(limited) == Usage(3, 15)


def test_what_fits_of_a_batch_is_kept(limited: Registry) -> None:
    batch = [document("a", "1" * 12), document("b", "1" * 9), document("c"), document("d", "")]
    assert fitting(limited, *batch, document("e", "")) == [True, False, True, True, False]
    assert usage(limited) == Usage(3, 17)


def test_replacing_counts_the_difference(limited: Registry) -> None:
    accept(limited, document("a", "1" * 10), document("b", "1" * 10))
    with pytest.raises(QuotaExceeded):
        accept(limited, document("a", "1" * 11))
    accept(limited, document("a", "1" * 5))
    accept(limited, document("b", "1" * 15))
    assert usage(limited) == Usage(2, 20)
    # The same twice in a batch: each time the difference.
    assert fitting(limited, document("a", ""), document("a", "1" * 6)) == [True, False]


def test_what_makes_no_fuller_passes_where_the_limit_was_lowered(
    limited: Registry, registry_url: str
) -> None:
    accept(limited, document("a", "1" * 10), document("b", "1" * 10))
    with closing(Registry(registry_url, Quota(1, 5))) as lowered:
        assert fitting(lowered, document("a", "1" * 9), document("c", "")) == [True, False]
        (again,) = accept(lowered, document("b", "1" * 10))
        assert again.unchanged
    assert usage(limited) == Usage(2, 19)


def test_a_page_that_moves_is_no_new_one(limited: Registry) -> None:
    accept(limited, page("/a", "1" * 10, "k1"), page("/b", "1" * 5), page("/c", ""))
    assert fitting(limited, page("/moved", "1" * 10, "k1")) == [True]
    assert fitting(limited, page("/new", "1", "k2")) == [False]
    assert usage(limited) == Usage(3, 15)
    # What had no room has left no name behind.
    limited.documents.bury_named([page("/b", "").key])
    assert fitting(limited, page("/other", "1", "k2")) == [True]


@pytest.mark.parametrize("is_whole", [True, False], ids=["one by one", "in batches"])
def test_never_more_and_never_less_than_the_limit_whoever_comes_at_once(
    registry_url: str, is_whole: bool
) -> None:
    limit = 50
    with ExitStack() as stack:
        # Several processes, as far as the database can tell.
        registries = [
            stack.enter_context(closing(Registry(registry_url, Quota(limit)))) for _ in range(2)
        ]
        registries[0].knowledge_bases.ensure("kb", embedder="minilm")

        def push(client: int) -> int:
            registry = registries[client % 2]
            names = [f"{client}-{number}" for number in range(8)]
            if not is_whole:
                return sum(fitting(registry, *map(document, names)))
            accepted = 0
            for name in names:
                try:
                    accept(registry, document(name))
                    accepted += 1
                except QuotaExceeded:
                    pass
            return accepted

        with ThreadPoolExecutor(CLIENTS) as pool:
            accepted = sum(pool.map(push, range(CLIENTS)))
        assert accepted == usage(registries[0]).documents == limit
