"""A worker that is stopped beyond its lease, and woken when another has done its work.

While it stands still, some of what it had claimed is edited, some deleted, and the rest
left alone; a second worker does it all. What the first then writes must change nothing.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llamaindex_reaktly.stores.sqlite import sqlite3
from torture.connection import JsonObject
from torture.context import Context
from torture.documents import Name, version_word
from torture.fleet import LEASE_SECONDS, SPREAD, Fleet, Process, TortureFailed, frozen
from torture.inspection import inspect, jobs, settle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, Request, Verb
from torture.servers import RegistryServer
from torture.workload import Tally, Writer

# Some seconds of embedding, so that the worker is stopped in the middle of it.
DOCUMENTS = 60
_BASE = KNOWLEDGE_BASES[0]
_CLAIMED_WITHIN = 30.0
_TRIES = 20


def fencing(context: Context) -> Outcome:
    """Stop, overtake and wake a worker in each round, then judge."""
    rounds = max(1, context.kills // 20)
    oracle = context.oracle()
    taken_over = 0
    with Fleet(context.directory, SPREAD, servers=context.servers) as fleet:
        fleet.start()
        with fleet.connection() as connection:
            writer = Writer(oracle, connection)
            for number in range(rounds):
                sleeper, other = fleet.workers[:: 1 if number % 2 else -1]
                other.stop()
                names = [Name(_BASE, "int", f"fenced-{n}") for n in range(DOCUMENTS)]

                def post(some: Sequence[Name], *coordinates: object) -> None:
                    versions: dict[Name, str | None] = {
                        n: version_word(context.seed, *coordinates, n.external_id) for n in some
                    }
                    _carry_out(writer, Verb.INGEST_BULK, versions)

                def claimed() -> list[JsonObject]:
                    return list(jobs(connection, _BASE, "processing"))

                post(names, number, "first")
                with _stopped_in_mid_work(fleet, sleeper, claimed):
                    held = [Name(_BASE, j["integrationId"], j["externalId"]) for j in claimed()]
                    taken_over += len(held)
                    post(held[::3], number, "second")
                    _carry_out(writer, Verb.DELETE_BULK, dict.fromkeys(held[1::3]))
                    other.start()
                    time.sleep(LEASE_SECONDS)  # of which the sleeper knows nothing
                    settle(fleet, oracle)
                # It has written all that it had in hand when it does the next thing.
                other.stop()
                post([Name(_BASE, "int", "probe")], number, "probe")
                settle(fleet, oracle)
                other.start()
                context.show(f"round {number + 1} of {rounds}: {len(held)} documents taken over")
        fleet.start()
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=Tally(requests=writer.tally.requests),
        notes=[f"{taken_over} documents taken over from a worker stopped in {rounds} rounds"],
    )


def _carry_out(writer: Writer, verb: Verb, versions: dict[Name, str | None]) -> None:
    if not versions:
        return
    answer = writer.carry_out(Request(verb, versions, pause=0.0, door=0.0))
    if answer is None or answer.status != 200:
        raise TortureFailed(f"{verb} was answered with {answer}")


@contextlib.contextmanager
def _stopped_in_mid_work(
    fleet: Fleet, worker: Process, claimed: Callable[[], list[JsonObject]]
) -> Iterator[None]:
    """A worker stopped while it holds claims, but no lock of any database.

    One that holds a lock keeps everybody else from writing until it is woken: a worker
    that is slow, as is meant here, is hardly ever in that state.
    """
    for _ in range(_TRIES):
        fleet.wait_for(lambda: bool(claimed()), "no worker claimed anything", _CLAIMED_WITHIN)
        with frozen(worker.pid):
            if _holds_no_lock(fleet) and claimed():
                yield
                return
    raise TortureFailed(f"the worker held a lock each of {_TRIES} times that it was stopped")


def _holds_no_lock(fleet: Fleet) -> bool:
    files = [
        path
        for pattern in ("registry.sqlite", "index/*.sqlite3")
        for path in fleet.data_dir.glob(pattern)
    ]
    return all(_can_be_written(path) for path in files) and all(
        server.is_idle() for server in fleet.servers if isinstance(server, RegistryServer)
    )


def _can_be_written(path: Path) -> bool:
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return not busy
