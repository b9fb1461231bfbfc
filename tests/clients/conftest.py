"""A server with documents, for clients that know nothing of it but a base URL and a key."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.end_to_end.product import Identity, Product, item

KNOWLEDGE_BASE = "handbook"
QUESTION = "How do I set up the espresso machine?"
GUIDE = """# Espresso machine

## Setting up

Fill the tank with fresh water before you set up the espresso machine. Run two cups without coffee.

## Cleaning

Empty the drip tray every evening.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a client is given."""

    base_url: str
    key: str


@pytest.fixture(scope="package")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A knowledge base of two documents behind a key of its own."""
    with Product(tmp_path_factory.mktemp("clients")) as product:
        product.start_server()
        guide = Identity(KNOWLEDGE_BASE, "docs", "guide")
        tents = Identity(KNOWLEDGE_BASE, "docs", "tents")
        product.client().push(
            item(
                guide,
                GUIDE,
                title="Espresso machine",
                contentType="text/markdown",
                url="https://docs.test/espresso",
            ),
            item(tents, "Dry the tent before you pack it.", title="Tents"),
            wait=True,
        )
        key = product.make_key(KNOWLEDGE_BASE)
        yield Endpoint(f"http://127.0.0.1:{product.port}/v1", key)
