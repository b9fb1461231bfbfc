"""Several clients at once: some write, some look, each by its own schedule.

They run until they are told to stop, whatever becomes of the servers meanwhile, and tell
the oracle what they sent, what was answered and what they saw.
"""

import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from torture.connection import Answer, Connection, JsonObject, NotAnswered, NotSent
from torture.documents import Name, item, version_word, versions_in
from torture.fleet import Fleet
from torture.oracle import Fault, Oracle, Write
from torture.schedule import (
    HOT,
    KNOWLEDGE_BASES,
    Look,
    Question,
    Request,
    Verb,
    questions_of,
    requests_of,
)

# What a server may answer while parts of it are away; anything else is wrong.
UNAVAILABLE, STORAGE_FULL = 503, 507
# Nobody listens: wait a little, as a client would, so that the schedule is not burnt.
_REFUSED_PAUSE = 0.1
# More waiting than this, and the writers pause: what is tested is not how deep a queue gets.
MOST_WAITING = 150
_BACKLOG_LOOK_SECONDS = 0.5
_STOPPED_WITHIN = 120.0


@dataclass(slots=True)
class Tally:
    """What the clients did. Each has its own; they are added up in the end."""

    requests: int = 0
    cut_off: int = 0
    turned_away: int = 0
    unavailable: int = 0
    full: int = 0
    looks: int = 0

    def add(self, other: "Tally") -> None:
        """Add another's counts."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Writer:
    """Carries out requests and tells the oracle."""

    def __init__(self, oracle: Oracle, connection: Connection) -> None:
        self._oracle = oracle
        self._connection = connection
        self.tally = Tally()

    def carry_out(self, request: Request) -> Answer | None:
        """Send one request; the answer, or None if there was none."""
        method, path, body = _wire(request)
        writes = self._oracle.begin(request.versions)
        self.tally.requests += 1
        try:
            answer = self._connection.call(method, path, body, door=request.door)
        except NotSent:
            self.tally.turned_away += 1
            self._oracle.refuse(writes)
            time.sleep(_REFUSED_PAUSE)
            return None
        except NotAnswered:
            self.tally.cut_off += 1
            self._oracle.leave_open(writes)
            return None
        except TimeoutError:
            self._oracle.accuse(Fault.ANSWER, f"{method} {path}", "hung")
            return None
        self._judge(request, writes, answer)
        return answer

    def _judge(self, request: Request, writes: Sequence[Write], answer: Answer) -> None:
        method, path, _ = _wire(request)
        if answer.status == 200:
            self._oracle.acknowledge(writes)
            if request.verb is Verb.INGEST_AND_WAIT and answer.body.get("status") == "failed":
                self._oracle.accuse(Fault.FAILED, next(iter(request.versions)), str(answer))
        elif answer.status == STORAGE_FULL:
            self.tally.full += 1
            self._oracle.refuse(writes)
        elif answer.status == UNAVAILABLE:
            # The registry went away in mid-commit, or was away: either state.
            self.tally.unavailable += 1
            self._oracle.leave_open(writes)
        else:
            self._oracle.accuse(Fault.ANSWER, f"{method} {path}", str(answer))
            self._oracle.leave_open(writes)


class Reader:
    """Looks at documents and tells the oracle."""

    def __init__(self, oracle: Oracle, connection: Connection) -> None:
        self._oracle = oracle
        self._connection = connection
        self._ids: dict[Name, str] = {}
        self.tally = Tally()

    def look(self, name: Name, look: Look, mode: str, door: float = 0.0) -> None:
        """One look; without an answer there is nothing to tell."""
        self.tally.looks += 1
        looks: dict[Look, Callable[[Name, str, float], object]] = {
            Look.SEARCH: self.search,
            Look.FETCH: lambda n, _, d: self.fetch(n, d),
            Look.JOB: lambda n, _, d: self.job(n, d),
            Look.PASSAGES: lambda n, _, d: self.passages(n, d),
            Look.LISTING: lambda n, _, d: self.listing(n.knowledge_base, d),
        }
        try:
            looks[look](name, mode, door)
        except NotSent:
            time.sleep(_REFUSED_PAUSE)
        except NotAnswered:
            pass
        except TimeoutError:
            self._oracle.accuse(Fault.ANSWER, f"{look} of {name}", "hung")

    def search(self, name: Name, mode: str, door: float = 0.0) -> list[frozenset[str]] | None:
        """Search for one document by its word, with filters that let through no other.

        The versions in each hit; None for an answer that tells nothing.
        """
        begun = self._oracle.start_reading()
        where = f"a {mode} search"
        body = {
            "knowledgeBaseId": name.knowledge_base,
            "query": f"record {name.word}",
            "mode": mode,
            "filters": {"integrationId": name.integration, "externalId": name.external_id},
        }
        answer = self._call("POST", "/search", body, door, where, name)
        if answer is None:
            return None
        results: list[JsonObject] = answer.get("results", [])
        if len(results) > 1:
            self._oracle.accuse(Fault.DOUBLED, name, f"{where} showed it {len(results)} times")
        if not results:
            self._oracle.see_index(name, None, begun, where)
        found = []
        for result in results:
            if result["externalId"] != name.external_id:
                self._oracle.accuse(Fault.ANSWER, name, f"{where} found {result['externalId']}")
            texts = [p["text"] for p in result["passages"]]
            found.append(versions_in(result["title"], *texts))
            self._whole(name, found[-1], begun, where)
        return found

    def passages(self, name: Name, door: float = 0.0) -> list[frozenset[str]] | None:
        """The versions in each of a document's passages; None for one that is not there."""
        document_id = self.document_id(name, door)
        if document_id is None:
            return None
        begun = self._oracle.start_reading()
        where = "passages"
        answer = self._call("GET", f"/documents/{document_id}/passages", None, door, where, name)
        if not answer:
            return None
        found = [versions_in(passage["text"]) for passage in answer["passages"]]
        if found:
            self._whole(name, frozenset().union(*found), begun, where)
        else:
            self._oracle.see_index(name, None, begun, where)
        return found

    def _whole(self, name: Name, versions: frozenset[str], begun: float, where: str) -> None:
        if len(versions) != 1:
            shown = ", ".join(sorted(versions)) or "nothing of it"
            self._oracle.accuse(Fault.DOUBLED, name, f"{where} showed a mixture: {shown}")
        for version in versions:
            self._oracle.see_index(name, version, begun, where)

    def fetch(self, name: Name, door: float = 0.0) -> frozenset[str]:
        """Fetch a document as it was accepted; the versions that it shows."""
        begun = self._oracle.start_reading()
        document_id = self.document_id(name, door)
        if document_id is None:
            return frozenset()
        answer = self._call("GET", f"/documents/{document_id}", None, door, "a fetch", name)
        if answer is None:
            return frozenset()
        versions = versions_in(answer.get("content"), answer.get("title"))
        if len(versions) > 1:
            self._oracle.accuse(Fault.DOUBLED, name, f"a fetch showed a mixture: {versions}")
        self._oracle.see_registry(name, next(iter(versions), None), begun, "a fetch")
        return versions

    def job(self, name: Name, door: float = 0.0) -> JsonObject | None:
        """Look a job up; None if there is none or no answer."""
        begun = self._oracle.start_reading()
        query = urllib.parse.urlencode(
            {"knowledgeBaseId": name.knowledge_base, "integrationId": name.integration}
        )
        path = f"/ingest/jobs/{urllib.parse.quote(name.job_id, safe='')}?{query}"
        answer = self._call("GET", path, None, door, "a job", name)
        if answer is None:
            return None
        if not answer:
            self._oracle.see_registry(name, None, begun, "a job (unknown)")
            return None
        if answer["status"] == "deleted":
            self._oracle.see_registry(name, None, begun, "a job (deleted)")
        self._ids[name] = answer["documentId"]
        return answer

    def document_id(self, name: Name, door: float = 0.0) -> str | None:
        """The document's opaque id, which never changes; None while nothing has it."""
        if name not in self._ids:
            self.job(name, door)
        return self._ids.get(name)

    def listing(self, knowledge_base: str, door: float = 0.0) -> list[JsonObject] | None:
        """Walk a listing to its end; None if it broke off."""
        begun = self._oracle.start_reading()
        entries: list[JsonObject] = []
        cursor = ""
        while True:
            path = f"/documents?knowledgeBaseId={knowledge_base}&limit=100{cursor}"
            page = self._call("GET", path, None, door, "a listing", knowledge_base)
            if not page:
                return None
            entries += page["documents"]
            if page["nextCursor"] is None:
                break
            cursor = f"&cursor={urllib.parse.quote(page['nextCursor'])}"
        seen: set[Name] = set()
        for entry in entries:
            name = Name(knowledge_base, entry["integrationId"], entry["externalId"])
            if name in seen:
                self._oracle.accuse(Fault.DOUBLED, name, "a listing showed it twice")
            seen.add(name)
            self._ids[name] = entry["documentId"]
            for version in versions_in(entry["title"]):
                self._oracle.see_registry(name, version, begun, "a listing")
        return entries

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        door: float,
        where: str,
        subject: object,
    ) -> JsonObject | None:
        """The JSON of a 200, nothing of a 404; None for an answer that tells nothing."""
        answer = self._connection.call(method, path, body, door=door)
        if answer.status == 200:
            return answer.body
        if answer.status == 404:
            return {}
        if answer.status == UNAVAILABLE:
            self.tally.unavailable += 1
        else:
            self._oracle.accuse(Fault.ANSWER, f"{where} of {subject}", str(answer))
        return None


