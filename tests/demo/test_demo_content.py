import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from demo.content import CONTENT_DIR, DemoDocument, load_documents
from demo.questions import QUESTIONS, Question
from demo.tour import (
    DELETED_ID,
    NEW_COLOUR,
    NEW_PRICE,
    OLD_COLOUR,
    OLD_PRICE,
    UPDATED_ID,
    new_version,
)

DOCUMENTS = load_documents()
BY_ID = {document.external_id: document for document in DOCUMENTS}
HTML_DOCUMENTS = [document for document in DOCUMENTS if document.content_type == "text/html"]
VOID_ELEMENTS = {"meta", "link", "img", "input", "br", "hr"}
CHROME_ELEMENTS = {"header", "nav", "footer"}
NAMED_FIELDS = {
    "PRODUCT": {"price", "currency", "sku", "vendor", "inStock", "category", "tags"},
    "ARTICLE": {"author", "publishedAt", "category", "tags"},
    "PAGE": {"publishedAt", "category", "tags"},
    "SERVICE": {"price", "currency", "duration", "category", "tags"},
    "PERSON": {"role", "department", "expertise", "tags"},
}


class PageOutline(HTMLParser):
    """Checks that elements are nested, and collects their names and the text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.text: list[str] = []
        self.article_text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "article" in self.open:
            self.article_text.append(data)


def words(document: DemoDocument) -> int:
    if document.content_type == "text/html":
        return len(" ".join(PageOutline(document.content).article_text).split())
    return len(document.content.split())


def test_external_ids_titles_and_urls_are_unique() -> None:
    for values in (
        [document.external_id for document in DOCUMENTS],
        [document.title for document in DOCUMENTS],
        [document.url for document in DOCUMENTS],
    ):
        assert len(set(values)) == len(values)


def test_there_are_some_sixty_documents_over_all_five_source_types() -> None:
    assert 55 <= len(DOCUMENTS) <= 70
    kinds = Counter(document.source_type for document in DOCUMENTS)
    assert set(kinds) == set(NAMED_FIELDS)
    assert min(kinds.values()) >= 8


def test_most_documents_are_english_and_some_german_and_french() -> None:
    languages = Counter(document.language for document in DOCUMENTS)
    assert languages["de"] >= 5
    assert languages["fr"] >= 4
    assert languages["en"] > len(DOCUMENTS) * 0.7


def test_a_dozen_web_pages_and_some_markdown_are_among_them() -> None:
    kinds = Counter(document.content_type for document in DOCUMENTS)
    assert kinds["text/html"] >= 12
    assert kinds["text/markdown"] >= 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.external_id)
def test_a_document_has_a_text_of_reading_length(document: DemoDocument) -> None:
    assert 80 <= words(document) <= 600


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.external_id)
def test_a_document_has_the_named_fields_of_its_kind(document: DemoDocument) -> None:
    assert set(document.source_data) == NAMED_FIELDS[document.source_type]
    assert document.source_data["tags"]


@pytest.mark.parametrize("document", HTML_DOCUMENTS, ids=lambda document: document.external_id)
def test_a_web_page_is_well_formed_and_has_the_furniture_of_a_site(document: DemoDocument) -> None:
    page = PageOutline(document.content)
    assert page.open == []
    assert all(page.seen[element] for element in CHROME_ELEMENTS)
    assert 'id="cookie-banner"' in document.content
    assert f'<html lang="{document.language}">' in document.content
    assert f'<link rel="canonical" href="{document.url}">' in document.content
    assert document.title in "".join(page.article_text)


def test_tables_lists_and_code_occur_in_the_web_pages() -> None:
    seen = sum((PageOutline(document.content).seen for document in HTML_DOCUMENTS), Counter[str]())
    assert seen["table"] >= 8
    assert seen["ol"] >= 4
    assert seen["pre"] >= 1


def test_a_product_sheet_names_its_article_number_and_its_price() -> None:
    for document in DOCUMENTS:
        if document.source_type == "PRODUCT":
            assert str(document.source_data["sku"]) in document.content
            price = document.source_data["price"]
            assert isinstance(price, float)
            assert re.search(rf"(?<!\d){price:g}(0|\.00)?(?!\d)", document.content)


def test_every_file_of_the_content_is_in_the_manifest() -> None:
    manifest = json.loads((CONTENT_DIR / "manifest.json").read_text(encoding="utf-8"))
    listed = {CONTENT_DIR / entry["file"] for entry in manifest}
    found = {path for path in CONTENT_DIR.rglob("*") if path.is_file()}
    assert found - listed == {CONTENT_DIR / "manifest.json"}
    assert listed <= found


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    entry = {
        "externalId": "a",
        "sourceType": "PAGE",
        "language": "en",
        "title": "A",
        "url": "https://www.tarnholt.example/a",
        "file": "pages/a.txt",
        "sourceData": {},
    }
    (tmp_path / "manifest.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"a\.txt"):
        load_documents(tmp_path)


def test_an_ingest_item_has_the_documented_shape() -> None:
    item = BY_ID["axle-hitch-hx12"].ingest_item(knowledge_base_id="kb", integration_id="site")
    data = item.pop("data")
    assert item == {
        "integrationId": "site",
        "knowledgeBaseId": "kb",
        "sourceType": "PRODUCT",
        "externalId": "axle-hitch-hx12",
    }
    assert isinstance(data, dict)
    assert set(data) == {"title", "content", "contentType", "url", "sourceData"}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_a_question_is_answered_by_a_document_that_exists(question: Question) -> None:
    assert question.answered_by in BY_ID


def test_the_filtered_question_lists_what_satisfies_its_filters() -> None:
    [question] = [question for question in QUESTIONS if question.filters]
    satisfying = set()
    for document in DOCUMENTS:
        data = document.source_data
        price = data.get("price")
        if (
            document.source_type == "PRODUCT"
            and data["category"] == "trailers"
            and isinstance(price, float)
            and price < 400
            and data["inStock"] is True
        ):
            satisfying.add(document.external_id)
    assert question.only == frozenset(satisfying)


def test_the_new_version_differs_in_price_and_colour_only() -> None:
    old = BY_ID[UPDATED_ID]
    new = new_version(old)
    assert old.source_data["price"] == OLD_PRICE
    assert new.source_data["price"] == NEW_PRICE
    assert old.content.count(OLD_COLOUR) == 1
    assert OLD_COLOUR not in new.content
    assert f"£{OLD_PRICE:.2f}" not in new.content
    assert new.content.count(NEW_COLOUR) == 1
    assert len(new.content.splitlines()) == len(old.content.splitlines())


def test_the_deleted_document_is_not_needed_for_a_question() -> None:
    assert DELETED_ID in BY_ID
    assert DELETED_ID not in {question.answered_by for question in QUESTIONS}
