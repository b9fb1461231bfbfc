"""Documents that crash, hang or exhaust their parser, among those that do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.poison import CRASH, EXHAUST, HANG, WORKER_CRASH
from tests.end_to_end.product import Identity, Product, item

KB = "kb"
REASONS = {
    CRASH: "the parser crashed",
    HANG: "parsing did not end within 1 s",
    EXHAUST: "parsing needed more than 64 MiB",
}


def poisoned(directory: Path, **settings: str) -> Product:
    """A product whose chain holds `Poison`, with limits that are soon reached."""
    return Product(
        directory,
        PYTHONPATH=str(Path(__file__).parents[2]),
        **{
            "REAKTLY_TRANSFORMATIONS": "tests.end_to_end.poison:Poison",
            "REAKTLY_PARSE_SECONDS": "1",
            "REAKTLY_PARSE_MEMORY_BYTES": str(64 << 20),
            **settings,
        },
    )


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with poisoned(tmp_path) as product:
        yield product


def good(number: int) -> Identity:
    return Identity(KB, "good", f"good-{number}")


def bad(number: int) -> Identity:
    return Identity(KB, "bad", f"bad-{number}")


@pytest.mark.timeout(180)
def test_ten_poison_documents_among_a_thousand_fail_alone(product: Product) -> None:
    product.start_server()
    client = product.client()
    marks = [list(REASONS)[number % 3] for number in range(10)]
    items = [
        item(good(number), f"Buoy number {number} marks the channel.") for number in range(1000)
    ]
    for number, mark in enumerate(marks):
        items.insert(number * 100 + 50, item(bad(number), f"A text. {mark} now."))
    client.push(*items)
    for number, mark in enumerate(marks):
        job = client.wait_for(bad(number), "failed", within=120)
        assert (job["attempts"], job["error"]) == (3, REASONS[mark])
    for number in range(1000):
        client.wait_for(good(number), "completed")
    found = client.search(KB, "Buoy number 777", mode="text", integrationId="good")
    assert "777" in found[0]["text"]
    log = product.log()
    assert log.count("worker_started") == 1
    assert "worker_died" not in log


@pytest.mark.timeout(120)
def test_a_document_that_hangs_keeps_neither_the_next_one_waiting_nor_the_end(
    tmp_path: Path,
) -> None:
    with poisoned(tmp_path, REAKTLY_PARSE_SECONDS="600") as product:
        product.start_server()
        client = product.client()
        client.push(item(bad(0), HANG))
        client.wait_for(bad(0), "processing")
        client.push(item(good(0), "Tie a bowline."))
        client.wait_for(good(0), "completed")
        client.wait_for(bad(0), "processing")
        client.push(*[item(bad(number), f"{HANG} {number}") for number in range(1, 5)])
        product.stop()
        product.start_server(worker=False)
        assert client.wait_for(bad(0), "queued")["attempts"] == 0


@pytest.mark.timeout(180)
def test_a_document_that_takes_its_worker_with_it_takes_no_other(tmp_path: Path) -> None:
    poisoned_model = "tests.end_to_end.poisoned_model:component"
    with poisoned(
        tmp_path, REAKTLY_TRANSFORMATIONS=poisoned_model, REAKTLY_LEASE_SECONDS="600"
    ) as product:
        product.start_server()
        client = product.client()
        texts = [f"Buoy number {number} marks the channel." for number in range(20)]
        items = [item(good(number), text) for number, text in enumerate(texts)]
        client.push(*items[:10], item(bad(0), WORKER_CRASH), *items[10:])
        job = client.wait_for(bad(0), "failed", within=150)
        assert (job["attempts"], job["error"]) == (3, "processing did not end in 3 attempts")
        for number in range(20):
            client.wait_for(good(number), "completed")
        assert product.log().count("worker_died") == 3
