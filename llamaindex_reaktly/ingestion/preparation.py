"""From an accepted document to nodes that lack nothing but their vectors, and to those.

What the index holds of a document already is not embedded again; the rest is embedded
by the LlamaIndex embedding of the knowledge base's model.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from llamaindex_reaktly.domain import FoundMetadata
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_embedding import MiniLMEmbedding
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.ingestion.parsing import ParsedChunk, ParsedDocument
from llamaindex_reaktly.knowledge_base import KnowledgeBase, models_directory
from llamaindex_reaktly.registry.claims import Claim
from llamaindex_reaktly.stores.protocol import IndexedDocument, IndexedNode, Replacement, Vector

# Vectors of documents that wait for their store; 384 numbers each are 12 MB.
MOST_KEPT = 8192


@dataclass(slots=True)
class PreparedNode:
    """One chunk on its way into the index; `vector` is None until it is embedded."""

    chunk: ParsedChunk
    embedder: str
    content_digest: str
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A claimed document, cleaned and cut."""

    claim: Claim
    document: IndexedDocument
    nodes: tuple[PreparedNode, ...]
    found: FoundMetadata | None = None

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
                    node_id=prepared.chunk.node_id,
                    ordinal=ordinal,
                    text=prepared.chunk.text,
                    headings=prepared.chunk.headings,
                    terms=prepared.chunk.terms,
                    vector=vectors[prepared.content_digest],
                    content_digest=prepared.content_digest,
                )
                for ordinal, prepared in enumerate(self.nodes)
            ],
        )


class Preparer:
    """What comes before and after parsing, for one worker. Close it when done."""

    def __init__(self, knowledge_base: KnowledgeBase, *, threads: int) -> None:
        self._knowledge_base = knowledge_base
        self._threads = threads
        self._models: dict[str, _Model] = {}
        self._kept: OrderedDict[tuple[str, str], Vector] = OrderedDict()

    def embedder_for(self, claim: Claim) -> str:
        """The embedder of a claim's knowledge base, loaded.

        Raises `NotFound` when the base is gone, `EmbedderMismatch` or `ModelMissing` when
        its vectors could not be compared with the base's.
        """
        bases = self._knowledge_base.registry.knowledge_bases
        info = bases.get(claim.document.key.knowledge_base_id)
        model = self._model(info.embedder)
        info.require(model.identity)
        if info.embedder_build is None:
            bases.adopt(info.knowledge_base_id, model.identity)
        return info.embedder

    def complete(self, claim: Claim, embedder: str, parsed: ParsedDocument) -> PreparedDocument:
        """The parsed document with the vectors that it has in the index already."""
        declared = claim.document
        found = parsed.found or FoundMetadata()
        document = IndexedDocument(
            document_id=claim.document_id,
            version=claim.version,
            source=declared.key.source,
            external_id=declared.key.external_id,
            source_type=declared.source_type,
            title=declared.title or found.title or "",
            url=declared.url,
            summary=declared.summary or found.summary,
            tags=declared.tags or found.tags,
            language=parsed.language,
            attributes=declared.attributes,
            updated_at=datetime.fromtimestamp(claim.updated_at, UTC),
        )
        known: Mapping[str, Vector] = {}
        if not declared.force_refresh:
            known = self._knowledge_base.store.known_vectors(
                declared.key.knowledge_base_id, [claim.document_id]
            )
        nodes = [PreparedNode(chunk, embedder, _digest(chunk)) for chunk in parsed.chunks]
        for node in nodes:
            node.vector = known.get(node.content_digest)
            if node.vector is None and not declared.force_refresh:
                node.vector = self._kept.get((embedder, node.content_digest))
        return PreparedDocument(claim, document, tuple(nodes), parsed.found)

    def embed(self, nodes: Sequence[PreparedNode]) -> None:
        """Give these nodes their vectors, those of one model in one call."""
        by_model: dict[str, list[PreparedNode]] = {}
        for prepared in nodes:
            by_model.setdefault(prepared.embedder, []).append(prepared)
        for embedder, some in by_model.items():
            vectors = self._model(embedder).embedding.get_text_embedding_batch(
                [prepared.chunk.embedded_text for prepared in some]
            )
            for prepared, vector in zip(some, vectors, strict=True):
                prepared.vector = np.asarray(vector, dtype=np.float32)

    def keep_vectors(self, documents: Sequence[PreparedDocument]) -> None:
        """Keep what could not be written, so that the next try embeds nothing again."""
        for node in (node for document in documents for node in document.nodes):
            if node.vector is not None:
                self._kept[node.embedder, node.content_digest] = node.vector
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def close(self) -> None:
        """Release the models."""
        for model in self._models.values():
            model.minilm.close()

    def _model(self, embedder: str) -> "_Model":
        model = self._models.get(embedder)
        if model is None:
            if embedder != "minilm":
                raise ConfigurationError(f"there is no embedder {embedder!r} for ingestion")
            directory = models_directory(self._knowledge_base.settings)
            minilm = MiniLM.load(directory / embedder, threads=self._threads)
            model = self._models[embedder] = _Model(minilm, MiniLMEmbedding.sharing(minilm))
        return model


@dataclass(frozen=True, slots=True)
class _Model:
    """A loaded model with its LlamaIndex face."""

    minilm: MiniLM
    embedding: MiniLMEmbedding

    @property
    def identity(self) -> EmbedderIdentity:
        return self.minilm.identity


def _digest(chunk: ParsedChunk) -> str:
    return hashlib.sha256(chunk.embedded_text.encode()).hexdigest()
