"""The disk fills up in the middle of everything, and the index cannot be written.

The data directory is on a small file system of its own, in memory. What is accepted must
stay so, what cannot be accepted is refused in so many words, and when there is room again
all goes on, without anybody's help.
"""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torture.connection import Answer, Connection, JsonObject, NotAnswered, NotSent
from torture.context import Context
from torture.documents import Name, version_word
from torture.fleet import SERVED, Fleet, NotPossible, TortureFailed
from torture.inspection import inspect, jobs, settle
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.schedule import KNOWLEDGE_BASES, Request, Verb
from torture.workload import STORAGE_FULL, Tally, Workload, Writer

DISK_BYTES = 48 * 2**20
# What the product keeps free, so that it can still work off, delete and answer.
RESERVE_BYTES = 12 * 2**20
_NOTICED_WITHIN = 30.0
_BACK_WITHIN = 60.0
_REFILLED_EVERY_SECONDS = 0.02
# How long the disk stays as it is once the product has noticed.
_SUFFERING_SECONDS = 6.0


def disk_full(context: Context) -> Outcome:
    """Fill the disk down to the reserve, then to the last byte."""
    return _filled_up(context, RESERVE_BYTES)


def disk_full_without_reserve(context: Context) -> Outcome:
    """Fill it to the last byte where the settings keep nothing free."""
    return _filled_up(context, 0)


