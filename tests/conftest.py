"""Fixtures that every part of the tests shares."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from structlog.typing import EventDict

# At the end of the path: an installed package is still found before the checkout.
sys.path.append(str(Path(__file__).parents[1]))

from llamaindex_reaktly.registry.registry import Registry
from scripts.postgresql import NotInstalled, PostgreSQL
from scripts.redis_server import RedisMissing, RedisServer
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

# What is slow here is mostly the machine, which others use too. Hypothesis judges that twice:
# each example's time, and the time to think of one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

MIGRATED = "migrated"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server for all tests; each has a database of its own on it."""
    try:
        server = PostgreSQL()
    except NotInstalled as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        server.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE template0")
        Registry(server.url(MIGRATED)).close()
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server for all tests; who stops or freezes it brings it back."""
    try:
        server = RedisServer()
    except RedisMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def weaviate_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeaviateServer]:
    """A server for all tests; each has collections of its own on it."""
    try:
        server = WeaviateServer(tmp_path_factory.mktemp("weaviate") / "data")
    except WeaviateMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty place for a registry on SQLite."""
    return f"sqlite:///{tmp_path / 'registry.sqlite'}"


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """An empty registry on PostgreSQL."""
    name = postgresql.create_database(MIGRATED)
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """A database in which nothing is yet, on each in turn."""
    if request.param == "sqlite":
        return sqlite_url
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.url(server.create_database())


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest) -> str:
    """An empty registry, on each database in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `both_databases` on each, as far as they touch one."""
    if "database_url" in metafunc.fixturenames and metafunc.definition.get_closest_marker(
        "both_databases"
    ):
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The setting of that name; None, for SQLite, unless the test is for both databases."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    """An open registry, on each database in turn."""
    registry = Registry(registry_url)
    yield registry
    registry.close()


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Every event that is logged, with the id of its request."""
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as events:
        yield events
