"""The scenarios by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torture.clock import clock_jumps
from torture.context import Context
from torture.disk import disk_full, disk_full_without_reserve, read_only
from torture.fencing import fencing
from torture.freezes import freeze_storm
from torture.many_bases import many_bases
from torture.outages import outages
from torture.outcome import Outcome
from torture.registries import RegistryKind
from torture.server_crashes import server_crashes
from torture.soak import soak
from torture.storm import fleet_kill_storm, kill_storm


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario in a sentence, and the registries that it makes sense on."""

    about: str
    run: Callable[[Context], Outcome]
    registries: Sequence[RegistryKind] = tuple(RegistryKind)


_SQLITE = (RegistryKind.SQLITE,)
_POSTGRESQL = (RegistryKind.POSTGRESQL,)

SCENARIOS: Mapping[str, Scenario] = {
    "kills": Scenario("SIGKILL of API, worker or both while clients write and look.", kill_storm),
    "fleet-kills": Scenario("The same with a fleet of processes.", fleet_kill_storm, _SQLITE),
    "fencing": Scenario("A worker stopped beyond its lease, overtaken and woken.", fencing),
    "freezes": Scenario("Any process stopped wherever it stands, and woken.", freeze_storm),
    "server-crashes": Scenario(
        "The registry's server crashes and stands still.", server_crashes, _POSTGRESQL
    ),
    "disk-full": Scenario("The disk fills up in mid-ingest.", disk_full, _SQLITE),
    "disk-full-no-reserve": Scenario(
        "The commit itself meets the full disk.", disk_full_without_reserve, _SQLITE
    ),
    "read-only": Scenario("The index cannot be written, later it can.", read_only, _SQLITE),
    "outages": Scenario("Model and store away, the model slow.", outages, _SQLITE),
    "clock": Scenario("The clock jumps while workers die.", clock_jumps, _SQLITE),
    "many-bases": Scenario("2,000 knowledge bases under ulimit -n 1024.", many_bases, _SQLITE),
    "soak": Scenario("Updates, deletes and searches for a long time.", soak, _SQLITE),
}
