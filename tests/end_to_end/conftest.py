"""Real servers and workers: what is tested here is what an operator starts."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.product import Product


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server with its worker, for tests that don't mind each other's documents."""
    with Product(tmp_path_factory.mktemp("served")) as product:
        product.start_server()
        yield product
