"""What a scenario is given: its seed, its size, its registry and a place for its files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torture.fleet import Server
from torture.oracle import Oracle
from torture.servers import RegistryKind, StoreKind

# After a connection broke, PostgreSQL may be in the midst of a commit that it carries through.
_AFTERWARDS_ON_A_SERVER = 2.0


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one scenario. `show` tells the terminal how far it is."""

    scenario: str
    seed: int
    kills: int
    minutes: float
    registry: RegistryKind
    store: StoreKind
    directory: Path
    servers: Sequence[Server] = ()
    show: Callable[[str], object] = print
    begun: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        """The scenario and what it runs on."""
        stored = "" if self.store is StoreKind.EMBEDDED else f" and {self.store}"
        return f"{self.scenario} on {self.registry}{stored}"

    def oracle(self) -> Oracle:
        """A new oracle that knows how long an unanswered request may still take effect."""
        is_server = self.registry is RegistryKind.POSTGRESQL
        return Oracle(afterwards=_AFTERWARDS_ON_A_SERVER if is_server else 0.0)
