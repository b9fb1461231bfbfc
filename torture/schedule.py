"""What is done, drawn from a seed: the clients' requests and the faults between them.

Pure functions of the seed: the same seed gives the same requests in the same order for each
client, and the same faults with the same pauses. How they interleave is the machine's.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torture.documents import Name, version_word

KNOWLEDGE_BASES = ("kb-north", "kb-south")
# Ids that look alike once joined, folded or split: `a-b` + `c` is the job of `a` + `b-c`.
INTEGRATIONS = ("int", "int-a")
HOT_IDS = (
    *(f"hot-{number}" for number in range(6)),
    "a-hot-0",
    "HOT-0",
    "päge/1?x=1&y=2",
    "日本",
)
HOT = tuple(
    Name(base, integration, external_id)
    for base in KNOWLEDGE_BASES
    for integration in INTEGRATIONS
    for external_id in HOT_IDS
)
MODES = ("hybrid", "vector", "text")
MOST_IN_BULK = 10
# A client's own documents that it still edits; older ones rest, and must be kept.
_RECENT = 40


class Verb(StrEnum):
    """What one request of a client does."""

    INGEST = "ingest"
    INGEST_AND_WAIT = "ingest and wait"
    INGEST_BULK = "ingest bulk"
    DELETE = "delete"
    DELETE_BULK = "delete bulk"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: versions to post, or names to delete. `door` chooses the API process."""

    verb: Verb
    versions: dict[Name, str | None]
    pause: float
    door: float


def requests_of(seed: int, client: int, *, most_own: int | None = None) -> Iterator[Request]:
    """The endless requests of one writing client.

    `most_own` bounds the documents that it alone writes: a client that makes new ones all
    the time lets the knowledge base grow without end.
    """
    dice = random.Random(f"{seed}/client/{client}")
    own: list[Name] = []
    sent: dict[Name, list[str]] = {}

    def some_name() -> Name:
        roll = dice.random()
        if roll < 0.45:
            return dice.choice(HOT)
        if (roll < 0.7 and own) or len(own) == most_own:
            return dice.choice(own[-_RECENT:] if most_own is None else own)
        name = Name(
            dice.choice(KNOWLEDGE_BASES), dice.choice(INTEGRATIONS), f"own-{client}-{len(own)}"
        )
        own.append(name)
        return name

    number = 0

    def version(name: Name) -> str:
        nonlocal number
        before = sent.setdefault(name, [])
        roll = dice.random()
        if before and roll < 0.15:  # unchanged, unless another client came between
            return before[-1]
        if len(before) > 1 and roll < 0.22:  # back to an older one
            return dice.choice(before)
        number += 1
        before.append(version_word(seed, client, number))
        return before[-1]

    while True:
        verb = dice.choices(tuple(Verb), weights=(50, 5, 14, 14, 3))[0]
        many = verb in (Verb.INGEST_BULK, Verb.DELETE_BULK)
        names = {some_name(): None for _ in range(dice.randint(2, MOST_IN_BULK) if many else 1)}
        if verb in (Verb.DELETE, Verb.DELETE_BULK):
            versions: dict[Name, str | None] = dict.fromkeys(names)
        else:
            versions = {name: version(name) for name in names}
        yield Request(verb, versions, dice.uniform(0.0, 0.3), dice.random())


class Look(StrEnum):
    """What one request of a reading client asks for."""

    SEARCH = "search"
    FETCH = "fetch"
    JOB = "job"
    PASSAGES = "passages"
    LISTING = "listing"


@dataclass(frozen=True, slots=True)
class Question:
    """One look at a document; a `place` in 0..1 chooses it among those that were sent."""

    look: Look
    place: float
    hot: bool
    mode: str
    pause: float
    door: float


def questions_of(seed: int, client: int) -> Iterator[Question]:
    """The endless questions of one reading client."""
    dice = random.Random(f"{seed}/reader/{client}")
    while True:
        look = dice.choices(tuple(Look), weights=(60, 15, 10, 12, 3))[0]
        yield Question(
            look,
            dice.random(),
            dice.random() < 0.6,
            dice.choice(MODES),
            dice.uniform(0.0, 0.05),
            dice.random(),
        )


class Target(StrEnum):
    """What a kill hits."""

    API = "api"
    WORKER = "worker"
    BOTH = "api and worker"
    STORE = "store"
    STORE_AND_WORKER = "store and worker"


OF_THE_PRODUCT = (Target.API, Target.WORKER, Target.BOTH)
OF_THE_STORE = (Target.STORE, Target.WORKER, Target.STORE_AND_WORKER)


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL, or two at once, after a pause.

    `settled` waits before the pause until all processes are in service again; without it
    the kill may hit one that starts. `which` in 0..1 chooses among several processes,
    `downtime` is how long nobody starts it again.
    """

    target: Target
    pause: float
    settled: bool
    which: float
    downtime: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """One process stopped for some seconds, after a pause; `which` in 0..1 chooses it."""

    pause: float
    which: float
    seconds: float


def freezes(seed: int, number: int, *, longest: float) -> list[Freeze]:
    """So many freezes, most of them short, each at most `longest` seconds."""
    dice = random.Random(f"{seed}/freezes")
    return [
        Freeze(
            pause=dice.uniform(0.1, 2.0),
            which=dice.random(),
            seconds=longest * dice.random() ** 2,
        )
        for _ in range(number)
    ]


def kills(
    seed: int,
    number: int,
    *,
    targets: Sequence[Target] = OF_THE_PRODUCT,
    longest_pause: float = 2.0,
) -> list[Kill]:
    """So many kills, as many of each target as of the others, give or take one."""
    dice = random.Random(f"{seed}/kills")
    drawn: list[Kill] = []
    while len(drawn) < number:
        # Shuffled in blocks: a worker killed again and again, with no API killed between,
        # is given up by its supervisor, and that is not what is tested.
        block = list(targets)
        dice.shuffle(block)
        drawn += [
            Kill(
                target,
                pause=dice.uniform(0.1, longest_pause),
                settled=dice.random() < 0.6,
                which=dice.random(),
                downtime=dice.choice((0.0, 0.0, dice.uniform(0.0, 1.5))),
            )
            for target in block
        ]
    return drawn[:number]
