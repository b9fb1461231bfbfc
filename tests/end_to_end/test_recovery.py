"""What goes on after a kill, and how soon: long before any lease has run out."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.product import Identity, Product, item

KB = "kb"
TEXT = "The keeper climbs the tower, trims the wick and writes the weather down. "


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with Product(tmp_path, REAKTLY_LEASE_SECONDS="600") as product:
        yield product


def identity(number: int) -> Identity:
    return Identity(KB, "log", f"page-{number}")


def items(count: int) -> list[dict[str, object]]:
    # Long enough that a worker is at them for some seconds.
    return [item(identity(n), f"Day {n}. " + TEXT * 10) for n in range(count)]


def children(pid: int) -> list[int]:
    found = [
        int(child)
        for tasks in Path(f"/proc/{pid}/task").glob("*/children")
        for child in tasks.read_text().split()
    ]
    return found + [further for child in found for further in children(child)]


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.timeout(150)
def test_a_killed_workers_claims_go_on_with_the_next_one_at_once(product: Product) -> None:
    product.start_server(worker=False)
    client = product.client()
    worker = product.worker()
    client.push(*items(100))
    client.wait_for(identity(0), "completed")
    parsers = children(worker.pid)
    assert len(parsers) >= 2
    worker.kill()
    worker.wait()
    product.worker()
    for number in range(100):
        assert client.wait_for(identity(number), "completed")["error"] is None
    assert not any(map(is_running, parsers))
    (lost,) = [line for line in product.log().splitlines() if "worker_lost" in line]
    assert json.loads(lost)["crashed"] is False


@pytest.mark.timeout(150)
def test_a_killed_server_and_worker_leave_nothing_to_wait_for(product: Product) -> None:
    product.start_server()
    client = product.client()
    client.push(*items(100))
    client.wait_for(identity(0), "completed")
    product.kill()
    product.start_server()
    for number in range(100):
        product.client().wait_for(identity(number), "completed")


@pytest.mark.timeout(120)
def test_a_killed_parser_is_no_more_than_a_fault_of_its_document(product: Product) -> None:
    product.start_server(worker=False)
    client = product.client()
    worker = product.worker()
    client.push(item(identity(0), TEXT), wait=True)
    for pid in children(worker.pid)[1:]:  # all but the server that makes them
        os.kill(pid, signal.SIGKILL)
    client.push(item(identity(1), TEXT), wait=True)
    assert client.job(identity(1)).body["attempts"] <= 2
    assert worker.poll() is None


@pytest.mark.timeout(120)
def test_a_worker_without_its_fork_server_makes_room_for_another(product: Product) -> None:
    product.start_server()
    client = product.client()
    client.push(item(identity(0), TEXT), wait=True)
    (worker,) = product.workers()
    forks = children(worker)[0]
    os.kill(forks, signal.SIGKILL)
    client.push(*items(3))
    for number in range(3):
        client.wait_for(identity(number), "completed")
    assert product.workers() != [worker]
