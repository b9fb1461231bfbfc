"""The scenarios by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torture.clock import clock_jumps
from torture.context import Context
from torture.disk import disk_full, disk_full_without_reserve, read_only
from torture.fencing import fencing
from torture.freezes import freeze_storm
from torture.many_bases import many_bases
from torture.mass_deletes import mass_deletes
from torture.node_loss import node_loss
from torture.outages import outages
from torture.outcome import Outcome
from torture.server_crashes import server_crashes
from torture.servers import RegistryKind, StoreKind
from torture.soak import soak
from torture.store_kills import store_kills
from torture.storm import fleet_kill_storm, kill_storm


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario in a sentence, and what it makes sense on."""

    about: str
    run: Callable[[Context], Outcome]
    registries: Sequence[RegistryKind] = tuple(RegistryKind)
    stores: Sequence[StoreKind] = tuple(StoreKind)
    needs_server: bool = False

    def runs_on(self, registry: RegistryKind, store: StoreKind) -> bool:
        """Whether it makes sense on these."""
        embedded = registry is RegistryKind.SQLITE and store is StoreKind.EMBEDDED
        return (
            registry in self.registries
            and store in self.stores
            and not (self.needs_server and embedded)
        )


def _alone(about: str, run: Callable[[Context], Outcome]) -> Scenario:
    """One that is about what the product keeps in its own directory."""
    return Scenario(about, run, (RegistryKind.SQLITE,), (StoreKind.EMBEDDED,))


SCENARIOS: Mapping[str, Scenario] = {
    "kills": Scenario("SIGKILL of API, worker or both while clients write and look.", kill_storm),
    "store-kills": Scenario(
        "SIGKILL of Weaviate, worker or both while clients write and look.",
        store_kills,
        (RegistryKind.SQLITE,),
        (StoreKind.WEAVIATE, StoreKind.WEAVIATE_ASYNC),
    ),
    "mass-deletes": Scenario(
        "A document of 25,000 nodes and a source of 12,000 documents are deleted.",
        mass_deletes,
        (RegistryKind.SQLITE,),
        (StoreKind.WEAVIATE, StoreKind.WEAVIATE_ASYNC),
    ),
    "node-loss": Scenario(
        "A node of a Weaviate cluster is killed in mid-ingest, and comes back.",
        node_loss,
        (RegistryKind.SQLITE,),
        (StoreKind.WEAVIATE_CLUSTER,),
    ),
    "fleet-kills": _alone("The same with a fleet of processes.", fleet_kill_storm),
    "fencing": Scenario("A worker stopped beyond its lease, overtaken and woken.", fencing),
    "freezes": Scenario("Any process stopped wherever it stands, and woken.", freeze_storm),
    "server-crashes": Scenario(
        "The servers of registry and store crash and stand still.",
        server_crashes,
        needs_server=True,
    ),
    "disk-full": _alone("The disk fills up in mid-ingest.", disk_full),
    "disk-full-no-reserve": _alone(
        "The commit itself meets the full disk.", disk_full_without_reserve
    ),
    "read-only": _alone("The index cannot be written, later it can.", read_only),
    "outages": _alone("Model and store away, the model slow.", outages),
    "clock": _alone("The clock jumps while workers die.", clock_jumps),
    "many-bases": _alone("2,000 knowledge bases under ulimit -n 1024.", many_bases),
    "soak": _alone("Updates, deletes and searches for a long time.", soak),
}
