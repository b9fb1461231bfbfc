"""What a scenario runs on: the registry's database and the store, and their servers."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from scripts.postgresql import PostgreSQL
from scripts.weaviate_server import WeaviateCluster, WeaviateServer
from torture.fleet import Server, children_of


class RegistryKind(StrEnum):
    """Where the registry is kept."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class StoreKind(StrEnum):
    """Where the index is kept."""

    EMBEDDED = "embedded"
    WEAVIATE = "weaviate"
    # Vectors are indexed after they were acknowledged.
    WEAVIATE_ASYNC = "weaviate-async"
    # Three nodes, of which the product speaks to one.
    WEAVIATE_CLUSTER = "weaviate-cluster"

    @property
    def is_server(self) -> bool:
        """Whether it is a process of its own."""
        return self is not StoreKind.EMBEDDED


class RegistryServer:
    """A PostgreSQL server with one empty database, to be killed and frozen."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server
        self._database = server.create_database()

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes the product use it."""
        return {"REAKTLY_DATABASE_URL": self._server.url(self._database)}

    def kill(self) -> None:
        """End it as a crash would."""
        self._server.kill()

    def start(self) -> None:
        """Start it again; it recovers from its log."""
        self._server.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes for a block."""
        # The first process first, which then starts no others.
        stopped = [self._server.pid]
        os.kill(stopped[0], signal.SIGSTOP)
        stopped += children_of(stopped[0])
        try:
            for pid in stopped[1:]:
                _send(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                _send(pid, signal.SIGCONT)

    def is_idle(self) -> bool:
        """Whether no session has a transaction open."""
        sessions = (
            "SELECT 1 FROM pg_stat_activity WHERE datname IS NOT NULL "
            "AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        return not self._server.execute(sessions)


@contextlib.contextmanager
def servers_of(
    registry: RegistryKind, store: StoreKind, directory: Path
) -> Iterator[Sequence[Server]]:
    """The servers that these need, running.

    Raises `NotInstalled` or `WeaviateMissing` where there are no programs for them.
    """
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        if registry is RegistryKind.POSTGRESQL:
            # Durable, as in production: what is killed is the product, and the server too.
            servers.append(RegistryServer(stack.enter_context(PostgreSQL(durable=True))))
        if store is StoreKind.WEAVIATE_CLUSTER:
            servers.append(stack.enter_context(WeaviateCluster(directory / "weaviate")))
        elif store.is_server:
            indexing = {"ASYNC_INDEXING": str(store is StoreKind.WEAVIATE_ASYNC).lower()}
            servers.append(stack.enter_context(WeaviateServer(directory / "weaviate", indexing)))
        yield servers


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
