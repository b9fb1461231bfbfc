"""Our documents as LlamaIndex has them."""

from llama_index.core.schema import Document

from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.domain import SourceDocument

# What tells a model nothing about the content.
_BOOKKEEPING = ("documentId", "externalId", "sourceType", keys.CONTENT_TYPE, keys.LANGUAGE)


def llama_document(document: SourceDocument, document_id: str | None = None) -> Document:
    """The document with its content as it was declared, HTML included.

    Its id is its `documentId`, which follows from its key unless it has moved. Text and
    metadata hold what its owner declared, but no times and no versions: its hash changes when
    it does. `metadata["title"]` alone is embedded; a language model is shown all but the
    bookkeeping.
    """
    document_id = document_id or document.key.document_id
    declared = {
        "documentId": document_id,
        "externalId": document.key.external_id,
        "sourceType": document.source_type.value,
        keys.TITLE: document.title,
        keys.URL: document.url,
        "summary": document.summary,
        "tags": list(document.tags),
        keys.LANGUAGE: document.language,
        keys.CONTENT_TYPE: document.content_type and document.content_type.value,
    }
    # An attribute does not stand in for a field of its name.
    attributes = {key: value for key, value in document.attributes.items() if key not in declared}
    metadata = {**attributes, **{key: value for key, value in declared.items() if value}}
    return Document(
        id_=document_id,
        text=document.content,
        metadata=metadata,
        excluded_embed_metadata_keys=[key for key in metadata if key != keys.TITLE],
        excluded_llm_metadata_keys=[key for key in metadata if key in _BOOKKEEPING],
    )
