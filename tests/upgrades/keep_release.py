"""Keeps a data directory as this version of the code writes it, for later ones to open.

    .venv/bin/python -m tests.upgrades.keep_release

Run it once for each released schema, on the code of that release, and never again: the
archive in `releases/` is named after the schema, and an archive that is there is not
touched. It holds documents in every state, their index, and `expected.json`: what this
version answers from them. Its vectors are of no model (`WordVectors`), so that the archive
stays small and no model has to be what it was.
"""

import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.domain import (
    DocumentKey,
    SearchMode,
    SearchRequest,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity, TextEmbedder
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.migrations import HEAD
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.protocol import IndexedDocument, IndexedNode, Replacement
from llamaindex_reaktly.stores.sqlite import sqlite3

RELEASES = Path(__file__).parent / "releases"
HARBOUR = "harbour"
PIER = "pier"
QUERIES = ("a bowline knot", "diesel at the quay", "tides and moon", "the harbour master")
# Over by the time that anybody opens the archive.
LEASE_SECONDS = 5.0


class WordVectors(TextEmbedder):
    """Each word is a direction; a text is the sum of its words'."""

    identity = EmbedderIdentity("minilm", "kept", 16)
    max_tokens = 256

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """One unit vector of shape (16,)."""
        total = np.zeros(self.identity.dimension)
        for word in text.lower().split():
            seed = int.from_bytes(sha256(word.encode()).digest()[:4], "big")
            total += np.random.default_rng(seed).standard_normal(self.identity.dimension)
        scaled: NDArray[np.float32] = (total / (np.linalg.norm(total) or 1)).astype(np.float32)
        return scaled

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (n, 16)."""
        return np.array([self.embed_query(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        """Its words."""
        return len(text.split())


def document(name: str, content: str, knowledge_base_id: str = HARBOUR) -> SourceDocument:
    """A document of the archive."""
    return SourceDocument(
        DocumentKey(knowledge_base_id, "integration:charts", name),
        SourceType.ARTICLE,
        f"About {name}",
        content,
        url=f"https://example.com/{name}",
        tags=("sea", name),
        language="en",
        attributes={"price": len(name), "berth": {"quay": "east"}},
        client_hash=f"hash-of-{name}",
    )


def open_kept(data_dir: Path, database_url: str | None = None) -> KnowledgeBase:
    """The core on such a directory, with the vectors of the archive."""
    settings = Settings(
        data_dir=data_dir,
        database_url=database_url,
    )
    return KnowledgeBase(settings, embedder_loader=lambda _name: WordVectors())


def answers(knowledge_base: KnowledgeBase) -> dict[str, list[list[str]]]:
    """What each query finds in each mode: external id and best passage, in no order.

    How well each fits is the business of its release's ranking.
    """
    return {
        f"{mode}: {query}": sorted(
            [hit.key.external_id, hit.passages[0].text]
            for hit in knowledge_base.search(SearchRequest(HARBOUR, query, mode=mode)).hits
        )
        for mode in SearchMode
        for query in QUERIES
    }


def states(knowledge_base: KnowledgeBase) -> dict[str, list[object]]:
    """Where each document stands, by its id."""
    page = knowledge_base.list_documents(include_deleted=True, limit=500)
    return {
        status.document_id: [
            status.key.knowledge_base_id,
            status.key.source,
            status.key.external_id,
            status.state.value,
            status.version,
            status.chunks,
            status.error,
        ]
        for status in page.items
    }


def fill(knowledge_base: KnowledgeBase) -> str:
    """Put a document in each state into it; returns the token of a key."""
    registry, queue = knowledge_base.registry, knowledge_base.registry.queue
    registry.knowledge_bases.create(HARBOUR, embedder="minilm", name="The harbour")
    registry.knowledge_bases.create(PIER, embedder="minilm", organisation="org-7")
    registry.knowledge_bases.adopt(HARBOUR, WordVectors.identity)
    _, token = registry.keys.create(name="kept", knowledge_bases=[HARBOUR, PIER])
    expired, _ = registry.keys.create(name="revoked", knowledge_bases=["*"])
    registry.keys.revoke(expired.key_id)

    completed = [
        document("knots", "Tie a bowline knot.\nThen a cleat hitch."),
        document("fuel", "Diesel is sold at the west quay."),
        document("tides", "High water follows the moon."),
        document("empty", ""),
    ]
    gone = document("gone", "The harbour master has moved away.")
    edited = document("edited", "The harbour master lives here.")
    knowledge_base.submit([*completed, gone, edited])
    index(knowledge_base, claim(knowledge_base))
    # Deleted as by a server that was killed before it had removed the text from the index.
    registry.documents.bury([gone.key.document_id])

    knowledge_base.submit([document("poison", "Nothing can be made of this.")])
    (poison,) = claim(knowledge_base)
    queue.settle([Verdict(poison, error="the content could not be processed")], {})

    # Claimed by a worker that was killed.
    knowledge_base.submit([document("held", "A pilot comes on board.", PIER)])
    assert len(claim(knowledge_base)) == 1
    knowledge_base.submit(
        [
            document("waiting", "The ferry leaves at noon.", PIER),
            replace(edited, content="The harbour master lives elsewhere.", client_hash="2"),
        ]
    )
    return token


def claim(knowledge_base: KnowledgeBase) -> list[Claim]:
    """Claim what is queued."""
    return knowledge_base.registry.queue.claim(
        limit=100, characters=10**6, lease_seconds=LEASE_SECONDS
    )


def index(knowledge_base: KnowledgeBase, claims: Sequence[Claim]) -> None:
    """Make claimed documents searchable, a chunk a line."""
    analyzer, vectors = Analyzer(), WordVectors()
    verdicts = []
    replacements: dict[str, list[Replacement]] = {}
    for claimed in claims:
        declared = claimed.document
        lines = declared.content.splitlines()
        nodes = [
            IndexedNode(
                node_id=f"{claimed.document_id}-{ordinal}",
                ordinal=ordinal,
                text=line,
                headings=(declared.title,),
                terms=" ".join(analyzer.terms(f"{declared.title} {line}", "en")),
                vector=vectors.embed_query(line),
                content_digest=sha256(line.encode()).hexdigest(),
            )
            for ordinal, line in enumerate(lines)
        ]
        indexed = IndexedDocument(
            document_id=claimed.document_id,
            version=claimed.version,
            source=declared.key.source,
            external_id=declared.key.external_id,
            source_type=declared.source_type,
            title=declared.title,
            url=declared.url,
            summary=declared.summary,
            tags=declared.tags,
            language="en",
            attributes=declared.attributes,
            updated_at=knowledge_base.registry.documents.statuses([claimed.document_id])[
                0
            ].updated_at,
        )
        replacements.setdefault(declared.key.knowledge_base_id, []).append(
            Replacement(indexed, nodes)
        )
        verdicts.append(Verdict(claimed, chunks=len(nodes)))
    for knowledge_base_id, some in replacements.items():
        knowledge_base.store.replace(knowledge_base_id, some)
    assert (
        knowledge_base.registry.queue.settle(verdicts, {"documents_indexed": len(verdicts)}) == []
    )


def main() -> None:
    """Write the archive of this schema."""
    archive = RELEASES / f"{HEAD}.tar.gz"
    if archive.exists():
        sys.exit(f"{archive} is kept already; what was released does not change")
    with tempfile.TemporaryDirectory() as place:
        data_dir = Path(place) / "data"
        with open_kept(data_dir) as knowledge_base:
            token = fill(knowledge_base)
            expected = {
                "token": token,
                "states": states(knowledge_base),
                "answers": answers(knowledge_base),
            }
        for file in sorted(data_dir.rglob("*.sqlite*")):
            connection = sqlite3.connect(file)
            connection.execute("VACUUM")
            connection.close()
        (data_dir / "expected.json").write_text(json.dumps(expected, indent=1))
        RELEASES.mkdir(exist_ok=True)
        with tarfile.open(archive, "x:gz") as tar:
            for file in sorted(data_dir.rglob("*")):
                if file.is_file():
                    tar.add(file, file.relative_to(data_dir))
    sys.stdout.write(f"{archive}: {archive.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