def _filled_up(context: Context, reserve: int) -> Outcome:
    oracle = context.oracle()
    notes = []
    with (
        small_disk(context.directory / "data", DISK_BYTES),
        Fleet(
            context.directory,
            SERVED,
            servers=context.servers,
            settings={"REAKTLY_FREE_DISK_BYTES": str(reserve)},
        ) as fleet,
    ):
        fleet.start()
        api, worker = fleet.apis[0].pid, fleet.worker_pids()
        workload = Workload(fleet, oracle, context.seed)
        with workload:
            for left in dict.fromkeys((reserve // 2, 0)):
                what = "to the reserve" if left else "to the last byte"
                time.sleep(2)
                context.show(f"the disk is filled {what}")
                with filled(fleet.data_dir, left):
                    fleet.wait_for(
                        lambda: _is_refused(fleet, oracle), "nothing is refused", _NOTICED_WITHIN
                    )
                    if reserve:
                        # Not at the first look: a log that is truncated gives room for a moment.
                        fleet.wait_for(
                            lambda: "disk" in ailing(fleet, "accept"),
                            "/ready?for=accept says that all is well",
                            _NOTICED_WITHIN,
                        )
                    time.sleep(_SUFFERING_SECONDS)
                seconds = fleet.wait_for(
                    lambda: not _is_refused(fleet, oracle), "it does not accept", _BACK_WITHIN
                )
                notes.append(f"filled {what}: accepts {seconds:.1f} s after there was room")
        settle(fleet, oracle)
        inspect(fleet, oracle, show=context.show)
        if fleet.apis[0].pid != api:
            oracle.accuse(Fault.ANSWER, "the API", "did not survive a full disk")
        if fleet.worker_pids() != worker:
            notes.append("the worker was restarted by its supervisor")
    notes.append(f"{workload.tally.full} requests refused with 507")
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        notes=notes,
    )


def read_only(context: Context) -> Outcome:
    """Start on an index that cannot be written; later it can."""
    oracle = context.oracle()
    names = [Name(KNOWLEDGE_BASES[0], "int", f"kept-{number}") for number in range(20)]
    with (
        small_disk(context.directory / "data" / "index", DISK_BYTES) as index,
        Fleet(
            context.directory,
            SERVED,
            servers=context.servers,
            # The index's disk is smaller than what is kept free, and this is not about that.
            settings={"REAKTLY_FREE_DISK_BYTES": "0"},
        ) as fleet,
    ):
        fleet.start()
        with fleet.connection() as connection:
            writer = Writer(oracle, connection)
            post(writer, names, context.seed, "first")
            settle(fleet, oracle)
        for process in fleet.processes:
            process.stop()
        _run("mount", "-o", "remount,ro", str(index))
        fleet.start_dead()
        fleet.wait_for(lambda: not ailing(fleet, "accept"), "it does not accept")
        with fleet.connection() as connection:
            writer = Writer(oracle, connection)
            post(writer, names, context.seed, "second")
            context.show("the index is read-only")
            error = waiting_reason(fleet, connection, oracle)
            if not (ill := ailing(fleet, "search")):
                oracle.accuse(Fault.ANSWER, "/ready?for=search", "says that all is well")
            time.sleep(_SUFFERING_SECONDS)
            require_untried(connection, oracle)
            _run("mount", "-o", "remount,rw", str(index))
            context.show("it can be written again")
            quiet = time.monotonic()
            settle(fleet, oracle)
            seconds = time.monotonic() - quiet
        inspect(fleet, oracle, show=context.show)
    return Outcome.of(
        context,
        oracle,
        tally=Tally(requests=writer.tally.requests),
        notes=[
            f"waiting documents said: {error!r}",
            f"/ready?for=search said: {'; '.join(ill.values())!r}",
            f"all caught up {seconds:.1f} s after it could be written",
        ],
    )


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system of that size, in memory; raises `NotPossible` where one may not mount."""
    place.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        # Whoever still ends there lets it go later.
        _run("umount", "--lazy", str(place))


@contextlib.contextmanager
def filled(place: Path, left: int) -> Iterator[None]:
    """A file that leaves so many bytes of the disk free, and takes what others give back."""
    ballast = place / "ballast"
    over = threading.Event()

    def keep_full(file: int) -> None:
        while True:
            if (free := shutil.disk_usage(place).free) > left:
                with contextlib.suppress(OSError):  # somebody else was quicker
                    os.posix_fallocate(file, os.fstat(file).st_size, free - left)
            if over.wait(_REFILLED_EVERY_SECONDS):
                return

    with ballast.open("wb") as file:
        filling = threading.Thread(target=keep_full, args=(file.fileno(),))
        filling.start()
        try:
            yield
        finally:
            over.set()
            filling.join()
    ballast.unlink()


def ailing(fleet: Fleet, purpose: str) -> dict[str, str]:
    """The parts that `/ready` says are not well for that purpose; all but none are its words."""
    with fleet.connection() as connection:
        try:
            answer = connection.call("GET", f"/ready?for={purpose}")
        except (NotSent, NotAnswered):
            return {"api": "does not answer"}
    if answer.status == 200:
        return {}
    parts: dict[str, str] = answer.body.get("parts", {})
    return {part: words for part, words in parts.items() if words != "ok"}


def waiting_reason(fleet: Fleet, connection: Connection, oracle: Oracle) -> str:
    """Wait until the waiting documents say why they wait; what they say."""
    reasons: list[str] = []

    def told() -> bool:
        reasons[:] = [job["error"] for base in _bases(oracle) for job in waiting(connection, base)]
        return bool(reasons) and all(reasons)

    fleet.wait_for(told, "the waiting documents do not say why", _NOTICED_WITHIN)
    return reasons[0]


def require_untried(connection: Connection, oracle: Oracle) -> None:
    """Accuse each waiting document that the outage has cost an attempt."""
    for base in _bases(oracle):
        for job in waiting(connection, base):
            if job["attempts"] > (job["status"] == "processing"):
                what = f"{job['status']} with {job['attempts']} attempts spent"
                oracle.accuse(Fault.FAILED, job["externalId"], what)
        for job in jobs(connection, base, "failed"):
            oracle.accuse(Fault.FAILED, job["externalId"], job["error"])


def waiting(connection: Connection, base: str) -> list[JsonObject]:
    """Jobs that are queued or in processing."""
    return [j for status in ("queued", "processing") for j in jobs(connection, base, status)]


def _bases(oracle: Oracle) -> list[str]:
    return sorted({name.knowledge_base for name in oracle.names()})


def _is_refused(fleet: Fleet, oracle: Oracle) -> bool:
    """Whether a document is refused, in the documented envelope; search answers either way."""
    name = Name(KNOWLEDGE_BASES[0], "int", "one-more")
    version = version_word("one more", time.monotonic())
    with fleet.connection() as connection:
        writer = Writer(oracle, connection)
        answer = writer.carry_out(Request(Verb.INGEST, {name: version}, pause=0.0, door=0.0))
        query = {"knowledgeBaseId": name.knowledge_base, "query": "rye"}
        search = connection.call("POST", "/search", query)
    if search.status != 200:
        oracle.accuse(Fault.ANSWER, "a search on a full disk", str(search))
    if answer is None or answer.status == 200:
        return False
    if answer.status != STORAGE_FULL or not _is_envelope(answer):
        oracle.accuse(Fault.ANSWER, "an ingest on a full disk", str(answer))
    return True


def _is_envelope(answer: Answer) -> bool:
    body = answer.body
    return body.get("statusCode") == STORAGE_FULL and bool(body.get("message"))


def post(writer: Writer, names: Sequence[Name], seed: int, word: str) -> None:
    """Post a version of each document in one bulk; raises unless it is accepted."""
    versions = {name: version_word(seed, word, name.external_id) for name in names}
    answer = writer.carry_out(Request(Verb.INGEST_BULK, {**versions}, pause=0.0, door=0.0))
    if answer is None or answer.status != 200:
        raise TortureFailed(f"a bulk was answered with {answer}")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPossible(f"there is no {command[0]} here") from None
    except subprocess.CalledProcessError as error:
        raise NotPossible(f"{' '.join(command)}: {error.stderr.strip()}") from error
