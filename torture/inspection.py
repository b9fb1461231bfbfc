"""The reckoning: when all is quiet, everything that shows a document must agree.

Nothing may be waiting any more; then listing, job, fetch, passages and search in each mode
are compared, document by document, with each other and with the oracle, and the files of
the data directory are read for what was deleted.
"""

import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from torture.connection import Connection, JsonObject, NotAnswered, NotSent
from torture.documents import VERSION_WORD, Name
from torture.fleet import Fleet
from torture.oracle import Fault, Oracle
from torture.schedule import MODES
from torture.workload import Reader

# Without a fault any more, so long may what waits take.
SETTLED_WITHIN = 300.0
PURGED_WITHIN = 90.0
STRAYS_GONE_WITHIN = 30.0
THREADS = 3
# Deaths of a worker that one document may be the cause of before it is given up.
_DEATHS = 3
_LOOK_SECONDS = 0.2


def settle(
    fleet: Fleet,
    oracle: Oracle,
    *,
    worker_deaths: int = 0,
    within: float = SETTLED_WITHIN,
) -> int:
    """Return when nothing waits; accuse what still does, and what failed.

    How many documents were given up because a worker died on each three times, as the
    documentation says, and had to be tried again by hand: possible only where so many did.
    """
    given_up = 0
    with fleet.connection() as connection:
        bases = sorted({name.knowledge_base for name in oracle.names()})
        while True:
            _wait_until_quiet(connection, oracle, bases, within)
            failed = [job for base in bases for job in jobs(connection, base, "failed")]
            blameless = [job for job in failed if worker_deaths >= _DEATHS <= job["attempts"]]
            for job in failed:
                if job not in blameless:
                    oracle.accuse(Fault.FAILED, _name(job), str(job["error"]))
            if not blameless:
                return given_up
            for job in blameless:
                given_up += 1
                name = _name(job)
                query = urllib.parse.urlencode(
                    {"knowledgeBaseId": name.knowledge_base, "integrationId": name.integration}
                )
                path = f"/ingest/jobs/{urllib.parse.quote(name.job_id, safe='')}/retry?{query}"
                answer = connection.call("POST", path)
                if answer.status != 200:
                    oracle.accuse(Fault.ANSWER, path, str(answer))
                    return given_up


def inspect(
    fleet: Fleet,
    oracle: Oracle,
    *,
    traces: bool = True,
    show: Callable[[str], object] = lambda _: None,
) -> None:
    """Compare everything with everything; what must not be is in the oracle afterwards."""
    names = oracle.names()
    show(f"comparing {len(names)} documents")
    with fleet.connection() as connection:
        reader = Reader(oracle, connection)
        entries: dict[Name, JsonObject] = {}
        for base in sorted({name.knowledge_base for name in names}):
            listed = reader.listing(base)
            if listed is None:
                oracle.accuse(Fault.ANSWER, base, "cannot be listed")
            for entry in listed or ():
                entries[Name(base, entry["integrationId"], entry["externalId"])] = entry
    for name in entries.keys() - set(names):
        oracle.accuse(Fault.UNDELETED, name, "is listed and was never sent")
    local = threading.local()
    opened: list[Connection] = []

    def check(name: Name) -> None:
        if not hasattr(local, "connection"):
            local.connection = fleet.connection()
            opened.append(local.connection)
        _Inspector(oracle, local.connection).check(name, entries.get(name))

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(check, names))
    finally:
        for connection in opened:
            connection.__exit__(None, None, None)
    if traces:
        _require_no_traces(fleet, oracle)
    _require_no_strays(fleet, oracle)


def jobs(connection: Connection, base: str, status: str) -> Iterator[JsonObject]:
    """All jobs of a knowledge base in a state."""
    cursor = ""
    while True:
        path = f"/ingest/jobs?knowledgeBaseId={base}&status={status}&limit=100{cursor}"
        page = connection.call("GET", path).body
        yield from page.get("jobs", [])
        if not page.get("nextCursor"):
            return
        cursor = f"&cursor={urllib.parse.quote(page['nextCursor'])}"


