"""Kills in the middle of everything: API, worker, both, while clients write and look.

Afterwards all processes run undisturbed, what waits is worked off, and every document must
be as it was acknowledged.
"""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence

from torture.connection import NotAnswered, NotSent
from torture.context import Context
from torture.fleet import SERVED, SPREAD, Fleet, Process, Shape, children_of
from torture.inspection import inspect, settle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, OF_THE_PRODUCT, Kill, Target, kills
from torture.servers import RegistryKind
from torture.workload import Workload


def kill_storm(context: Context) -> Outcome:
    """One server with its worker on SQLite, a fleet on PostgreSQL."""
    return _storm(context, SPREAD if context.registry is RegistryKind.POSTGRESQL else SERVED)


def fleet_kill_storm(context: Context) -> Outcome:
    """A fleet on either."""
    return _storm(context, SPREAD)


def _storm(context: Context, shape: Shape) -> Outcome:
    oracle = context.oracle()
    killed: Counter[Target] = Counter()
    in_work = 0
    with Fleet(context.directory, shape, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload:
            for count, kill in enumerate(kills(context.seed, context.kills), 1):
                if kill.settled:
                    fleet.wait_until_in_service()
                time.sleep(kill.pause)
                in_work += being_processed(fleet)
                _carry_out(fleet, kill)
                killed[kill.target] += 1
                time.sleep(kill.downtime)
                fleet.start_dead()
                if count % 10 == 0:
                    context.show(f"{count} of {context.kills} kills")
        quiet = time.monotonic()
        fleet.start()
        worker_deaths = context.kills - killed[Target.API] if shape.workers else context.kills
        given_up = settle(fleet, oracle, worker_deaths=worker_deaths)
        notes = [
            f"{shape}",
            ", ".join(f"{killed[target]} of {target}" for target in OF_THE_PRODUCT),
            f"{in_work} documents in processing when killed",
            f"all settled {time.monotonic() - quiet:.1f} s after the last kill",
        ]
        if given_up:
            notes.append(f"{given_up} given up after three deaths and retried by hand")
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        kills=context.kills,
        notes=notes,
    )


def _carry_out(fleet: Fleet, kill: Kill) -> None:
    apis = _chosen(fleet.apis, kill)
    if kill.target is not Target.API:
        for worker in _chosen(fleet.workers, kill):
            worker.kill()
        for pid in (pid for api in apis for pid in children_of(api.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if kill.target is not Target.WORKER:
        for api in apis:
            api.kill()


def _chosen(processes: Sequence[Process], kill: Kill) -> list[Process]:
    """One of them; in a third of the cases, all."""
    if not processes or kill.which > 2 / 3:
        return list(processes)
    return [processes[int(kill.which * 1.5 * len(processes)) % len(processes)]]


def being_processed(fleet: Fleet) -> int:
    """How many documents workers have in hand; 0 while nobody answers."""
    with fleet.connection() as connection:
        for door in (0.0, 0.999):
            with contextlib.suppress(NotSent, NotAnswered, TimeoutError):
                return sum(
                    len(connection.call("GET", path, door=door).body.get("jobs", []))
                    for path in (
                        f"/ingest/jobs?knowledgeBaseId={base}&status=processing&limit=100"
                        for base in KNOWLEDGE_BASES
                    )
                )
    return 0