def _wire(request: Request) -> tuple[str, str, dict[str, object]]:
    names = list(request.versions)
    items = [item(name, version) for name, version in request.versions.items() if version]
    match request.verb:
        case Verb.INGEST:
            return "POST", "/ingest", items[0]
        case Verb.INGEST_AND_WAIT:
            return "POST", "/ingest?wait=true", items[0]
        case Verb.INGEST_BULK:
            return "POST", "/ingest/bulk", {"items": items}
        case Verb.DELETE:
            return "DELETE", "/ingest", dict(names[0].reference)
        case Verb.DELETE_BULK:
            return "DELETE", "/ingest/bulk", {"items": [name.reference for name in names]}


@dataclass(slots=True)
class Workload:
    """Clients in threads of their own, between entering and leaving."""

    fleet: Fleet
    oracle: Oracle
    seed: int
    writers: int = 4
    readers: int = 2
    most_own: int | None = None
    tally: Tally = field(default_factory=Tally)
    _over: threading.Event = field(default_factory=threading.Event)
    _crowded: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _broken: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        # Nothing can be deleted from a knowledge base that no first document has made.
        with self.fleet.connection() as connection:
            writer = Writer(self.oracle, connection)
            for base in KNOWLEDGE_BASES:
                first = {Name(base, "int", "first"): version_word(self.seed, base)}
                writer.carry_out(Request(Verb.INGEST, {**first}, pause=0.0, door=0.0))
        runs: list[tuple[Callable[[int], None], int]] = [
            *((self._write, n) for n in range(self.writers)),
            *((self._read, n) for n in range(self.readers)),
            (self._watch_backlog, 0),
        ]
        for run, number in runs:
            thread = threading.Thread(target=self._run, args=(run, number), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_STOPPED_WITHIN)
        if kind is None and self._broken:
            raise self._broken[0]

    def _run(self, run: Callable[[int], None], number: int) -> None:
        try:
            run(number)
        except BaseException as error:  # noqa: BLE001 - the thread's outermost handler
            self._broken.append(error)

    def _write(self, number: int) -> None:
        with self.fleet.connection() as connection:
            writer = Writer(self.oracle, connection)
            for request in requests_of(self.seed, number, most_own=self.most_own):
                while self._crowded.is_set() and not self._over.wait(0.05):
                    pass
                if self._over.wait(request.pause):
                    break
                writer.carry_out(request)
            with self._lock:
                self.tally.add(writer.tally)

    def _read(self, number: int) -> None:
        with self.fleet.connection() as connection:
            reader = Reader(self.oracle, connection)
            for question in questions_of(self.seed, number):
                if self._over.wait(question.pause):
                    break
                if (name := self._asked_for(question)) is not None:
                    reader.look(name, question.look, question.mode, question.door)
            with self._lock:
                self.tally.add(reader.tally)

    def _asked_for(self, question: Question) -> Name | None:
        names = HOT if question.hot else self.oracle.names()
        return names[int(question.place * len(names))] if names else None

    def _watch_backlog(self, _: int) -> None:
        with self.fleet.connection() as connection:
            while not self._over.wait(_BACKLOG_LOOK_SECONDS):
                waiting = 0
                for base in KNOWLEDGE_BASES:
                    path = f"/ingest/jobs?knowledgeBaseId={base}&status=queued&limit=100"
                    try:
                        answer = connection.call("GET", path)
                    except (NotSent, NotAnswered, TimeoutError):
                        break
                    waiting += len(answer.body.get("jobs", []))
                if waiting >= MOST_WAITING:
                    self._crowded.set()
                else:
                    self._crowded.clear()
