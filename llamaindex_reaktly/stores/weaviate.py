"""The Weaviate store: `WeaviateIndex` for callers that block."""

from collections.abc import Callable, Collection, Mapping, Sequence

from weaviate.classes.config import ConsistencyLevel

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.stores.protocol import (
    NEWEST,
    Candidate,
    IndexedNode,
    IndexedVersion,
    Replacement,
    Store,
    StoreCounts,
    StoreQuery,
    Vector,
)
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress, WeaviateConnection
from llamaindex_reaktly.stores.weaviate_index import WeaviateIndex

DEFAULT_PREFIX = "Reaktly"
# A tenth of what two busy cores manage with the server on the same machine.
SLOWEST_NODES_A_SECOND = 20


class WeaviateStore(Store):
    """A `Store` on a server. Nothing is asked of it before the first call.

    `prefix` begins the names of all collections, so that several installations may share a
    server. `identity_of` tells whose vectors a knowledge base holds, which decides its
    collection when something is first stored in it.
    """

    replaces_at_once = False

    def __init__(
        self,
        address: WeaviateAddress,
        *,
        prefix: str = DEFAULT_PREFIX,
        replication_factor: int = 1,
        consistency: ConsistencyLevel = ConsistencyLevel.QUORUM,
        identity_of: Callable[[str], EmbedderIdentity | None] = lambda _: None,
    ) -> None:
        self.connection = WeaviateConnection(address)
        self.index = WeaviateIndex(
            self.connection,
            prefix=prefix,
            replication_factor=replication_factor,
            consistency=consistency,
            identity_of=identity_of,
        )

    def close(self) -> None:
        """End the connection. Idempotent."""
        self.connection.close()

    def check(self) -> None:
        """Raise `Unavailable` unless the server says that it is ready."""
        self.connection.read(self.index.check)

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        """Put each document's new version beside any older one, then remove that."""
        nodes = sum(len(one.nodes) for one in replacements)
        # So that a document of any length is written at some time, also by a slow server.
        seconds = self.connection.address.write_timeout + nodes / SLOWEST_NODES_A_SECOND
        self.connection.submit(
            lambda: self.index.replace(knowledge_base_id, replacements, keep_older=keep_older),
            seconds,
        ).result()

    def delete_older(self, knowledge_base_id: str, current: Mapping[str, int]) -> None:
        """Remove every version of these documents that is older than the one named."""
        self.connection.write(lambda: self.index.delete_older(knowledge_base_id, current))

    def delete(self, knowledge_base_id: str, document_ids: Collection[str]) -> int:
        """Remove documents with all their nodes; how many there were.

        Copies of their text may stay in the server's files until it compacts them.
        """
        return self.connection.write(lambda: self.index.delete(knowledge_base_id, document_ids))

    def purge(self, knowledge_base_id: str) -> None:
        """Nothing: when its files are rewritten is the server's business."""

    def drop(self, knowledge_base_id: str) -> None:
        """Remove a knowledge base's tenant, and with it all its files on the server."""
        self.connection.write(lambda: self.index.drop(knowledge_base_id))

    def drop_all_but(self, knowledge_base_ids: Callable[[], Collection[str]]) -> int:
        """Remove what the prefix names of all other knowledge bases; how many there were."""
        return self.connection.write(lambda: self.index.drop_all_but(knowledge_base_ids))

    def mark(self, knowledge_base_id: str) -> None:
        """None: a cluster answers for its own data."""

    def problems(self, knowledge_base_id: str) -> list[str]:  # noqa: ARG002 (nothing to look at)
        """None: the server keeps checksums of its own."""
        return []

    def renew(self, knowledge_base_id: str, index_id: str | None) -> None:  # noqa: ARG002 (no id here)
        """Remove the tenant; the next write makes it again."""
        self.drop(knowledge_base_id)

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        """The union of both legs' best nodes with exact evidence, of every whole version."""
        return self.connection.read(lambda: self.index.search(knowledge_base_id, query))

    def known_vectors(
        self, knowledge_base_id: str, document_ids: Collection[str]
    ) -> dict[str, Vector]:
        """`content_digest` → vector of every node of these documents' newest versions."""
        return {
            node.content_digest: node.vector
            for document_id in document_ids
            for node in self.nodes(knowledge_base_id, document_id)
        }

    def nodes(
        self,
        knowledge_base_id: str,
        document_id: str,
        *,
        from_version: int = 0,
        to_version: int = NEWEST,
    ) -> list[IndexedNode]:
        """The nodes, in order, of the newest whole version between these two."""
        return self.connection.write(
            lambda: self.index.nodes(
                knowledge_base_id, document_id, from_version=from_version, to_version=to_version
            )
        )

    def languages(self, knowledge_base_id: str) -> tuple[str, ...]:
        """The languages of the documents in the index, most frequent first."""
        return self.connection.read(lambda: self.index.languages(knowledge_base_id))

    def count(self, knowledge_base_id: str) -> StoreCounts:
        """How many documents and nodes the index holds, older versions included."""
        return self.connection.read(lambda: self.index.count(knowledge_base_id))

    def versions(self, knowledge_base_id: str) -> list[IndexedVersion]:
        """Every whole version with the nodes that a search by their own vectors brings up."""
        # All of it, which takes as long as it takes.
        return self.connection.submit(lambda: self.index.versions(knowledge_base_id), None).result()
