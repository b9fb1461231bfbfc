"""Our documents as LlamaIndex has them."""

from llama_index.core.schema import Document

from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.domain import FoundMetadata, SourceDocument

# What tells a model nothing about the content.
_BOOKKEEPING = ("documentId", "externalId", "sourceType", keys.CONTENT_TYPE, keys.LANGUAGE)


def llama_document(document: SourceDocument, found: FoundMetadata | None = None) -> Document:
    """The document with its content as it was declared, HTML included.

    Its id is its `documentId`. Text and metadata hold what its owner declared, and what was
    `found` where that was missing, but no times and no versions: its hash changes when it
    does. `metadata["title"]` alone is embedded; a language model is shown all but the
    bookkeeping.
    """
    found = found or FoundMetadata()
    declared = {
        "documentId": document.key.document_id,
        "externalId": document.key.external_id,
        "sourceType": document.source_type.value,
        keys.TITLE: document.title or found.title,
        keys.URL: document.url,
        "summary": document.summary or found.summary,
        "tags": list(document.tags or found.tags),
        keys.LANGUAGE: document.language,
        keys.CONTENT_TYPE: document.content_type and document.content_type.value,
    }
    # An attribute does not stand in for a field of its name.
    attributes = {key: value for key, value in document.attributes.items() if key not in declared}
    metadata = {**attributes, **{key: value for key, value in declared.items() if value}}
    return Document(
        id_=document.key.document_id,
        text=document.content,
        metadata=metadata,
        excluded_embed_metadata_keys=[key for key in metadata if key != keys.TITLE],
        excluded_llm_metadata_keys=[key for key in metadata if key in _BOOKKEEPING],
    )
