"""The cleaner as a LlamaIndex transformation."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document, TransformComponent

from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.content.detection import detect_content_type
from llamaindex_reaktly.content.html import clean_html
from llamaindex_reaktly.domain import ContentType


class HtmlCleaner(TransformComponent):
    """Turns HTML documents into Markdown ones; others pass as the same objects.

    A document is HTML if `metadata["content_type"]` says so, or, where that is
    absent, by the rule of `detect_content_type`. The cleaned document keeps its
    id, its metadata and its relationships; title, language and description are
    added from the page where they are missing.
    """

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:  # noqa: ARG002 (LlamaIndex's signature)
        """The documents, cleaned where they are HTML, in the same order."""
        return [_cleaned(node) for node in nodes]


def _cleaned(node: BaseNode) -> BaseNode:
    if not isinstance(node, Document):
        return node
    declared = node.metadata.get(keys.CONTENT_TYPE)
    known = ContentType(declared) if declared else None
    if detect_content_type(node.text, known) is not ContentType.HTML:
        return node
    url = node.metadata.get(keys.URL)
    page = clean_html(node.text, url=url if isinstance(url, str) else None)
    found = {
        keys.TITLE: page.title,
        keys.LANGUAGE: page.language,
        keys.DESCRIPTION: page.description,
    }
    missing = {key: value for key, value in found.items() if value and not node.metadata.get(key)}
    cleaned = node.model_copy(
        update={
            "metadata": {
                **node.metadata,
                **missing,
                keys.CONTENT_TYPE: ContentType.MARKDOWN.value,
            }
        }
    )
    cleaned.set_content(page.markdown)
    return cleaned
