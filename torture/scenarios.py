"""The scenarios by name, and what each is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torture.clock import clock_jumps
from torture.disk import RESERVE_BYTES, disk_full, read_only
from torture.fencing import fencing
from torture.fleet import SERVED, SPREAD, Server, Shape
from torture.freezes import freeze_storm
from torture.many_bases import BASES, many_bases
from torture.outages import outages
from torture.outcome import Outcome
from torture.registries import RegistryKind
from torture.server_crashes import server_crashes
from torture.soak import soak
from torture.storm import storm


@dataclass(frozen=True, slots=True)
class Context:
    """What a scenario is given: its seed, its size, its registry and a place for its files."""

    seed: int
    kills: int
    minutes: float
    registry: RegistryKind
    directory: Path = Path()
    servers: Sequence[Server] = ()
    show: Callable[[str], object] = field(default=print)

    def within(
        self, directory: Path, servers: Sequence[Server], show: Callable[[str], object]
    ) -> "Context":
        """The same, with what is there only while it runs."""
        return replace(self, directory=directory, servers=servers, show=show)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario in a sentence, and the registries that it makes sense on."""

    about: str
    run: Callable[[Context], Outcome]
    registries: Sequence[RegistryKind] = tuple(RegistryKind)


def _kills(context: Context) -> Outcome:
    # As it is run on each: one server with its worker, or a fleet on a shared registry.
    shape = SERVED if context.registry is RegistryKind.SQLITE else SPREAD
    return _storm(context, "kills", shape)


def _fleet_kills(context: Context) -> Outcome:
    return _storm(context, "fleet-kills", SPREAD)


def _storm(context: Context, name: str, shape: Shape) -> Outcome:
    return storm(
        context.directory,
        scenario=f"{name} on {context.registry}",
        shape=shape,
        servers=context.servers,
        seed=context.seed,
        number=context.kills,
        show=context.show,
    )


def _fencing(context: Context) -> Outcome:
    return fencing(
        context.directory,
        scenario=f"fencing on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        rounds=max(1, context.kills // 20),
        show=context.show,
    )


def _disk_full(context: Context) -> Outcome:
    return _filled(context, "disk-full", RESERVE_BYTES)


def _disk_full_without_reserve(context: Context) -> Outcome:
    return _filled(context, "disk-full-no-reserve", 0)


def _filled(context: Context, name: str, reserve: int) -> Outcome:
    return disk_full(
        context.directory,
        scenario=f"{name} on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        reserve=reserve,
        show=context.show,
    )


def _read_only(context: Context) -> Outcome:
    return read_only(
        context.directory,
        scenario=f"read-only on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        show=context.show,
    )


def _outages(context: Context) -> Outcome:
    return outages(
        context.directory,
        scenario=f"outages on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        # The worker's own pauses grow to half a minute.
        seconds=max(8.0, context.kills * 0.4),
        show=context.show,
    )


def _clock(context: Context) -> Outcome:
    return clock_jumps(
        context.directory,
        scenario=f"clock on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        show=context.show,
    )


def _many_bases(context: Context) -> Outcome:
    return many_bases(
        context.directory,
        scenario=f"many-bases on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        bases=BASES,
        show=context.show,
    )


def _soak(context: Context) -> Outcome:
    return soak(
        context.directory,
        scenario=f"soak on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        minutes=context.minutes,
        show=context.show,
    )


def _freezes(context: Context) -> Outcome:
    return freeze_storm(
        context.directory,
        scenario=f"freezes on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        number=context.kills,
        show=context.show,
    )


def _server_crashes(context: Context) -> Outcome:
    return server_crashes(
        context.directory,
        scenario=f"server-crashes on {context.registry}",
        servers=context.servers,
        seed=context.seed,
        rounds=max(2, context.kills // 15),
        show=context.show,
    )


_SQLITE = (RegistryKind.SQLITE,)
_POSTGRESQL = (RegistryKind.POSTGRESQL,)

SCENARIOS: Mapping[str, Scenario] = {
    "kills": Scenario("SIGKILL of API, worker or both while clients write and look.", _kills),
    "fleet-kills": Scenario("The same with a fleet of processes on SQLite.", _fleet_kills, _SQLITE),
    "fencing": Scenario("A worker stopped beyond its lease, overtaken and woken.", _fencing),
    "freezes": Scenario("Any process stopped wherever it stands, and woken.", _freezes),
    "server-crashes": Scenario(
        "The registry's server crashes and stands still.", _server_crashes, _POSTGRESQL
    ),
    "disk-full": Scenario("The disk fills up in mid-ingest.", _disk_full, _SQLITE),
    "disk-full-no-reserve": Scenario(
        "The commit itself meets the full disk.", _disk_full_without_reserve, _SQLITE
    ),
    "read-only": Scenario("The index cannot be written, later it can.", _read_only, _SQLITE),
    "outages": Scenario("Model and store away, the model slow.", _outages, _SQLITE),
    "clock": Scenario("The clock jumps while workers die.", _clock, _SQLITE),
    "many-bases": Scenario("2,000 knowledge bases under ulimit -n 1024.", _many_bases, _SQLITE),
    "soak": Scenario("Updates, deletes and searches for a long time.", _soak, _SQLITE),
}
