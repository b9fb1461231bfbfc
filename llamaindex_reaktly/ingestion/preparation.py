"""From an accepted document to nodes that lack nothing but their vectors.

The steps are LlamaIndex transformations, run in this order: the HTML cleaner, the
section node parser, whatever an operator adds; then the embedding model, for those
nodes whose text the index does not hold yet.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    TextNode,
    TransformComponent,
)

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.content.html_cleaner import HtmlCleaner
from llamaindex_reaktly.content.language import detect_language
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_embedding import MiniLMEmbedding
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.knowledge_base import KnowledgeBase, models_directory
from llamaindex_reaktly.node_parser.section_node_parser import SectionNodeParser
from llamaindex_reaktly.registry.ingestion_queue import Claim
from llamaindex_reaktly.stores.protocol import IndexedDocument, IndexedNode, Replacement, Vector


@dataclass(slots=True)
class PreparedNode:
    """One chunk on its way into the index; `vector` is None until it is embedded."""

    node: TextNode
    embedder: str
    headings: tuple[str, ...]
    terms: str
    content_digest: str
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A claimed document, cleaned and cut."""

    claim: Claim
    document: IndexedDocument
    nodes: tuple[PreparedNode, ...]

    @property
    def knowledge_base_id(self) -> str:
        """Where it belongs."""
        return self.claim.document.key.knowledge_base_id

    @property
    def missing(self) -> list[PreparedNode]:
        """The nodes that have to be embedded; of those with one text only the first.

        Some pages say the same thousands of times, and each time costs 40 ms.
        """
        first: dict[str, PreparedNode] = {}
        for node in self.nodes:
            first.setdefault(node.content_digest, node)
        return [node for node in first.values() if node.vector is None]

    @property
    def is_embedded(self) -> bool:
        """Whether no node lacks its vector."""
        return not self.missing

    def replacement(self) -> Replacement:
        """The document as the store takes it."""
        vectors = {
            node.content_digest: node.vector for node in self.nodes if node.vector is not None
        }
        return Replacement(
            self.document,
            [
                IndexedNode(
                    node_id=prepared.node.node_id,
                    ordinal=ordinal,
                    text=prepared.node.text,
                    headings=prepared.headings,
                    terms=prepared.terms,
                    vector=vectors[prepared.content_digest],
                    content_digest=prepared.content_digest,
                )
                for ordinal, prepared in enumerate(self.nodes)
            ],
        )


class Preparer:
    """Runs the transformations for one worker, on one model. Close it when done."""

    def __init__(self, knowledge_base: KnowledgeBase, *, threads: int) -> None:
        self._knowledge_base = knowledge_base
        self._threads = threads
        self._analyzer = Analyzer()
        self._models: dict[str, _Model] = {}

    def prepare(self, claim: Claim) -> PreparedDocument:
        """Clean and cut a document, and find the vectors that it has already.

        Raises `NotFound` when its knowledge base is gone, `EmbedderMismatch` or
        `ModelMissing` when its vectors could not be compared with the base's.
        """
        declared = claim.document
        info = self._knowledge_base.registry.knowledge_bases.get(declared.key.knowledge_base_id)
        model = self._model(info.embedder)
        info.require(model.identity)
        if info.embedder_build is None:
            self._knowledge_base.registry.knowledge_bases.adopt(
                info.knowledge_base_id, model.identity
            )
        nodes = [
            node
            for node in run_transformations([_llama_document(claim)], model.transformations)
            if isinstance(node, TextNode)
        ]
        document = IndexedDocument(
            document_id=claim.document_id,
            version=claim.version,
            source=declared.key.source,
            external_id=declared.key.external_id,
            source_type=declared.source_type,
            title=declared.title,
            url=declared.url,
            summary=declared.summary,
            tags=declared.tags,
            language=next((str(node.metadata[keys.LANGUAGE]) for node in nodes), "en"),
            attributes=declared.attributes,
            updated_at=datetime.fromtimestamp(claim.updated_at, UTC),
        )
        known: Mapping[str, Vector] = {}
        if not declared.force_refresh:
            known = self._knowledge_base.store.known_vectors(
                info.knowledge_base_id, [claim.document_id]
            )
        return PreparedDocument(
            claim,
            document,
            tuple(self._prepared_node(node, document, info.embedder, known) for node in nodes),
        )

    def embed(self, nodes: Sequence[PreparedNode]) -> None:
        """Give these nodes their vectors, those of one model in one call."""
        by_model: dict[str, list[PreparedNode]] = {}
        for prepared in nodes:
            by_model.setdefault(prepared.embedder, []).append(prepared)
        for embedder, some in by_model.items():
            self._model(embedder).embedding([prepared.node for prepared in some])
            for prepared in some:
                prepared.vector = np.asarray(prepared.node.embedding, dtype=np.float32)
                prepared.node.embedding = None

    def close(self) -> None:
        """Release the models."""
        for model in self._models.values():
            model.minilm.close()

    def _model(self, embedder: str) -> "_Model":
        model = self._models.get(embedder)
        if model is None:
            directory = models_directory(self._knowledge_base.settings)
            model = self._models[embedder] = _load(embedder, directory, self._threads)
        return model

    def _prepared_node(
        self, node: TextNode, document: IndexedDocument, embedder: str, known: Mapping[str, Vector]
    ) -> PreparedNode:
        embedded_text = node.get_content(MetadataMode.EMBED)
        digest = hashlib.sha256(embedded_text.encode()).hexdigest()
        # Tags count for relevance (seed 002), so they are among the terms of every chunk.
        searched = "\n".join((embedded_text, *document.tags))
        return PreparedNode(
            node=node,
            embedder=embedder,
            headings=tuple(node.metadata[keys.HEADINGS]),
            terms=" ".join(self._analyzer.terms(searched, document.language)),
            content_digest=digest,
            vector=known.get(digest),
        )


@dataclass(frozen=True, slots=True)
class _Model:
    """A loaded model with the transformations that depend on it."""

    minilm: MiniLM
    embedding: MiniLMEmbedding
    transformations: tuple[TransformComponent, ...]

    @property
    def identity(self) -> EmbedderIdentity:
        return self.minilm.identity


def _load(embedder: str, directory: Path, threads: int) -> _Model:
    if embedder != "minilm":
        raise ConfigurationError(f"there is no embedder {embedder!r} for ingestion")
    minilm = MiniLM.load(directory / embedder, threads=threads)
    parser = SectionNodeParser(tokenizer=minilm, max_tokens=minilm.max_tokens)
    return _Model(
        minilm,
        MiniLMEmbedding.sharing(minilm),
        (HtmlCleaner(), LanguageDetector(), parser),
    )


class LanguageDetector(TransformComponent):
    """Sets the `language` of documents that declare none, by their text."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:  # noqa: ARG002 (LlamaIndex's signature)
        """The same documents, each with a language."""
        for node in nodes:
            if not node.metadata.get(keys.LANGUAGE):
                text = node.get_content(metadata_mode=MetadataMode.NONE)
                node.metadata[keys.LANGUAGE] = detect_language(text)
        return list(nodes)


def _llama_document(claim: Claim) -> Document:
    declared = claim.document
    metadata = {
        keys.TITLE: declared.title,
        keys.URL: declared.url,
        keys.LANGUAGE: declared.language,
        keys.CONTENT_TYPE: None if declared.content_type is None else declared.content_type.value,
    }
    return Document(
        id_=claim.document_id,
        text=declared.content,
        metadata={key: value for key, value in metadata.items() if value is not None},
    )
