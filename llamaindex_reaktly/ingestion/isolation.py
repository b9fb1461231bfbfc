"""Parsing in processes of its own, with hard limits, so that no page can harm a worker.

Documents are parsed one after the other in one child. What crashes it, exhausts it or
does not end counts against the document it was at; the next goes on in a fresh child.
A page that takes longer than the others like to wait is left to its child, which becomes
the slow lane, and the others go on in another. There is one slow lane, so that pages that
hang cannot take the machine; what was at fault before is tried there from the start.
"""

import contextlib
import os
import pickle
import resource
import select
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from llamaindex_reaktly.domain import SourceDocument
from llamaindex_reaktly.errors import ReaktlyError, Unavailable
from llamaindex_reaktly.ingestion.fork_server import ForkServer
from llamaindex_reaktly.ingestion.parsing import (
    Deliver,
    Outcome,
    ParsingFault,
    TransformationChain,
    attempt,
)

log = structlog.get_logger(__name__)

# How long a document may keep those behind it waiting. An ordinary page takes milliseconds.
PATIENCE_SECONDS = 2.0
# A limit on time is for so many characters: a book may take longer than a page.
CHARACTERS_PER_LIMIT = 1_000_000
# Where memory runs out for the whole system, its killer had better take a parser.
_OOM_SCORE = 500
_LENGTH_BYTES = 8
_RECEIVED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a child answers; after the last one it ends."""

    outcome: Outcome | ReaktlyError
    is_last: bool = False


# -- in the child ------------------------------------------------------------------------


def serve_parser(connection: socket.socket, chain: TransformationChain, memory_bytes: int) -> None:
    """Parse what comes over the connection until it ends.

    Limits this process, for good, to so much memory beyond what it has from the start.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    baseline = _address_space()
    if baseline is not None:
        limit = baseline + memory_bytes
        with contextlib.suppress(ValueError):  # the system's own limit is lower
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    while True:
        try:
            request = _receive(connection)
            if request is None:
                return
            outcome = _answer(request, chain)
            # What a big document leaves behind must not be missing to the next.
            spent = baseline is not None and (_address_space() or 0) - baseline > memory_bytes / 2
            message = _packed(_Reply(outcome, spent))
        except MemoryError:
            spent = True
            needed = f"parsing needed more than {memory_bytes // 2**20} MiB"
            message = _packed(_Reply(ParsingFault(needed), is_last=True))
        connection.sendall(message)
        if spent:
            return


def _answer(request: bytes, chain: TransformationChain) -> Outcome | ReaktlyError:
    document_id, document, embedder = pickle.loads(request)  # noqa: S301 (our own parent's)
    try:
        return attempt(chain, document_id, document, embedder)
    except ReaktlyError as error:
        return error


def _receive(connection: socket.socket) -> bytes | None:
    length = connection.recv(_LENGTH_BYTES, socket.MSG_WAITALL)
    if len(length) < _LENGTH_BYTES:
        return None
    message = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
    return message if len(message) == int.from_bytes(length, "big") else None


