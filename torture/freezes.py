"""Any process stops wherever it stands, for longer than a lease at times, and goes on.

It may hold a lock, a half-written batch or an unanswered request. Those who need what it
holds wait, or are answered 503; what it does when it wakes must change nothing that others
have settled meanwhile.
"""

import time

from torture.context import Context
from torture.fleet import LEASE_SECONDS, SPREAD, Fleet, frozen
from torture.inspection import inspect, settle
from torture.oracle import Fault
from torture.outcome import Outcome
from torture.schedule import freezes
from torture.workload import Workload


def freeze_storm(context: Context) -> Outcome:
    """Stop a process so often, then judge. Nobody is killed."""
    oracle = context.oracle()
    outlasted = 0
    with Fleet(context.directory, SPREAD, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload:
            for count, freeze in enumerate(
                freezes(context.seed, context.kills, longest=LEASE_SECONDS * 2), 1
            ):
                time.sleep(freeze.pause)
                processes = fleet.processes
                with frozen(processes[int(freeze.which * len(processes))].pid):
                    time.sleep(freeze.seconds)
                outlasted += freeze.seconds > LEASE_SECONDS
                if count % 10 == 0:
                    context.show(f"{count} of {context.kills} stops")
        for process in fleet.processes:
            if not process.is_alive:
                oracle.accuse(Fault.ANSWER, process.log.stem, "ended by itself")
        quiet = time.monotonic()
        fleet.start()
        settle(fleet, oracle, worker_deaths=outlasted)
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        notes=[
            f"{context.kills} stops of a process, {outlasted} longer than a lease",
            f"{workload.tally.unavailable} requests answered 503",
            f"all settled {settled:.1f} s after the last",
        ],
    )
