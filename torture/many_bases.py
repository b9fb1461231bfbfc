"""Two thousand knowledge bases, each an index file of its own, under `ulimit -n 1024`.

All are filled, searched, edited and searched again, by several clients and in an order that
no cache of open files likes.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from torture.context import Context
from torture.disk import post
from torture.documents import Name
from torture.fleet import SERVED, Fleet
from torture.inspection import inspect, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.soak import files
from torture.workload import Reader, Tally, Writer

BASES = 2_000
MOST_FILES = 1_024
_IN_BULK = 250
_THREADS = 4
_SETTLED_WITHIN = 900.0


def many_bases(context: Context) -> Outcome:
    """Fill so many knowledge bases with one document each, and search them all."""
    oracle = context.oracle()
    names = [Name(f"kb-{number}", "int", "only") for number in range(BASES)]
    dice = random.Random(context.seed)
    opened: list[int] = []
    with Fleet(context.directory, SERVED, servers=context.servers, most_files=MOST_FILES) as fleet:
        fleet.start()
        (worker,) = fleet.worker_pids()
        for word in ("first", "second"):
            with fleet.connection() as connection:
                writer = Writer(oracle, connection)
                for start in range(0, BASES, _IN_BULK):
                    post(writer, names[start : start + _IN_BULK], context.seed, word)
                context.show(f"{BASES:,} knowledge bases have their {word} version")
            _wait_until_searchable(fleet, context)
            dice.shuffle(names)
            opened += _search_all(fleet, oracle, names, [fleet.apis[0].pid, worker])
        if fleet.worker_pids() != [worker]:
            oracle.accuse(Fault.ANSWER, "the worker", "did not survive")
        settle(fleet, oracle)
        inspect(fleet, oracle, traces=False, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=Tally(requests=2 * -(-BASES // _IN_BULK), looks=2 * BASES),
        notes=[
            f"{BASES:,} knowledge bases under ulimit -n {MOST_FILES}",
            f"at most {max(opened)} files open in one process",
        ],
    )


def _wait_until_searchable(fleet: Fleet, context: Context) -> None:
    with fleet.connection() as connection:

        def waits() -> bool:
            return any(
                connection.call("GET", f"/ingest/jobs?status={status}&limit=1").body.get("jobs")
                for status in ("queued", "processing")
            )

        seconds = fleet.wait_for(lambda: not waits(), "documents wait", _SETTLED_WITHIN)
        context.show(f"all are searchable, {seconds:.0f} s later")


def _search_all(
    fleet: Fleet, oracle: Oracle, names: Sequence[Name], pids: Sequence[int]
) -> list[int]:
    """Search each base once; how many files each process had open meanwhile."""
    opened: list[int] = []

    def search(some: Sequence[Name]) -> None:
        with fleet.connection() as connection:
            reader = Reader(oracle, connection)
            for number, name in enumerate(some):
                if reader.search(name, "hybrid") == []:
                    oracle.accuse(Fault.MISSING, name, "was not found")
                if number % 50 == 0:
                    opened.extend(files(pid) for pid in pids)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(search, [names[n::_THREADS] for n in range(_THREADS)]))
    return opened
