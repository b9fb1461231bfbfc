"""Real servers and workers: what is tested here is what an operator starts."""

import secrets
from collections.abc import Iterator, Mapping

import pytest

from scripts.postgresql import PostgreSQL
from scripts.weaviate_server import WeaviateServer
from tests.end_to_end.product import Product


def on_postgresql(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a product whose registry is a new database."""
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return {"REAKTLY_DATABASE_URL": server.url(server.create_database())}


def on_weaviate(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a product whose index has collections of its own."""
    server: WeaviateServer = request.getfixturevalue("weaviate_server")
    return server.settings | {"REAKTLY_WEAVIATE_PREFIX": f"T{secrets.token_hex(6)}"}


@pytest.fixture(scope="module", params=["embedded", "weaviate"])
def on_each_store(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The environment of a product on each store in turn."""
    return on_weaviate(request) if request.param == "weaviate" else {}


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "postgresql and weaviate"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """A server with its worker, for tests that don't mind each other's documents."""
    environment: dict[str, str] = {}
    if "postgresql" in request.param:
        environment |= on_postgresql(request)
    if "weaviate" in request.param:
        environment |= on_weaviate(request)
    with Product(tmp_path_factory.mktemp("served"), **environment) as product:
        product.start_server()
        yield product