class _Inspector:
    """Checks one document after the other on one connection."""

    def __init__(self, oracle: Oracle, connection: Connection) -> None:
        self._oracle = oracle
        self._reader = Reader(oracle, connection)

    def check(self, name: Name, entry: JsonObject | None) -> None:
        try:
            job = self._reader.job(name)
            versions = self._reader.fetch(name)
            if versions or None not in self._oracle.may_be(name):
                self._check_present(name, versions, entry, job)
            else:
                self._check_gone(name, entry, job)
        except (NotSent, NotAnswered, TimeoutError) as error:
            self._oracle.accuse(Fault.ANSWER, name, f"no answer at rest: {error!r}")

    def _check_present(
        self,
        name: Name,
        versions: frozenset[str],
        entry: JsonObject | None,
        job: JsonObject | None,
    ) -> None:
        if not versions:
            # What the fetch told the oracle is only judged where a document id is known.
            self._oracle.accuse(Fault.MISSING, name, "cannot be fetched")
            return
        if job is None or entry is None:
            self._oracle.accuse(Fault.MISSING, name, "is fetched, but not listed or without a job")
            return
        if job["status"] != "completed":
            fault = Fault.FAILED if job["status"] == "failed" else Fault.STUCK
            self._oracle.accuse(fault, name, f"its job is {job['status']}: {job['error']}")
            return
        passages = self._reader.passages(name) or []
        shown: Mapping[str, Sequence[frozenset[str]]] = {
            "the passages": [frozenset().union(*passages)],
            "the listing": [frozenset(VERSION_WORD.findall(entry["title"]))],
            **{f"a {mode} search": self._reader.search(name, mode) or [] for mode in MODES},
        }
        for where, found in shown.items():
            if not found or not found[0]:
                self._oracle.accuse(Fault.MISSING, name, f"{where} showed none of {set(versions)}")
            elif list(found) != [versions]:
                fault = Fault.DOUBLED if len(found) > 1 else Fault.WRONG_VERSION
                self._oracle.accuse(fault, name, f"{where}: {found}, fetched: {set(versions)}")
        if len(passages) != job["chunks"]:
            what = f"{len(passages)} passages, its job counts {job['chunks']}"
            self._oracle.accuse(Fault.DOUBLED, name, what)

    def _check_gone(self, name: Name, entry: JsonObject | None, job: JsonObject | None) -> None:
        if entry is not None:
            self._oracle.accuse(Fault.UNDELETED, name, "is listed, but cannot be fetched")
        if job is not None and job["status"] != "deleted":
            self._oracle.accuse(Fault.UNDELETED, name, f"its job is {job['status']}")
        for mode in MODES:
            if self._reader.search(name, mode):
                self._oracle.accuse(Fault.UNDELETED, name, f"a {mode} search finds it")
        if self._reader.passages(name):
            self._oracle.accuse(Fault.UNDELETED, name, "it has passages")


def _wait_until_quiet(
    connection: Connection, oracle: Oracle, bases: Sequence[str], within: float
) -> None:
    deadline = time.monotonic() + within
    # Twice in a row: a document may pass from one state to the other between two looks.
    quiet = 0
    while quiet < 2:
        waiting = [
            job
            for base in bases
            for status in ("queued", "processing")
            for job in jobs(connection, base, status)
        ]
        quiet = 0 if waiting else quiet + 1
        if waiting and time.monotonic() > deadline:
            for job in waiting:
                what = f"{job['status']} after {within:.0f} s of quiet: {job['error']}"
                oracle.accuse(Fault.STUCK, _name(job), what)
            return
        time.sleep(_LOOK_SECONDS)


def _require_no_traces(fleet: Fleet, oracle: Oracle) -> None:
    """The text of what is deleted is in no file: its words would be."""
    gone = {
        version: name
        for name in oracle.names()
        if oracle.may_be(name) == {None}
        for version in oracle.versions_of(name)
    }
    deadline = time.monotonic() + PURGED_WITHIN
    while left := {
        (word, path.name)
        for path in fleet.data_dir.rglob("*")
        if path.is_file()
        for word in VERSION_WORD.findall(path.read_bytes().decode("latin-1"))
        if word in gone
    }:
        if time.monotonic() > deadline:
            for word, file in sorted(left):
                oracle.accuse(Fault.LEFT_BEHIND, gone[word], f"{word} in {file}")
            return
        time.sleep(_LOOK_SECONDS)


def _require_no_strays(fleet: Fleet, oracle: Oracle) -> None:
    """Whatever was killed, its children have gone as well."""
    deadline = time.monotonic() + STRAYS_GONE_WITHIN
    while strays := fleet.strays():
        if time.monotonic() > deadline:
            for pid in strays:
                oracle.accuse(Fault.STRAY, pid, "belongs to nobody and runs")
            return
        time.sleep(_LOOK_SECONDS)


def _name(job: JsonObject) -> Name:
    return Name(job["knowledgeBaseId"], job["integrationId"], job["externalId"])
