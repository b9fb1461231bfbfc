"""The model or the store is away for longer than any retry, or slower than the lease.

What waits stays queued and says why, no attempt is spent, and everything catches up by
itself when it is back.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.context import Context
from torture.disk import ailing, post, require_untried, waiting_reason
from torture.documents import Name
from torture.fleet import LEASE_SECONDS, Fleet, Shape
from torture.inspection import inspect, jobs, settle
from torture.launcher import COMMAND, MODEL_AWAY, MODEL_SLOW, STORE_AWAY, SWITCHES
from torture.oracle import Fault
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES
from torture.workload import Tally, Writer

_DOCUMENTS = 30
# Longer than a lease, so that only a living heartbeat keeps what is worked on.
SLOW_SECONDS = LEASE_SECONDS * 1.6


def outages(context: Context) -> Outcome:
    """Switch the model off for so long, then the store, then make the model slow."""
    oracle = context.oracle()
    switches = context.directory / "switches"
    switches.mkdir()
    # The worker's own pauses grow to half a minute.
    seconds = max(8.0, context.kills * 0.4)
    notes = []
    names = [Name(KNOWLEDGE_BASES[0], "int", f"kept-{number}") for number in range(_DOCUMENTS)]
    with Fleet(
        context.directory,
        # A supervised worker would be the command line's own, without switches.
        Shape(apis=1, workers=1, supervised=0),
        servers=context.servers,
        command=COMMAND,
        settings={SWITCHES: str(switches)},
    ) as fleet:
        fleet.start()
        with fleet.connection() as connection:
            writer = Writer(oracle, connection)
            post(writer, names, context.seed, "first")
            settle(fleet, oracle)
            for switch, purpose in ((MODEL_AWAY, None), (STORE_AWAY, "search")):
                with _set(switches / switch):
                    post(writer, names, context.seed, switch)
                    reason = waiting_reason(fleet, connection, oracle)
                    context.show(f"{switch}: waiting documents say {reason!r}")
                    if purpose is not None and not ailing(fleet, purpose):
                        oracle.accuse(Fault.ANSWER, f"/ready?for={purpose}", "says all is well")
                    if accepting := ailing(fleet, "accept"):
                        oracle.accuse(Fault.ANSWER, "/ready?for=accept", f"says {accepting}")
                    time.sleep(seconds)
                    require_untried(connection, oracle)
                back = time.monotonic()
                settle(fleet, oracle)
                notes.append(
                    f"{switch} for {seconds:.0f} s ({reason!r}): caught up "
                    f"{time.monotonic() - back:.1f} s after it was back"
                )
            with _set(switches / MODEL_SLOW, f"{SLOW_SECONDS}"):
                post(writer, names, context.seed, MODEL_SLOW)
                fleet.wait_for(
                    lambda: any(jobs(connection, KNOWLEDGE_BASES[0], "processing")),
                    "nothing is processed",
                )
                settle(fleet, oracle)
            attempts = [
                job["attempts"] for job in jobs(connection, names[0].knowledge_base, "completed")
            ]
            if set(attempts) != {1}:
                oracle.accuse(Fault.FAILED, "a slow model", f"cost attempts: {sorted(attempts)}")
            notes.append(f"a model slower than the lease by {SLOW_SECONDS - LEASE_SECONDS:.0f} s")
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=Tally(requests=writer.tally.requests),
        notes=notes,
    )


@contextmanager
def _set(switch: Path, words: str = "") -> Iterator[None]:
    switch.write_text(words)
    try:
        yield
    finally:
        switch.unlink()
