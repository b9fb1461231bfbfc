"""The collections that Reaktly makes on a Weaviate: one a model, one tenant a knowledge base.

A collection's description says whose vectors it holds. Definitions go by its own name,
data through an alias, so that another collection can take its place.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import weaviate
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    StopwordsPreset,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.tenants import Tenant
from weaviate.exceptions import UnexpectedStatusCodeError

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores import weaviate_filters
from llamaindex_reaktly.stores.lexical import K1, B

SCHEMA_VERSION = 1
VECTOR = "node"
"""Name of the one vector of an object."""


@dataclass(frozen=True, slots=True)
class Home:
    """The collection that has a knowledge base's tenant."""

    name: str
    alias: str
    tenant: str
    dimension: int


def tenant_name(knowledge_base_id: str) -> str:
    """A name that any server and any file system takes, whatever the id holds."""
    hashed = hashlib.sha256(knowledge_base_id.encode("utf-8", "surrogatepass")).digest()
    return "k" + base64.b32encode(hashed).decode().rstrip("=").lower()


class Collections:
    """What `prefix` names on a server. Made anew for each client."""

    def __init__(
        self, client: weaviate.WeaviateAsyncClient, prefix: str, replication_factor: int
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._replication_factor = replication_factor

    async def all(self) -> list[Home]:
        """Our collections, without a tenant. Raises `Unavailable` for one of a later release."""
        homes = []
        for name, config in (await self._client.collections.list_all(simple=True)).items():
            if not name.startswith(f"{self._prefix}_"):
                continue
            try:
                ours = json.loads(config.description or "")["reaktly"]
                alias, dimension = str(ours["alias"]), int(ours["dimension"])
                schema = int(ours["schema"])
            except (ValueError, KeyError, TypeError):
                continue  # somebody else's
            if schema > SCHEMA_VERSION:
                raise Unavailable(
                    "Weaviate holds an index of a later release; upgrade, or rebuild it"
                )
            homes.append(Home(name, alias, "", dimension))
        return homes

    async def find(self, knowledge_base_id: str) -> Home | None:
        """Where the knowledge base is; None if nothing of it was ever stored."""
        tenant = tenant_name(knowledge_base_id)
        for home in await self.all():
            if await self._client.collections.use(home.name).tenants.exists(tenant):
                return Home(home.name, home.alias, tenant, home.dimension)
        return None

    async def make(self, knowledge_base_id: str, identity: EmbedderIdentity) -> Home:
        """A place for the knowledge base among the vectors of that identity."""
        alias = _alias(self._prefix, identity)
        home = next((home for home in await self.all() if home.alias == alias), None)
        if home is None:
            await self._create(alias, identity)
            home = next((home for home in await self.all() if home.alias == alias), None)
            if home is None:
                raise Unavailable("a collection on Weaviate has the name of ours and is another's")
        # Also of one that is there: whoever made it may have been killed before its alias.
        await self._name(alias, home.name)
        tenant = tenant_name(knowledge_base_id)
        await self._client.collections.use(home.name).tenants.create([Tenant(name=tenant)])
        return Home(home.name, home.alias, tenant, home.dimension)

    async def remove(self, knowledge_base_id: str) -> None:
        """Remove the knowledge base's tenant, wherever one is."""
        tenant = tenant_name(knowledge_base_id)
        for home in await self.all():
            tenants = self._client.collections.use(home.name).tenants
            if await tenants.exists(tenant):
                await tenants.remove([tenant])

    async def remove_all_but(self, knowledge_base_ids: Callable[[], Collection[str]]) -> int:
        """Remove the tenants of all other knowledge bases; how many there were.

        Which there are is asked after the tenants were read: none is made for a knowledge
        base that is not there yet.
        """
        of_homes = [
            (tenants, await tenants.get())
            for home in await self.all()
            for tenants in [self._client.collections.use(home.name).tenants]
        ]
        kept = {tenant_name(one) for one in await asyncio.to_thread(knowledge_base_ids)}
        removed = 0
        for tenants, there in of_homes:
            if others := sorted(set(there) - kept):
                await tenants.remove(others)
                removed += len(others)
        return removed

    async def _create(self, alias: str, identity: EmbedderIdentity) -> None:
        name = f"{alias}_{SCHEMA_VERSION}"
        description = {
            "schema": SCHEMA_VERSION,
            "alias": alias,
            "model": identity.name,
            "build": identity.build,
            "dimension": identity.dimension,
        }
        try:
            await self._client.collections.create(
                name,
                description=json.dumps({"reaktly": description}),
                properties=_properties(),
                vector_config=Configure.Vectors.self_provided(
                    name=VECTOR,
                    vector_index_config=Configure.VectorIndex.hnsw(
                        distance_metric=VectorDistances.COSINE,
                        quantizer=Configure.VectorIndex.Quantizer.rq(bits=8),
                    ),
                ),
                inverted_index_config=Configure.inverted_index(
                    bm25_k1=K1, bm25_b=B, stopwords_preset=StopwordsPreset.NONE
                ),
                multi_tenancy_config=Configure.multi_tenancy(
                    enabled=True, auto_tenant_creation=False, auto_tenant_activation=True
                ),
                replication_config=Configure.replication(factor=self._replication_factor),
            )
        except UnexpectedStatusCodeError:
            # Another worker may have been first, which is as good.
            if not await self._client.collections.exists(name):
                raise

    async def _name(self, alias: str, name: str) -> None:
        """See that the collection has its alias."""
        if await self._client.alias.exists(alias_name=alias):
            return
        try:
            await self._client.alias.create(alias_name=alias, target_collection=name)
        except UnexpectedStatusCodeError:
            if not await self._client.alias.exists(alias_name=alias):
                raise


def _alias(prefix: str, identity: EmbedderIdentity) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "_", identity.name).strip("_")
    parts = json.dumps([identity.name, identity.build, identity.dimension])
    return f"{prefix}_{readable}_{hashlib.sha256(parts.encode()).hexdigest()[:10]}"


def _properties() -> list[Property]:
    """What an object has. Text is stored and indexed nowhere, as its digests are found by."""
    return [
        # Tokens of filters, and of the object's document and kind (`weaviate_objects`).
        Property(
            name=weaviate_filters.PROPERTY,
            data_type=DataType.TEXT_ARRAY,
            index_filterable=True,
            index_searchable=False,
            tokenization=Tokenization.FIELD,
        ),
        # Digests of a node's terms, and of a document's language; counted by BM25's scores.
        *(
            Property(
                name=name,
                data_type=DataType.TEXT,
                index_filterable=False,
                index_searchable=True,
                tokenization=Tokenization.WHITESPACE,
            )
            for name in ("tokens", "language")
        ),
        *(
            Property(name=name, data_type=DataType.INT, index_filterable=True)
            for name in ("version", "ordinal", "length", "nodes")
        ),
        *(
            Property(
                name=name, data_type=DataType.TEXT, index_filterable=False, index_searchable=False
            )
            for name in ("ref", "payload", "head", "terms")
        ),
    ]
