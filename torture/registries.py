"""The registries that a scenario runs on: SQLite in the data directory, or PostgreSQL."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from scripts.postgresql import PostgreSQL
from torture.fleet import Server


class RegistryKind(StrEnum):
    """Where the registry is kept."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


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

    def freeze(self) -> None:
        """Stop all its processes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def is_idle(self) -> bool:
        """Whether no session has a transaction open."""
        sessions = (
            "SELECT 1 FROM pg_stat_activity WHERE datname IS NOT NULL "
            "AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        return not self._server.execute(sessions)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._server.pid, number)


@contextlib.contextmanager
def servers_of(kind: RegistryKind) -> Iterator[Sequence[Server]]:
    """The servers that a registry of that kind needs; raises `NotInstalled` without them."""
    if kind is RegistryKind.SQLITE:
        yield ()
        return
    # Durable, as in production: what is killed here is the product, and the server too.
    with PostgreSQL(durable=True) as server:
        yield (RegistryServer(server),)