def _address_space() -> int | None:
    """Bytes of this process's address space; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    return pages * resource.getpagesize()


def _packed(message: object) -> bytes:
    payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


# -- in the worker -----------------------------------------------------------------------


class _ChildDied(Exception):
    """The child ended without an answer."""


class _Child:
    """A child with at most one document in it."""

    def __init__(self, forks: ForkServer) -> None:
        self._forks = forks
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        self._pid = forks.start(theirs)
        self._outgoing = memoryview(b"")
        self._incoming = bytearray()

    def is_alive(self) -> bool:
        """Whether it waits for a document, as it should."""
        try:
            self._connection.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def begin(self, document_id: str, document: SourceDocument, embedder: str) -> None:
        """Give it a document."""
        self._outgoing = memoryview(_packed((document_id, document, embedder)))

    def wait(self, until: float, interruption: int) -> _Reply | None:
        """Its answer, or None when the clock says `until` or `interruption` is readable.

        May be called again after None. Raises `_ChildDied`.
        """
        descriptor = self._connection.fileno()
        while True:
            poll = select.poll()
            poll.register(interruption, select.POLLIN)
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if descriptor in ready:
                try:
                    reply = self._exchange(ready[descriptor])
                except OSError:
                    raise _ChildDied from None
                if reply is not None:
                    return reply
            elif not ready or interruption in ready:
                return None

    def _exchange(self, events: int) -> _Reply | None:
        if events & select.POLLOUT:
            self._outgoing = self._outgoing[self._connection.send(self._outgoing) :]
            if not self._outgoing:
                self._outgoing = memoryview(b"")  # else the whole message stays in memory
        if events & ~select.POLLOUT:
            received = self._connection.recv(_RECEIVED_AT_ONCE)
            if not received:
                raise _ChildDied
            self._incoming += received
        length = int.from_bytes(self._incoming[:_LENGTH_BYTES], "big")
        if len(self._incoming) < max(1, length) + _LENGTH_BYTES:
            return None
        reply = pickle.loads(memoryview(self._incoming)[_LENGTH_BYTES:])  # noqa: S301 (our own child's)
        assert isinstance(reply, _Reply)
        self._incoming = bytearray()
        return reply

    def end(self) -> int:
        """End it, whatever it is at; its exit code, or minus the signal that ended it."""
        self._connection.close()
        return self._forks.end(self._pid)


@dataclass(frozen=True, slots=True)
class _Parse:
    """One document in one child, until the clock says `deadline`."""

    child: _Child
    document_id: str
    seconds: float
    deadline: float


class IsolatedParsing:
    """The children of one worker: one for all, and one for what takes long. Close it when done.

    The children of `forks` run `serve_parser`. A million characters may take `seconds`.
    """

    def __init__(self, forks: ForkServer, *, seconds: float) -> None:
        self._forks = forks
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle: _Child | None = _Child(forks)
        self._lane_taken = threading.Lock()
        self._lane: threading.Thread | None = None
        self._interrupted, self._interrupt = os.pipe()
        self._is_closed = False
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether there are no children to be had any more."""
        return self._is_lost

    def parse(
        self, document_id: str, document: SourceDocument, embedder: str, deliver: Deliver
    ) -> Outcome | None:
        """What comes of a document; None if it takes long: then `deliver` is told, later.

        Raises `Unavailable` when interrupted, and what the chain raises for what is away.
        """
        with self._lock:
            parse = self._begin(self._idle_child(), document_id, document, embedder)
            patience = min(parse.deadline, time.monotonic() + PATIENCE_SECONDS)
            outcome = self._outcome(parse, patience, keep=True)
            if outcome is not None:
                return outcome
            if patience == parse.deadline or not self.take_slow_lane():
                parse.child.end()
                return _overdue(parse)
        self._enter_slow_lane(parse, deliver)
        return None

    def parse_apart(
        self, document_id: str, document: SourceDocument, embedder: str, deliver: Deliver
    ) -> None:
        """Parse in the slow lane, which the caller has taken; `deliver` is told what comes."""
        parse = self._begin(self._new_child(), document_id, document, embedder)
        self._enter_slow_lane(parse, deliver)

    def take_slow_lane(self) -> bool:
        """Take the slow lane for a document; False if it is taken."""
        return self._lane_taken.acquire(blocking=False)

    def free_slow_lane(self) -> None:
        """Say that the document in the slow lane is done with."""
        self._lane_taken.release()

    def interrupt(self) -> None:
        """Have every parse end without an outcome, from now on. May be called by a signal."""
        if not self._is_closed:
            os.write(self._interrupt, b"!")

    def close(self) -> None:
        """End the children, after `interrupt` and the last `parse`. Idempotent."""
        if self._is_closed:
            return
        if self._lane is not None:
            self._lane.join()
        self._is_closed = True
        os.close(self._interrupted)
        os.close(self._interrupt)
        self._forks.close()

    def _idle_child(self) -> _Child:
        child, self._idle = self._idle, None
        if child is not None and child.is_alive():
            return child
        if child is not None:
            child.end()
        return self._new_child()

    def _new_child(self) -> _Child:
        try:
            return _Child(self._forks)
        except Unavailable:
            self._is_lost = True
            raise

    def _begin(
        self, child: _Child, document_id: str, document: SourceDocument, embedder: str
    ) -> _Parse:
        seconds = self._seconds * max(1, -(-len(document.content) // CHARACTERS_PER_LIMIT))
        child.begin(document_id, document, embedder)
        return _Parse(child, document_id, seconds, time.monotonic() + seconds)

    def _outcome(self, parse: _Parse, until: float, *, keep: bool) -> Outcome | None:
        """What comes of it by then, or None; its child ends, unless it is to be kept and can be."""
        try:
            reply = parse.child.wait(until, self._interrupted)
        except _ChildDied:
            return self._death(parse)
        if reply is None:
            if time.monotonic() < until:
                parse.child.end()
                raise Unavailable("the worker is stopping")
            return None
        if keep and not reply.is_last:
            self._idle = parse.child
        else:
            parse.child.end()
        if isinstance(reply.outcome, ReaktlyError):
            raise reply.outcome
        return reply.outcome

    def _death(self, parse: _Parse) -> ParsingFault:
        code = parse.child.end()
        log.warning("parser_died", document_id=parse.document_id, exit_code=code)
        if code == -signal.SIGKILL:
            return ParsingFault("parsing was ended by the system, as it does for want of memory")
        return ParsingFault("the parser crashed")

    def _enter_slow_lane(self, parse: _Parse, deliver: Deliver) -> None:
        def wait() -> None:
            try:
                outcome = self._outcome(parse, parse.deadline, keep=False)
            except ReaktlyError as error:
                deliver(error)
                return
            if outcome is None:
                parse.child.end()
                outcome = _overdue(parse)
            deliver(outcome)

        self._lane = threading.Thread(target=wait, name="slow-lane")
        self._lane.start()


def _overdue(parse: _Parse) -> ParsingFault:
    if time.monotonic() < parse.deadline:
        return ParsingFault("parsing takes long; it is tried again apart from other documents")
    return ParsingFault(f"parsing did not end within {parse.seconds:g} s")
