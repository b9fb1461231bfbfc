"""What `reaktly doctor` says of a Weaviate: the server, its nodes, and what they keep of ours.

It asks the server's REST interface as an operator would, because the client passes over
how vectors are indexed and over how many copies there are.
"""

import http.client
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from llamaindex_reaktly.cli.checks import Check, Verdict
from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.weaviate_opening import open_weaviate

# Filters are negated (`not`, `contains_none`), which came with this one.
OLDEST = (1, 33)
TESTED = (1, 39)
# A tenant takes some 15 files of the server: here it comes near a usual limit of 65,536.
MANY_TENANTS = 4_000
MOST_BYTES = 64 * 2**20


class _Meta(BaseModel):
    version: str
    modules: dict[str, object] | None = None


class _Shard(BaseModel):
    """A tenant on a node."""

    collection: str = Field(alias="class")
    name: str
    status: str = Field(alias="vectorIndexingStatus")
    replication_factor: int | None = Field(default=None, alias="replicationFactor")


class _Node(BaseModel):
    name: str
    status: str
    version: str = ""
    shards: list[_Shard] | None = None
    batch: dict[str, float] | None = Field(default=None, alias="batchStats")


class _Nodes(BaseModel):
    nodes: list[_Node]


Answer = TypeVar("Answer", bound=BaseModel)


class _Refused(Exception):
    """The server did not answer, or not with what was asked for; the message says why."""


def check_weaviate(settings: Settings) -> Iterator[Check]:
    """The checks of the server that the settings name."""
    try:
        meta = _get(settings, "/v1/meta", _Meta)
        nodes = _get(settings, "/v1/nodes?output=verbose", _Nodes).nodes
    except _Refused as error:
        found = f"{settings.weaviate_url}: {error}"
        advice = "check that it runs, the address, and that the key is one of its administrators'"
        yield Check("weaviate", Verdict.FAILED, found, advice)
        return
    yield _check_version(meta)
    yield _check_access(settings)
    yield _check_nodes(nodes)
    # Only a node that has no such queue of its own leaves its length out.
    background = any(node.batch is not None and "queueLength" not in node.batch for node in nodes)
    how = "in the background (ASYNC_INDEXING)" if background else "as they are written"
    yield Check("weaviate indexing", Verdict.OK, f"vectors are indexed {how}")
    ours = [
        shard
        for node in nodes
        for shard in node.shards or ()
        if shard.collection.startswith(f"{settings.weaviate_prefix}_")
    ]
    yield _check_copies(settings, len(nodes), ours)
    yield _check_tenants(ours)
    read_only = {shard.name for shard in ours if shard.status == "READONLY"}
    if read_only:
        yield Check(
            "weaviate storage",
            Verdict.FAILED,
            f"{len(read_only)} of our tenants are read-only",
            "free disk on the server (it refuses writes at DISK_USE_READONLY_PERCENTAGE), then "
            "set its shards to READY or restart it; what waits is then caught up on",
        )
    else:
        yield Check("weaviate storage", Verdict.OK, "can be written")


def remove_orphaned_tenants(
    settings: Settings, knowledge_base_ids: Callable[[], Collection[str]]
) -> Check:
    """Remove tenants under our prefix that are no knowledge base's.

    A knowledge base that is deleted while the server is away leaves one.
    """
    part = "weaviate tenants"
    store = open_weaviate(settings, lambda _: None)
    try:
        removed = store.drop_all_but(knowledge_base_ids)
    except ReaktlyError as error:
        return Check(part, Verdict.FAILED, error.message, "see Weaviate above")
    finally:
        store.close()
    if removed:
        found = f"{removed} under our prefix belonged to no knowledge base"
        return Check(part, Verdict.WARNING, found, "they are removed")
    return Check(part, Verdict.OK, "each is a knowledge base's")


def _check_version(meta: _Meta) -> Check:
    found = f"{meta.version}, with {len(meta.modules or ())} modules, of which none is needed"
    try:
        release = tuple(int(part) for part in meta.version.split(".")[:2])
    except ValueError:
        release = (0,)
    tested = ".".join(map(str, TESTED))
    if release < OLDEST:
        return Check(
            "weaviate", Verdict.FAILED, found, f"upgrade it to {tested}, which we test with"
        )
    if release < TESTED:
        return Check("weaviate", Verdict.WARNING, found, f"we test with {tested}; upgrade it")
    return Check("weaviate", Verdict.OK, found)


