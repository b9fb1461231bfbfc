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

ABOUT = "Kills and other faults from outside, judged by an oracle of acknowledged states."


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
    """One scenario, and the registries that it makes sense on."""

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


SCENARIOS: Mapping[str, Scenario] = {
    "kills": Scenario(_kills),
    "fleet-kills": Scenario(_fleet_kills, (RegistryKind.SQLITE,)),
    "fencing": Scenario(_fencing),
    "freezes": Scenario(_freezes),
    "server-crashes": Scenario(_server_crashes, (RegistryKind.POSTGRESQL,)),
    "disk-full": Scenario(_disk_full, (RegistryKind.SQLITE,)),
    "disk-full-no-reserve": Scenario(_disk_full_without_reserve, (RegistryKind.SQLITE,)),
    "read-only": Scenario(_read_only, (RegistryKind.SQLITE,)),
    "outages": Scenario(_outages, (RegistryKind.SQLITE,)),
    "clock": Scenario(_clock, (RegistryKind.SQLITE,)),
    "many-bases": Scenario(_many_bases, (RegistryKind.SQLITE,)),
    "soak": Scenario(_soak, (RegistryKind.SQLITE,)),
}
