"""A node of a Weaviate cluster is lost in the middle of everything, and comes back.

Every object has a copy on each of three nodes and two must agree to a write, so ingestion
and searches go on without one. The product speaks to the first node, which stays.
"""

import random
import time

from llamaindex_reaktly.stores.weaviate import WeaviateStore
from scripts.weaviate_server import WeaviateCluster
from torture.connection import Connection
from torture.context import Context
from torture.documents import Name, version_word
from torture.fleet import SERVED, Fleet
from torture.inspection import inspect, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, MODES, Request, Verb
from torture.store_kills import look_for_each_vector, opened
from torture.workload import Reader, Workload, Writer

# Pushed and looked for while the node is away.
_DOCUMENTS = 10
# Measured: about a minute until a node that was away has what it missed.
_CAUGHT_UP_WITHIN = 300.0


def node_loss(context: Context) -> Outcome:
    """In each round one of the other nodes is killed, does without some writes and returns."""
    oracle = context.oracle()
    rounds = max(1, context.kills // 15)
    dice = random.Random(f"{context.seed}/nodes")
    (cluster,) = (one for one in context.servers if isinstance(one, WeaviateCluster))
    slowest = 0.0
    with Fleet(context.directory, SERVED, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed)
        with workload, fleet.connection() as connection:
            for number in range(rounds):
                time.sleep(dice.uniform(2.0, 5.0))
                node = dice.choice(cluster.nodes[1:])
                node.kill()
                slowest = max(slowest, _goes_on(context, number, connection, oracle))
                node.start()
                context.show(f"round {number + 1} of {rounds}: {node.data.name} was away")
        quiet = time.monotonic()
        settle(fleet, oracle)
        settled = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
        vectors, missed = look_for_each_vector(fleet, cluster.nodes[0], oracle)
        caught_up = _catch_up(cluster, oracle)
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        kills=rounds,
        notes=[
            f"{rounds * _DOCUMENTS} documents pushed and found without a node",
            f"the slowest of these after {slowest:.1f} s",
            f"{workload.tally.unavailable} requests answered 503",
            f"all settled {settled:.1f} s after the last node's return",
            f"{missed} of {vectors:,} vectors not found by themselves, all of them after a repair",
            f"every node had all of it {caught_up:.0f} s later",
        ],
    )


def _goes_on(context: Context, number: int, connection: Connection, oracle: Oracle) -> float:
    """Push documents and find each; the longest that one took, in seconds."""
    writer, reader = Writer(oracle, connection), Reader(oracle, connection)
    slowest = 0.0
    for place in range(_DOCUMENTS):
        name = Name(KNOWLEDGE_BASES[0], "int", f"without-a-node-{number}-{place}")
        word = version_word(context.seed, name.external_id)
        begun = time.monotonic()
        answer = writer.carry_out(Request(Verb.INGEST_AND_WAIT, {name: word}, pause=0.0, door=0.0))
        slowest = max(slowest, time.monotonic() - begun)
        if answer is None or answer.status != 200:
            oracle.accuse(Fault.STUCK, name, f"not ingested without a node: {answer}")
            continue
        for mode in MODES:
            if not reader.search(name, mode):
                oracle.accuse(Fault.MISSING, name, f"no {mode} search finds it without a node")
    return slowest


def _catch_up(cluster: WeaviateCluster, oracle: Oracle) -> float:
    """Wait until each node counts the same; how long that took, in seconds."""
    begun = time.monotonic()
    for node in cluster.nodes[1:]:
        with opened(cluster.nodes[0]) as first, opened(node) as other:
            if not _agree(first, other, begun + _CAUGHT_UP_WITHIN):
                oracle.accuse(Fault.MISSING, node.data.name, "never caught up with the others")
    return time.monotonic() - begun


def _agree(first: WeaviateStore, other: WeaviateStore, deadline: float) -> bool:
    while any(first.count(base) != other.count(base) for base in KNOWLEDGE_BASES):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
