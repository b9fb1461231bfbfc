"""What a document itself tells of its title, summary and tags: no model, no network."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content.detection import detect_content_type
from llamaindex_reaktly.content.markdown import BlockKind
from llamaindex_reaktly.domain import ContentType, FoundMetadata
from llamaindex_reaktly.extractors import lead
from llamaindex_reaktly.extractors.keywords import keywords
from llamaindex_reaktly.extractors.prose import Passage, headings, passages

TITLE = "title"
SUMMARY = "summary"
TAGS = "tags"
FIELDS = frozenset({TITLE, SUMMARY, TAGS})

# How something was found.
BY_PAGE = "page"
BY_HEADING = "heading"
BY_FIRST_LINE = "first-line"
BY_FIRST_SENTENCE = "first-sentence"
BY_URL = "url"
BY_LEAD = "lead-sentences"
BY_COUNTING = "keywords"


@dataclass(frozen=True, slots=True)
class CleanText:
    """A cleaned document, with what is known of it.

    `title` is the declared one, or else `page_title`, which the page itself states, as it
    does `description`.
    """

    text: str
    language: str
    is_plain: bool = False
    title: str = ""
    page_title: str | None = None
    description: str | None = None
    url: str | None = None


class MetadataExtractor(Protocol):
    """Finds metadata that is missing; one with a language model behind it fits as well."""

    def extract(self, document: CleanText, wanted: Set[str]) -> FoundMetadata:
        """The fields of `wanted` (`title`, `summary`, `tags`), as far as they can be told."""
        ...


class LocalExtractor:
    """Title from the page or its beginning, summary by lead sentences, tags by counting."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    def extract(self, document: CleanText, wanted: Set[str]) -> FoundMetadata:
        """As `MetadataExtractor` has it. Linear in the text's first 60,000 characters."""
        parts = list(passages(document.text, is_plain=document.is_plain))
        methods: dict[str, str] = {}
        title, method = self._title(document, parts)
        named = document.title or (title if method not in (BY_FIRST_SENTENCE, BY_URL) else "")
        title = document.title or title
        if TITLE in wanted and title:
            methods[TITLE] = method
        summary = None
        if SUMMARY in wanted:
            summary, method = self._summary(document, parts, title)
            if summary:
                methods[SUMMARY] = method
        tags: tuple[str, ...] = ()
        if TAGS in wanted:
            tags = keywords(parts, document.language, title=named, analyzer=self._analyzer)
            if tags:
                methods[TAGS] = BY_COUNTING
        return FoundMetadata(title if TITLE in wanted else None, summary, tags, methods)

    @staticmethod
    def _title(document: CleanText, parts: list[Passage]) -> tuple[str, str]:
        if document.page_title:
            return document.page_title, BY_PAGE
        if not document.is_plain and (found := headings(document.text)):
            return lead.shortened(found[0], lead.TITLE_CHARACTERS), BY_HEADING
        if line := lead.first_line(document.text):
            return line, BY_FIRST_LINE
        if sentence := lead.first_sentence(parts, document.language):
            return sentence, BY_FIRST_SENTENCE
        return (document.url and lead.title_of_url(document.url)) or "", BY_URL

    @staticmethod
    def _summary(document: CleanText, parts: list[Passage], title: str) -> tuple[str | None, str]:
        if described := lead.description(document.description):
            return described, BY_PAGE
        if parts and parts[0].text.startswith(title) and parts[0].kind is BlockKind.PARAGRAPH:
            # The line that is the title is no sentence of what follows it.
            rest = parts[0].text[len(title) :].strip() if lead.first_line(document.text) else None
            if rest is not None:
                parts = [Passage(parts[0].kind, rest, parts[0].headings), *parts[1:]]
        return lead.summary(parts, document.language, title=title), BY_LEAD


def is_plain_text(text: str, declared: ContentType | None) -> bool:
    """Whether a cleaned text has no Markdown syntax to honour."""
    return detect_content_type(text, declared) is ContentType.TEXT
