"""A Weaviate that is away, frozen, read-only, killed or starting: nothing acknowledged is lost."""

import secrets
import time
from collections.abc import Iterator

import pytest

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.protocol import Replacement, StoreCounts, StoreQuery
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateServer
from tests.stores.test_store_contract import KB, document, node, replacement, unit

pytestmark = pytest.mark.timeout(240)

QUERY = StoreQuery(vector=unit(0), terms={"en": ["word"]})


@pytest.fixture(scope="module", params=["synchronous", "asynchronous"])
def server(
    request: pytest.FixtureRequest,
    weaviate_server: WeaviateServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[WeaviateServer]:
    """A server of one's own, to be maltreated, with each way of indexing vectors."""
    environment = {"ASYNC_INDEXING": "true"} if request.param == "asynchronous" else {}
    with WeaviateServer(tmp_path_factory.mktemp("faults") / "data", environment) as started:
        yield started


@pytest.fixture
def store(server: WeaviateServer) -> Iterator[WeaviateStore]:
    address = WeaviateAddress(
        server.url, server.grpc_url, server.key, read_timeout=2, write_timeout=15
    )
    opened = WeaviateStore(address, prefix=f"T{secrets.token_hex(6)}")
    yield opened
    opened.close()


def fill(store: WeaviateStore, documents: int = 20, nodes: int = 5) -> dict[str, int]:
    """Store documents of random vectors; the seed of each node's vector."""
    seeds: dict[str, int] = {}
    replacements = []
    for number in range(documents):
        name = f"d{number}"
        of_one = [
            node(name, place, "word", seed=1000 * number + place + 1) for place in range(nodes)
        ]
        seeds |= {one.node_id: 1000 * number + place + 1 for place, one in enumerate(of_one)}
        replacements.append(Replacement(document(name), of_one))
    store.replace(KB, replacements)
    return seeds


def lost_vectors(store: WeaviateStore, seeds: dict[str, int]) -> list[str]:
    """The nodes that a search by their own vectors does not bring up first."""
    lost = []
    for node_id, seed in seeds.items():
        found = store.search(KB, StoreQuery(vector=unit(seed), candidates=3))
        best = max(found, key=lambda candidate: candidate.cosine, default=None)
        if best is None or best.node_id != node_id:
            lost.append(node_id)
    return lost


def answers_again(store: WeaviateStore) -> int:
    """How many nodes the first search finds that is not refused."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return len(store.search(KB, QUERY))
        except Unavailable:
            assert time.monotonic() < deadline


def test_every_acknowledged_vector_is_found_by_itself_after_a_kill(
    server: WeaviateServer, store: WeaviateStore
) -> None:
    seeds = fill(store)
    server.kill()
    with pytest.raises(Unavailable):
        store.search(KB, QUERY)
    with pytest.raises(Unavailable):
        store.replace(KB, [replacement("new", "word")])
    server.launch()
    # Whoever asks a server that starts is refused, or told all of it; never "nothing here".
    assert answers_again(store) == len(seeds)
    assert lost_vectors(store, seeds) == []
    store.replace(KB, [replacement("new", "word")])
    assert store.count(KB) == StoreCounts(documents=21, nodes=101)


def test_a_store_that_is_opened_while_the_server_starts_makes_nothing_anew(
    server: WeaviateServer, store: WeaviateStore
) -> None:
    seeds = fill(store, documents=3)
    server.kill()
    other = WeaviateStore(store.connection.address, prefix=store.index.prefix)
    with pytest.raises(Unavailable):
        other.check()
    server.launch()
    deadline = time.monotonic() + 60
    while True:
        try:
            other.replace(KB, [replacement("new", "word")])
            break
        except Unavailable:
            assert time.monotonic() < deadline
    assert other.count(KB) == StoreCounts(documents=4, nodes=len(seeds) + 1)
    other.close()


def test_a_frozen_server_refuses_in_time_and_goes_on_afterwards(
    server: WeaviateServer, store: WeaviateStore
) -> None:
    fill(store, documents=2)
    with server.frozen():
        started = time.monotonic()
        with pytest.raises(Unavailable):
            store.search(KB, QUERY)
        with pytest.raises(Unavailable):
            store.check()
        # The client alone would try for a minute.
        assert time.monotonic() - started < 15
    assert answers_again(store) == 10


def test_a_read_only_shard_takes_nothing_and_the_whole_batch_later(
    server: WeaviateServer, store: WeaviateStore
) -> None:
    fill(store, documents=1)
    batch = [replacement(f"n{number}", "word", "word") for number in range(30)]
    set_shards(store, "READONLY")
    with pytest.raises(Unavailable, match="read-only"):
        store.replace(KB, batch)
    with pytest.raises(Unavailable, match="read-only"):
        store.delete(KB, ["doc_d0"])
    assert store.search(KB, QUERY)
    set_shards(store, "READY")
    store.replace(KB, batch)
    assert store.count(KB) == StoreCounts(documents=31, nodes=65)
    assert store.delete(KB, ["doc_d0"]) == 1


def set_shards(store: WeaviateStore, status: str) -> None:
    async def update() -> None:
        client = await store.connection.client()
        home = await store.index.home(KB)
        assert home is not None
        config = client.collections.use(home.name).config
        await config.update_shards(status, home.tenant)  # type: ignore[arg-type]

    store.connection.write(update)


def test_a_collection_whose_maker_was_killed_before_naming_it_is_named_by_the_next(
    store: WeaviateStore,
) -> None:
    store.replace(KB, [replacement("first", "word")])

    async def unname() -> None:
        client = await store.connection.client()
        home = await store.index.home(KB)
        assert home is not None
        await client.collections.use(home.name).tenants.remove([home.tenant])
        assert await client.alias.delete(alias_name=home.alias)

    store.connection.write(unname)
    other = WeaviateStore(store.connection.address, prefix=store.index.prefix)
    other.replace(KB, [replacement("second", "word")])
    assert [one.document.external_id for one in other.search(KB, QUERY)] == ["second"]
    other.close()


def test_a_key_that_the_server_refuses_is_named(server: WeaviateServer) -> None:
    address = WeaviateAddress(server.url, server.grpc_url, "wrong", read_timeout=5)
    store = WeaviateStore(address)
    with pytest.raises(Unavailable, match="REAKTLY_WEAVIATE_API_KEY"):
        store.count(KB)
    store.close()


def test_more_nodes_than_a_server_deletes_at_once_are_deleted_wholly(
    server: WeaviateServer, store: WeaviateStore
) -> None:
    nodes = [node("big", place, "word") for place in range(10_500)]
    store.connection.submit(
        lambda: store.index.replace(
            KB,
            [Replacement(document("big"), nodes), replacement("small", "word")],
            keep_older=False,
        ),
        None,
    ).result()
    assert store.count(KB).nodes == 10_501
    assert store.delete(KB, ["doc_big"]) == 1
    assert store.count(KB) == StoreCounts(documents=1, nodes=1)
