"""The servers that the product stands on crash, and stand still, while clients write and look.

PostgreSQL as the registry, and whatever store is a server. The product's own processes run
through all of it: nobody restarts them, and none may end.
"""

import random
import time

from torture.context import Context
from torture.fleet import SPREAD, Fleet
from torture.inspection import inspect, settle
from torture.oracle import Fault
from torture.outcome import Outcome
from torture.workload import Workload


def server_crashes(context: Context) -> Outcome:
    """In each round a server is killed and comes back, and one is frozen for some seconds."""
    oracle = context.oracle()
    rounds = max(2, context.kills // 15)
    dice = random.Random(f"{context.seed}/servers")
    with Fleet(context.directory, SPREAD, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload:
            for number in range(rounds):
                time.sleep(dice.uniform(1.0, 4.0))
                server = dice.choice(context.servers)
                server.kill()
                time.sleep(dice.uniform(0.0, 4.0))
                server.start()
                time.sleep(dice.uniform(1.0, 4.0))
                with dice.choice(context.servers).frozen():
                    time.sleep(dice.uniform(1.0, 8.0))
                context.show(f"round {number + 1} of {rounds}")
        for process in fleet.processes:
            if not process.is_alive:
                oracle.accuse(Fault.ANSWER, process.log.stem, "ended with the server")
        quiet = time.monotonic()
        fleet.start()
        settle(fleet, oracle)
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        notes=[
            f"{rounds} crashes of a server and as many times that it stood still",
            f"{workload.tally.unavailable} requests answered 503",
            f"all settled {settled:.1f} s after the last",
        ],
    )
