"""Reading the documents of a knowledge base."""

from collections.abc import Iterator

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.readers.documents import llama_document

# What is held in memory at a time, but for a larger document.
_BATCH_CHARACTERS = 1_000_000


class ReaktlyReader(BaseReader):
    """Reads the documents of a knowledge base as they were accepted, whether indexed or not.

    Lazy: some are in memory at a time. Ids are stable and the hash changes with content or
    metadata only, so that `refresh_ref_docs` and docstores see what changed. HTML stays
    HTML: put `HtmlCleaner` before a node parser. Reading raises `UnknownKnowledgeBase`.
    """

    def __init__(self, knowledge_base: KnowledgeBase, knowledge_base_id: str) -> None:
        self._registry = knowledge_base.registry
        self._knowledge_base_id = knowledge_base_id

    def lazy_load_data(self) -> Iterator[Document]:
        """The documents by id, each as it stands when its turn comes."""
        self._registry.knowledge_bases.get(self._knowledge_base_id)
        for stored in self._registry.documents.contents(
            self._knowledge_base_id, characters=_BATCH_CHARACTERS
        ):
            yield llama_document(stored.shown, stored.status.document_id)
