"""The store's server, the worker, or both are killed while clients write and look.

A killed Weaviate may keep objects whose vectors it no longer finds. So each vector is looked
for by itself afterwards; what is missed must be noticed and mended by `reaktly doctor --deep`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateServer
from torture.context import Context
from torture.fleet import SERVED, Fleet, TortureFailed, children_of
from torture.inspection import inspect, jobs, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, OF_THE_STORE, Kill, Target, kills
from torture.storm import being_processed
from torture.workload import Workload

_MENDED_WITHIN = 300.0


def store_kills(context: Context) -> Outcome:
    """Kill so often, a third of each kind, then judge, vector by vector."""
    oracle = context.oracle()
    killed: Counter[Target] = Counter()
    in_work = 0
    (server,) = (one for one in context.servers if isinstance(one, WeaviateServer))
    with Fleet(context.directory, SERVED, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload:
            schedule = kills(context.seed, context.kills, targets=OF_THE_STORE)
            for count, kill in enumerate(schedule, 1):
                # Without this wait, a kill may hit a server or a worker that starts.
                if kill.settled:
                    fleet.wait_until_in_service()
                time.sleep(kill.pause)
                in_work += being_processed(fleet)
                _carry_out(fleet, server, kill)
                killed[kill.target] += 1
                if count % 10 == 0:
                    context.show(f"{count} of {context.kills} kills")
        quiet = time.monotonic()
        fleet.start()
        given_up = settle(fleet, oracle, worker_deaths=context.kills - killed[Target.STORE])
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
        vectors, missed = look_for_each_vector(fleet, server, oracle)
    notes = [
        ", ".join(f"{killed[target]} of {target}" for target in OF_THE_STORE),
        f"{in_work} documents in processing when killed",
        f"{workload.tally.unavailable} requests answered 503",
        f"all settled {settled:.1f} s after the last kill",
        f"{missed} of {vectors:,} vectors not found by themselves, all of them after a repair",
    ]
    if given_up:
        notes.append(f"{given_up} given up after three deaths and retried by hand")
    return Outcome.of(context, oracle, tally=workload.tally, kills=context.kills, notes=notes)


def _carry_out(fleet: Fleet, server: WeaviateServer, kill: Kill) -> None:
    if kill.target is not Target.STORE:
        for worker in children_of(fleet.apis[0].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    if kill.target is not Target.WORKER:
        server.kill()
        time.sleep(kill.downtime)
        server.launch()


def look_for_each_vector(fleet: Fleet, server: WeaviateServer, oracle: Oracle) -> tuple[int, int]:
    """How many vectors there must be, and how many were found only after a repair.

    The oracle is told of documents that are not whole after that either.
    """
    with opened(server) as store:
        before = _not_whole(fleet, store)
        if before:
            _doctor(fleet)
            settle(fleet, oracle, within=_MENDED_WITHIN)
            for document_id, counts in _not_whole(fleet, store).items():
                what = f"{counts[0]} of {counts[1]} vectors found, also after a repair"
                oracle.accuse(Fault.MISSING, document_id, what)
        vectors = sum(_chunks(fleet, base).total() for base in KNOWLEDGE_BASES)
    return vectors, sum(wanted - found for found, wanted in before.values())


@contextlib.contextmanager
def opened(server: WeaviateServer) -> Iterator[WeaviateStore]:
    """The store as that server, or node, has it."""
    store = WeaviateStore(WeaviateAddress(server.url, server.grpc_url, server.key))
    try:
        yield store
    except Unavailable as error:
        raise TortureFailed(f"Weaviate answers nothing at rest: {error.message}") from error
    finally:
        store.close()


def _not_whole(fleet: Fleet, store: WeaviateStore) -> dict[str, tuple[int, int]]:
    """Documents of which not every vector is found by itself: how many are, and should be."""
    lacking: dict[str, tuple[int, int]] = {}
    for base in KNOWLEDGE_BASES:
        # The newest version last: older ones stay for a while after they were replaced.
        versions = sorted(store.versions(base), key=lambda one: one.version)
        found = {one.document_id: one.nodes for one in versions}
        for document_id, chunks in _chunks(fleet, base).items():
            if found.get(document_id, 0) < chunks:
                lacking[document_id] = (found.get(document_id, 0), chunks)
    return lacking


def _chunks(fleet: Fleet, base: str) -> Counter[str]:
    with fleet.connection() as connection:
        completed = jobs(connection, base, "completed")
        return Counter({job["documentId"]: job["chunks"] for job in completed})


def _doctor(fleet: Fleet) -> None:
    done = subprocess.run(
        [sys.executable, *fleet.command, "doctor", "--deep"],
        cwd=fleet.directory,
        env=dict(fleet.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_MENDED_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        raise TortureFailed(f"`reaktly doctor --deep` failed: {done.stdout}{done.stderr}")
