"""Real servers and workers: what is tested here is what an operator starts."""

from collections.abc import Iterator

import pytest

from scripts.postgresql import PostgreSQL
from tests.end_to_end.product import Product


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """A server with its worker, for tests that don't mind each other's documents."""
    settings = {}
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        settings["REAKTLY_DATABASE_URL"] = server.url(server.create_database())
    with Product(tmp_path_factory.mktemp("served"), **settings) as product:
        product.start_server()
        yield product
