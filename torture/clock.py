"""The clock jumps: an hour forward, then an hour back, while a worker dies with claims.

Forward, every lease is over at once and two workers may do the same; back, the leases of
the dead lie in the far future, and what they held must not wait for that.
"""

import os
import signal
import time
from pathlib import Path

from torture.context import Context
from torture.fleet import SPREAD, Fleet, NotPossible
from torture.inspection import inspect, jobs, settle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES
from torture.workload import Workload

# Debian's package libfaketime; the product itself runs as it is.
_LIBRARIES = ("faketime/libfaketimeMT.so.1", "*/faketime/libfaketimeMT.so.1")
_JUMPS = (3600, 0, -3600, 0)
_BETWEEN_SECONDS = 4.0


def clock_jumps(context: Context) -> Outcome:
    """Let the clock of all processes jump, and kill a worker each time."""
    oracle = context.oracle()
    shift = context.directory / "clock"
    _set(shift, 0)
    in_work = 0
    with Fleet(
        context.directory,
        SPREAD,
        servers=context.servers,
        settings={
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(shift),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    ) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload, fleet.connection() as connection:
            for number, seconds in enumerate(_JUMPS):
                time.sleep(_BETWEEN_SECONDS)
                fleet.wait_for(
                    lambda: any(any(jobs(connection, b, "processing")) for b in KNOWLEDGE_BASES),
                    "nothing is processed",
                )
                _set(shift, seconds)
                victim = fleet.workers[number % 2]
                os.kill(victim.pid, signal.SIGKILL)
                in_work += sum(
                    len(list(jobs(connection, b, "processing"))) for b in KNOWLEDGE_BASES
                )
                context.show(f"the clock is {seconds} s off, and a worker dies")
                fleet.wait_for(lambda victim=victim: not victim.is_alive, "it does not die")  # type: ignore[misc]
                fleet.start_dead()
        quiet = time.monotonic()
        fleet.start()
        settle(fleet, oracle, worker_deaths=len(_JUMPS))
        seconds_to_settle = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        kills=len(_JUMPS),
        notes=[
            f"the clock jumped {len(_JUMPS)} times by an hour",
            f"{in_work} documents in processing then",
            f"all settled {seconds_to_settle:.1f} s after the last one",
        ],
    )


def _set(file: Path, seconds: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.replace(file)


def _library() -> Path:
    for pattern in _LIBRARIES:
        for path in Path("/usr/lib").glob(pattern):
            return path
    raise NotPossible("libfaketime is not installed; on Debian: apt-get install libfaketime")
