"""Two API processes on one registry and one Redis are, to a limit, one."""

import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.redis_server import RedisServer
from tests.end_to_end.conftest import on_postgresql
from tests.end_to_end.product import Client, Identity, Product, item

pytestmark = pytest.mark.timeout(120)

CLIENTS = 16
ASKS_EACH = 8
REQUESTS = 50
DOCUMENTS = 30


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
) -> Iterator[tuple[Product, Product]]:
    """Two servers that share their data directory, registry and Redis."""
    shared = {
        "REAKTLY_DATA_DIR": str(tmp_path_factory.mktemp("shared")),
        "REAKTLY_REDIS_URL": redis_server.url,
        "REAKTLY_RATE_LIMIT": f"listDocuments={REQUESTS}/hour",
        "REAKTLY_MAX_DOCUMENTS": str(DOCUMENTS),
    }
    if request.param == "postgresql":
        shared |= on_postgresql(request)
    folders = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with Product(next(folders), **shared) as one, Product(next(folders), **shared) as two:
        for server in (one, two):
            server.start_server(worker=False, ready_for="accept")
        yield one, two


def at_once(pair: tuple[Product, Product], ask: Callable[[Client, int, int], int]) -> list[int]:
    """What all clients were answered, half of them by each server."""
    statuses: list[int] = []

    def go(number: int) -> None:
        client = Client(pair[number % 2].port, pair[0].key)
        statuses.extend(ask(client, number, turn) for turn in range(ASKS_EACH))
        client.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == CLIENTS * ASKS_EACH
    return statuses


def test_two_processes_share_a_rate_limit_to_the_last_request(
    pair: tuple[Product, Product],
) -> None:
    statuses = at_once(pair, lambda client, *_: client.call("GET", "/documents").status)
    assert statuses.count(200) == REQUESTS
    assert statuses.count(429) == CLIENTS * ASKS_EACH - REQUESTS


def test_two_processes_fill_a_knowledge_base_to_the_last_document(
    pair: tuple[Product, Product],
) -> None:
    def push(client: Client, number: int, turn: int) -> int:
        identity = Identity("filled", "int", f"{number}/{turn}")
        return client.call("POST", "/ingest", item(identity, "One of many.")).status

    statuses = at_once(pair, push)
    assert statuses.count(200) == DOCUMENTS
    assert statuses.count(402) == CLIENTS * ASKS_EACH - DOCUMENTS
