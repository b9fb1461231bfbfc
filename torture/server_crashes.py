"""The servers that the product stands on crash, and stand still, while clients write and look.

PostgreSQL as the registry, and whatever store is a server. The product's own processes run
through all of it: nobody restarts them, and none may end.
"""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torture.fleet import SPREAD, Fleet, Server
from torture.inspection import inspect, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.storm import AFTERWARDS_ON_A_SERVER
from torture.workload import Workload


def server_crashes(
    directory: Path,
    *,
    scenario: str,
    servers: Sequence[Server],
    seed: int,
    rounds: int,
    show: Callable[[str], object],
) -> Outcome:
    """In each round a server is killed and comes back, and one is frozen for some seconds."""
    begun = time.monotonic()
    oracle = Oracle(afterwards=AFTERWARDS_ON_A_SERVER)
    dice = random.Random(f"{seed}/servers")
    with Fleet(directory, SPREAD, servers=servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, seed)
        with workload:
            for number in range(rounds):
                time.sleep(dice.uniform(1.0, 4.0))
                server = dice.choice(servers)
                server.kill()
                time.sleep(dice.uniform(0.0, 4.0))
                server.start()
                time.sleep(dice.uniform(1.0, 4.0))
                with dice.choice(servers).frozen():
                    time.sleep(dice.uniform(1.0, 8.0))
                show(f"round {number + 1} of {rounds}")
        for process in fleet.processes:
            if not process.is_alive:
                oracle.accuse(Fault.ANSWER, process.log.stem, "ended with the server")
        quiet = time.monotonic()
        fleet.start()
        settle(fleet, oracle)
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=show)
    return Outcome.of(
        scenario,
        seed,
        oracle,
        seconds=time.monotonic() - begun,
        tally=workload.tally,
        notes=[
            f"{rounds} crashes of a server and as many times that it stood still",
            f"{workload.tally.unavailable} requests answered 503",
            f"all settled {settled:.1f} s after the last",
        ],
    )
