"""Documents for LlamaIndex out of a knowledge base and out of exports."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.schema import MetadataMode

from llamaindex_reaktly import (
    HtmlCleaner,
    KnowledgeBase,
    MiniLMEmbedding,
    QuantPagesReader,
    ReaktlyReader,
    SectionNodeParser,
    Settings,
    SourceDocument,
)
from llamaindex_reaktly.domain import DocumentKey, SourceType
from llamaindex_reaktly.errors import InvalidRequest, UnknownKnowledgeBase
from reaktly_api.quant.requests import page_key

TENTS = DocumentKey("outdoor", "integration:handbook", "tents").document_id
STOVES = DocumentKey("outdoor", "integration:handbook", "stoves").document_id


def test_documents_come_as_they_were_accepted(knowledge_base: KnowledgeBase) -> None:
    documents = {one.doc_id: one for one in ReaktlyReader(knowledge_base, "outdoor").load_data()}
    assert len(documents) == 3
    tents = documents[TENTS]
    assert tents.text.startswith("# Drying\n\nDry the tent")
    assert tents.metadata == {
        "price": 0,
        "section": "camp",
        "documentId": TENTS,
        "externalId": "tents",
        "sourceType": "ARTICLE",
        "title": "Caring for a tent",
        "url": "https://example.com/tents",
        "tags": ["care"],
    }
    assert "url" not in documents[STOVES].metadata  # but an attribute of that name


def test_the_title_alone_is_embedded_and_ids_are_not_shown_to_a_model(
    knowledge_base: KnowledgeBase,
) -> None:
    documents = {one.doc_id: one for one in ReaktlyReader(knowledge_base, "outdoor").load_data()}
    tents = documents[TENTS]
    assert tents.get_metadata_str(MetadataMode.EMBED) == "title: Caring for a tent"
    shown = tents.get_metadata_str(MetadataMode.LLM)
    assert "url: https://example.com/tents" in shown
    assert "section: camp" in shown
    assert TENTS not in shown
    assert "externalId" not in shown


async def test_async_reads_what_sync_reads(knowledge_base: KnowledgeBase) -> None:
    reader = ReaktlyReader(knowledge_base, "outdoor")
    assert await reader.aload_data() == reader.load_data()


def test_the_hash_changes_with_the_document_and_not_with_a_push(tmp_path: Path) -> None:
    key = DocumentKey("kb", "integration:int", "a")

    def pushed(content: str, *, force_refresh: bool = False) -> str:
        document = SourceDocument(
            key, SourceType.PAGE, "Title", content, force_refresh=force_refresh
        )
        core.submit([document])
        (read,) = ReaktlyReader(core, "kb").load_data()
        assert read.doc_id == key.document_id
        return read.hash

    with KnowledgeBase(Settings(data_dir=tmp_path)) as core:
        first = pushed("One.")
        assert pushed("One.", force_refresh=True) == first
        assert pushed("Two.") != first


def test_deleted_documents_are_not_read_and_an_unknown_base_is_an_error(tmp_path: Path) -> None:
    key = DocumentKey("kb", "integration:int", "a")
    with KnowledgeBase(Settings(data_dir=tmp_path)) as core:
        core.submit([SourceDocument(key, SourceType.PAGE, "Title", "One.")])
        core.delete([key])
        assert ReaktlyReader(core, "kb").load_data() == []
        with pytest.raises(UnknownKnowledgeBase):
            ReaktlyReader(core, "nowhere").load_data()


def test_an_index_of_llama_index_is_made_from_it_and_refreshed_by_it(
    knowledge_base: KnowledgeBase,
) -> None:
    reader = ReaktlyReader(knowledge_base, "outdoor")
    index = VectorStoreIndex.from_documents(
        reader.load_data(),
        transformations=[HtmlCleaner(), SectionNodeParser()],
        embed_model=MiniLMEmbedding(),
    )
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("How do I look after leather?")
    assert best.metadata["title"] == "Walking boots"
    assert best.metadata["url"] == "https://example.com/boots"
    assert "<p>" not in best.text
    assert index.refresh_ref_docs(reader.load_data()) == [False, False, False]


# -- Quant pages -----------------------------------------------------------------------

PAGES: list[dict[str, Any]] = [
    {
        "url": "/node/1",
        "key": "node:1:en",
        "title": "Opening hours",
        "content": "<h1>Opening hours</h1><p>From nine to six.</p>",
        "contentType": "text/html",
        "language": "en",
        "summary": "When we are there.",
        "tags": ["visit"],
        "metadata": {"section": "about", "title": "an attribute"},
        "fetchedAt": "2026-01-01T00:00:00Z",
    },
    # As PHP writes it, and as a page that declares nothing.
    {"url": "/node/2", "title": None, "content": "Nothing else.", "metadata": []},
    {"url": "/node/3", "content": "Plain.", "metadata": None},
]


@pytest.mark.parametrize("export", [PAGES, {"pages": PAGES}])
def test_pages_are_read_from_a_request_s_body_or_a_bare_list(
    tmp_path: Path, export: object
) -> None:
    file = tmp_path / "pages.json"
    file.write_text(json.dumps(export))
    documents = QuantPagesReader(site_id="site").load_data(file)
    assert [one.metadata["url"] for one in documents] == ["/node/1", "/node/2", "/node/3"]
    assert documents[0].text == PAGES[0]["content"]
    assert documents[0].metadata == {
        "section": "about",
        "documentId": documents[0].doc_id,
        "externalId": "/node/1",
        "sourceType": "PAGE",
        "title": "Opening hours",
        "url": "/node/1",
        "summary": "When we are there.",
        "tags": ["visit"],
        "language": "en",
        "content_type": "text/html",
    }


def test_a_page_has_the_id_that_the_site_s_knowledge_base_gives_it(tmp_path: Path) -> None:
    file = tmp_path / "pages.json"
    file.write_text(json.dumps(PAGES))
    documents = QuantPagesReader(site_id="site").load_data(file)
    assert [one.doc_id for one in documents] == [
        page_key("site", page["url"]).document_id for page in PAGES
    ]


def test_of_a_url_that_comes_twice_the_last_page_counts(tmp_path: Path) -> None:
    file = tmp_path / "pages.json"
    file.write_text(
        json.dumps([{"url": "/a", "content": "Old."}, *PAGES, {"url": "/a", "content": "New."}])
    )
    documents = QuantPagesReader().load_data(file)
    assert len(documents) == 4
    assert {one.metadata["url"]: one.text for one in documents}["/a"] == "New."


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('{"pages": [{"url": "/a", "content": "Fine."}, {"url": "/b"}]}', "pages.1.content"),
        ('[{"url": "", "content": "A"}]', "pages.0.url"),
        ('{"pages": ', "the file"),
        ('{"documents": []}', "pages"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, written: str, problem: str) -> None:
    file = tmp_path / "pages.json"
    file.write_text(written)
    with pytest.raises(InvalidRequest, match=f"^{problem}: "):
        QuantPagesReader().load_data(file)


def test_llama_index_s_directory_reader_reads_with_it(tmp_path: Path) -> None:
    (tmp_path / "pages.json").write_text(json.dumps(PAGES))
    reader = SimpleDirectoryReader(tmp_path, file_extractor={".json": QuantPagesReader()})
    documents = reader.load_data()
    assert [one.metadata["url"] for one in documents] == ["/node/1", "/node/2", "/node/3"]
    assert documents[0].metadata["file_name"] == "pages.json"
    assert "pages.json" not in documents[0].get_metadata_str(MetadataMode.EMBED)


def test_it_is_serialised_as_llama_index_s_components_are() -> None:
    reader = QuantPagesReader(site_id="site")
    assert QuantPagesReader.from_dict(reader.to_dict()).site_id == "site"
