"""Filling a data directory without the worker, with the worker's own parts.

For benchmarks that need a base in a certain state, not the making of it. What is in
registry and index afterwards is what a worker would have left there.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from benchmarks.postgresql_pages import Page
from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.ingestion.parsing import TransformationChain
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, PreparedNode, Preparer
from llamaindex_reaktly.knowledge_base import KnowledgeBase, models_directory
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.settings import Settings
from scripts.weaviate_server import WeaviateServer

DOCUMENTS_PER_CLAIM = 64
LEASE_SECONDS = 600.0

Embed = Callable[[Sequence[PreparedNode]], NDArray[np.float32]]


def open_knowledge_base(data_dir: Path, weaviate: WeaviateServer | None = None) -> KnowledgeBase:
    """The core on a data directory, and on a Weaviate, whatever the environment sets."""
    settings = Settings(_env_file=None, data_dir=data_dir, auto_create_knowledge_bases=True)
    if weaviate is not None:
        settings = settings.model_copy(
            update={
                "store": "weaviate",
                "weaviate_url": weaviate.url,
                "weaviate_grpc_url": weaviate.grpc_url,
                "weaviate_api_key": SecretStr(weaviate.key),
            }
        )
    return KnowledgeBase(settings)


def page_document(page: Page, knowledge_base_id: str) -> SourceDocument:
    """A page as the HTTP door makes it of `Page.item`."""
    item = page.item(knowledge_base_id)
    data = item["data"]
    assert isinstance(data, dict)
    return SourceDocument(
        key=DocumentKey(knowledge_base_id, f"integration:{item['integrationId']}", page.path),
        source_type=SourceType.ARTICLE,
        title=page.title,
        content=page.html,
        content_type=ContentType.HTML,
        url=data["url"],
    )


def cut(
    knowledge_base: KnowledgeBase, documents: Sequence[SourceDocument]
) -> Iterator[PreparedDocument]:
    """The documents, submitted, cleaned and cut as the worker does it, without vectors."""
    preparer = Preparer(knowledge_base, threads=1)
    chain = TransformationChain(models_directory(knowledge_base.settings))
    try:
        for claim in _claims(knowledge_base, documents):
            embedder = preparer.embedder_for(claim)
            parsed = chain.parse(claim.document_id, claim.document, embedder)
            yield preparer.complete(claim, embedder, parsed)
    finally:
        preparer.close()


def fill(knowledge_base: KnowledgeBase, documents: Sequence[SourceDocument], embed: Embed) -> int:
    """Index documents with the vectors that `embed` gives; how many chunks that were."""
    chunks = 0
    for prepared in cut(knowledge_base, documents):
        for node, vector in zip(prepared.nodes, embed(prepared.nodes), strict=True):
            node.vector = vector
        knowledge_base.store.replace(prepared.knowledge_base_id, [prepared.replacement()])
        knowledge_base.registry.queue.settle(
            [Verdict(prepared.claim, chunks=len(prepared.nodes))], {}
        )
        chunks += len(prepared.nodes)
    return chunks


def settle_without_index(
    knowledge_base: KnowledgeBase, documents: Sequence[SourceDocument]
) -> None:
    """Have documents completed in the registry alone, with nothing in the index.

    For re-pushes of what is unchanged: these read the registry and nothing else.
    """
    settled: list[Claim] = []
    for claim in _claims(knowledge_base, documents):
        settled.append(claim)
        if len(settled) == DOCUMENTS_PER_CLAIM:
            knowledge_base.registry.queue.settle([Verdict(c, chunks=1) for c in settled], {})
            settled = []
    knowledge_base.registry.queue.settle([Verdict(c, chunks=1) for c in settled], {})


def embedded_text(node: PreparedNode) -> str:
    """What the model is given of a chunk."""
    return node.chunk.embedded_text


def _claims(knowledge_base: KnowledgeBase, documents: Sequence[SourceDocument]) -> Iterator[Claim]:
    knowledge_base.submit(documents)
    while claims := knowledge_base.registry.queue.claim(
        limit=DOCUMENTS_PER_CLAIM, characters=10**9, lease_seconds=LEASE_SECONDS
    ):
        yield from claims
