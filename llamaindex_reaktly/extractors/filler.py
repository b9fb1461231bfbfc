"""The extractor as a LlamaIndex transformation."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document, MetadataMode, TransformComponent
from pydantic import Field, PrivateAttr, SkipValidation

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.content.language import DEFAULT_LANGUAGE
from llamaindex_reaktly.domain import ContentType, FoundMetadata, SourceDocument
from llamaindex_reaktly.extractors.local import (
    FIELDS,
    SUMMARY,
    TAGS,
    TITLE,
    CleanText,
    LocalExtractor,
    MetadataExtractor,
    is_plain_text,
)


def missing_metadata(document: SourceDocument) -> frozenset[str]:
    """What an extractor has to find for a document; nothing where its owner wants nothing."""
    if not document.fill_missing:
        return frozenset()
    declared = {TITLE: document.title, SUMMARY: document.summary, TAGS: document.tags}
    return frozenset(name for name, value in declared.items() if not value)


class MetadataFiller(TransformComponent):
    """Gives cleaned documents the title that they lack, and finds what else is missing.

    For documents one at a time: what was found of the last one is in `found`.
    """

    extractor: SkipValidation[MetadataExtractor] = Field(
        default_factory=lambda: LocalExtractor(Analyzer()), exclude=True
    )
    wanted: frozenset[str] = FIELDS
    _found: FoundMetadata | None = PrivateAttr(default=None)

    @property
    def found(self) -> FoundMetadata | None:
        """What was found; None before the first document."""
        return self._found

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:  # noqa: ARG002 (LlamaIndex's signature)
        """The same documents, each with a title where one could be found."""
        return [self._filled(node) for node in nodes]

    def _filled(self, node: BaseNode) -> BaseNode:
        if not isinstance(node, Document):
            return node
        known = node.metadata
        title = str(known.get(keys.TITLE) or "")
        declared = known.get(keys.CONTENT_TYPE)
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        self._found = found = self.extractor.extract(
            CleanText(
                text,
                str(known.get(keys.LANGUAGE) or DEFAULT_LANGUAGE),
                is_plain=is_plain_text(text, ContentType(declared) if declared else None),
                # The cleaner has set the page's own where none was declared.
                title="" if TITLE in self.wanted else title,
                page_title=title or None,
                description=known.get(keys.DESCRIPTION),
                url=known.get(keys.URL),
            ),
            self.wanted,
        )
        if found.title:
            known[keys.TITLE] = found.title
        return node
