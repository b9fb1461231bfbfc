"""Any process stops wherever it stands, for longer than a lease at times, and goes on.

It may hold a lock, a half-written batch or an unanswered request. Those who need what it
holds wait, or are answered 503; what it does when it wakes must change nothing that others
have settled meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torture.fleet import LEASE_SECONDS, SPREAD, Fleet, Server, frozen
from torture.inspection import inspect, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.schedule import freezes
from torture.storm import AFTERWARDS_ON_A_SERVER
from torture.workload import Workload


def freeze_storm(
    directory: Path,
    *,
    scenario: str,
    servers: Sequence[Server],
    seed: int,
    number: int,
    show: Callable[[str], object],
) -> Outcome:
    """Stop a process so often, then judge. Nobody is killed."""
    begun = time.monotonic()
    oracle = Oracle(afterwards=AFTERWARDS_ON_A_SERVER if servers else 0.0)
    outlasted = 0
    with Fleet(directory, SPREAD, servers=servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, seed)
        with workload:
            for count, freeze in enumerate(freezes(seed, number, longest=LEASE_SECONDS * 2), 1):
                time.sleep(freeze.pause)
                processes = fleet.processes
                with frozen(processes[int(freeze.which * len(processes))].pid):
                    time.sleep(freeze.seconds)
                outlasted += freeze.seconds > LEASE_SECONDS
                if count % 10 == 0:
                    show(f"{count} of {number} stops")
        for process in fleet.processes:
            if not process.is_alive:
                oracle.accuse(Fault.ANSWER, process.log.stem, "ended by itself")
        quiet = time.monotonic()
        fleet.start()
        settle(fleet, oracle, worker_deaths=outlasted)
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=show)
    return Outcome.of(
        scenario,
        seed,
        oracle,
        seconds=time.monotonic() - begun,
        tally=workload.tally,
        notes=[
            f"{number} stops of a process, {outlasted} longer than a lease",
            f"{workload.tally.unavailable} requests answered 503",
            f"all settled {settled:.1f} s after the last",
        ],
    )