def _check_access(settings: Settings) -> Check:
    try:
        _get(settings, "/v1/nodes", _Nodes, with_key=False)
    except _Refused:
        return Check("weaviate access", Verdict.OK, "only with a key")
    return Check(
        "weaviate access",
        Verdict.WARNING,
        "it answers whoever reaches it, without a key",
        "set AUTHENTICATION_APIKEY_ENABLED, its keys and "
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false on the server: its gRPC listens on "
        "every interface",
    )


def _check_nodes(nodes: Sequence[_Node]) -> Check:
    part = "weaviate nodes"
    away = sorted(node.name for node in nodes if node.status not in ("HEALTHY", "UNHEALTHY"))
    slow = sorted(node.name for node in nodes if node.status == "UNHEALTHY")
    versions = {node.version for node in nodes} - {""}
    if away:
        found = f"{', '.join(away)} of {len(nodes)} do not answer the others"
        return Check(part, Verdict.FAILED, found, "bring them back")
    if slow:
        # A node calls itself so while it waits longer for others than it should.
        found = f"{', '.join(slow)} of {len(nodes)} hear too little of the others"
        advice = "a node was lost, or the network is slow; look again in a minute"
        return Check(part, Verdict.WARNING, found, advice)
    if len(versions) > 1:
        found = f"{len(nodes)}, of several releases: {', '.join(sorted(versions))}"
        return Check(part, Verdict.WARNING, found, "end the upgrade")
    return Check(part, Verdict.OK, f"{len(nodes)}, healthy")


def _check_copies(settings: Settings, nodes: int, ours: Sequence[_Shard]) -> Check:
    part, wanted = "weaviate replication", settings.weaviate_replication_factor
    kept = min((shard.replication_factor or wanted for shard in ours), default=wanted)
    found = f"{wanted} wanted, {kept} kept of each tenant, {nodes} nodes"
    # Nodes that were killed are soon no longer listed.
    if ours and kept > nodes:
        return Check(part, Verdict.FAILED, found, "nodes are away: bring them back")
    if wanted > nodes:
        advice = "set REAKTLY_WEAVIATE_REPLICATION_FACTOR to what there are nodes for"
        return Check(part, Verdict.FAILED, found, advice)
    if kept != wanted:
        return Check(
            part,
            Verdict.WARNING,
            found,
            "the factor is fixed when a collection is made: stop Reaktly, give "
            "REAKTLY_WEAVIATE_PREFIX another value, run `reaktly rebuild`, and start it again",
        )
    if kept == 1 < nodes:
        advice = "what a lost node has is away with it; set REAKTLY_WEAVIATE_REPLICATION_FACTOR"
        return Check(part, Verdict.WARNING, found, advice)
    return Check(part, Verdict.OK, found)


def _check_tenants(ours: Sequence[_Shard]) -> Check:
    tenants = len({(shard.collection, shard.name) for shard in ours})
    found = f"{tenants} active under our prefix"
    if tenants > MANY_TENANTS:
        return Check(
            "weaviate tenants",
            Verdict.WARNING,
            f"{found}, of some 15 files each",
            "raise the server's limits of open files (`ulimit -n`) and of memory mappings "
            "(`vm.max_map_count`)",
        )
    return Check("weaviate tenants", Verdict.OK, found)


def _get(settings: Settings, path: str, answer: type[Answer], *, with_key: bool = True) -> Answer:
    address = urlsplit(settings.weaviate_url or "")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    headers = {}
    if with_key and settings.weaviate_api_key is not None:
        headers["authorization"] = f"Bearer {settings.weaviate_api_key.get_secret_value()}"
    timeout = settings.weaviate_search_timeout_seconds
    with closing(kind(address.hostname or "", address.port, timeout=timeout)) as connection:
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _Refused("it does not answer") from error
    if response.status == http.HTTPStatus.UNAUTHORIZED:
        raise _Refused("it refuses the key; check REAKTLY_WEAVIATE_API_KEY")
    if response.status != http.HTTPStatus.OK:
        raise _Refused(f"it answers {path} with {response.status}")
    try:
        return answer.model_validate_json(body)
    except ValidationError as error:
        raise _Refused("it is no Weaviate") from error
