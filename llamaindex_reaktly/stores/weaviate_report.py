"""What a Weaviate says of itself, for whoever keeps it running."""

import json
from collections import Counter
from dataclasses import dataclass

import weaviate

from llamaindex_reaktly.stores.weaviate_schema import Collections


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """One of our collections: whose vectors, how many copies, tenants by state of their shard."""

    model: str
    replication_factor: int
    shards: Counter[str]


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server, or a cluster: its version, each node's state, and what is ours on it."""

    version: str
    nodes: dict[str, str]
    collections: tuple[CollectionReport, ...]

    @property
    def tenants(self) -> int:
        """Knowledge bases on the server."""
        return sum(one.shards.total() for one in self.collections)


async def report(client: weaviate.WeaviateAsyncClient, collections: Collections) -> ServerReport:
    """Ask the server; takes time in proportion to the tenants."""
    found = []
    for home in await collections.all():
        config = client.collections.use(home.name).config
        settings = await config.get()
        identity = json.loads(settings.description or "{}")["reaktly"]
        factor = settings.replication_config.factor
        shards = Counter(shard.status for shard in await config.get_shards())
        found.append(CollectionReport(str(identity["model"]), factor, Counter(shards)))
    nodes = await client.cluster.nodes(output="minimal")
    return ServerReport(
        version=str((await client.get_meta())["version"]),
        nodes={node.name: node.status for node in nodes},
        collections=tuple(found),
    )
