"""Whose a knowledge base is, and what it has of a source."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import NotFound
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.settings import Settings
from tests.registry.test_names import at_once


def test_a_knowledge_base_is_the_first_organisations_that_names_it(registry: Registry) -> None:
    bases = registry.knowledge_bases
    bases.create("kb", embedder="minilm")
    bases.create("owned", embedder="minilm", organisation="org-1")
    assert bases.bind("kb", "org-1")
    assert bases.bind("kb", "org-1")
    assert not bases.bind("kb", "org-2")
    assert not bases.bind("owned", "org-2")
    assert not bases.bind("nobody's", "org-1")
    assert bases.get("kb").organisation == "org-1"


def test_of_two_organisations_that_name_it_at_once_one_has_it(
    registry: Registry, registry_url: str
) -> None:
    with closing(Registry(registry_url)) as other:
        for number in range(10):
            registry.knowledge_bases.create(f"kb{number}", embedder="minilm")
            won: list[bool] = []

            def name(one: Registry, organisation: str, base: str, won: list[bool]) -> None:
                won.append(one.knowledge_bases.bind(base, organisation))

            at_once(
                partial(name, registry, "org-1", f"kb{number}", won),
                partial(name, other, "org-2", f"kb{number}", won),
            )
            assert sorted(won) == [False, True]


def test_holdings_count_what_is_there_of_one_source(registry: Registry) -> None:
    for base in ("kb", "empty", "out of reach"):
        registry.knowledge_bases.create(base, embedder="minilm")
    keys = [DocumentKey("kb", "pages", str(n)) for n in range(3)]
    keys.append(DocumentKey("kb", "other", "x"))
    for key in keys:
        url = f"https://example.com/{key.external_id}"
        page = SourceDocument(key, SourceType.PAGE, "Title", "Text.", url=url)
        registry.acceptance.accept([(page, "job")])
    registry.documents.bury([keys[2].document_id])
    held = registry.knowledge_bases.holdings("pages", ["kb", "empty", "not there"])
    assert [(h.knowledge_base.knowledge_base_id, h.documents, h.url) for h in held] == [
        ("empty", 0, None),
        ("kb", 2, "https://example.com/1"),
    ]
    assert len(registry.knowledge_bases.holdings("pages")) == 3


def test_entering_creates_a_knowledge_base_only_where_a_document_may(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, auto_create_knowledge_bases=True)
    with KnowledgeBase(settings) as knowledge_base:
        with pytest.raises(NotFound) as unknown:
            knowledge_base.enter("kb", "org-1")
        knowledge_base.enter("kb", "org-1", create=True)
        with pytest.raises(NotFound) as foreign:
            knowledge_base.enter("kb", "org-2", create=True)
        assert foreign.value.message == unknown.value.message
