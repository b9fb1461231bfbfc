"""Kills in the middle of everything: API, worker, both, while clients write and look.

Afterwards all processes run undisturbed, what waits is worked off, and every document must
be as it was acknowledged.
"""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from torture.connection import NotAnswered, NotSent
from torture.fleet import Fleet, Process, Server, Shape, children_of
from torture.inspection import inspect, settle
from torture.oracle import Oracle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, Kill, Target, kills
from torture.workload import Workload

# After a connection broke, PostgreSQL may be in the midst of a commit that it carries through.
AFTERWARDS_ON_A_SERVER = 2.0


def storm(
    directory: Path,
    *,
    scenario: str,
    shape: Shape,
    servers: Sequence[Server],
    seed: int,
    number: int,
    show: Callable[[str], object],
) -> Outcome:
    """Kill so often, then judge."""
    begun = time.monotonic()
    oracle = Oracle(afterwards=AFTERWARDS_ON_A_SERVER if servers else 0.0)
    killed: Counter[Target] = Counter()
    in_work = 0
    with Fleet(directory, shape, servers=servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, seed)
        with workload:
            for count, kill in enumerate(kills(seed, number), 1):
                if kill.settled:
                    fleet.wait_until_in_service()
                time.sleep(kill.pause)
                in_work += _being_processed(fleet)
                _carry_out(fleet, kill)
                killed[kill.target] += 1
                time.sleep(kill.downtime)
                fleet.start_dead()
                if count % 10 == 0:
                    show(f"{count} of {number} kills")
        quiet = time.monotonic()
        fleet.start()
        worker_deaths = number - killed[Target.API] if shape.workers else number
        given_up = settle(fleet, oracle, worker_deaths=worker_deaths)
        notes = [
            f"{shape}",
            ", ".join(f"{killed[target]} of {target}" for target in Target),
            f"{in_work} documents in processing when killed",
            f"all settled {time.monotonic() - quiet:.1f} s after the last kill",
        ]
        if given_up:
            notes.append(f"{given_up} given up after three deaths and retried by hand")
        inspect(fleet, oracle, show=show)
    return Outcome.of(
        scenario,
        seed,
        oracle,
        seconds=time.monotonic() - begun,
        tally=workload.tally,
        kills=number,
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


def _being_processed(fleet: Fleet) -> int:
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
