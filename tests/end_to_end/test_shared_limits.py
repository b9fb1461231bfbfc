"""Two API processes on one registry and one Redis are, to a limit, one."""

import threading
from pathlib import Path

from scripts.redis_server import RedisServer
from tests.end_to_end.product import Client, Product

CLIENTS = 16
ASKS_EACH = 8
LIMIT = 50


def test_two_processes_share_a_limit_to_the_last_request(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    environment = {
        "REAKTLY_DATA_DIR": str(tmp_path / "shared"),
        "REAKTLY_REDIS_URL": redis_server.url,
        "REAKTLY_RATE_LIMIT": f"listDocuments={LIMIT}/hour",
    }
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with Product(folders[0], **environment) as one, Product(folders[1], **environment) as two:
        one.start_server(worker=False, ready_for="accept")
        two.start_server(worker=False, ready_for="accept")
        statuses: list[int] = []

        def ask(client: Client) -> None:
            statuses.extend(client.call("GET", "/documents").status for _ in range(ASKS_EACH))
            client.close()

        threads = [
            threading.Thread(target=ask, args=(Client((one, two)[number % 2].port, one.key),))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert statuses.count(200) == LIMIT
    assert statuses.count(429) == CLIENTS * ASKS_EACH - LIMIT
