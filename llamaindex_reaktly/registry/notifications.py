"""The doorbell of a registry on PostgreSQL: `LISTEN` and `NOTIFY`, heard on every machine.

A process listens to a bell on one connection of its own, whatever the number of its
listeners; a thread waits on it and hands each ring on. When the connection is lost it
is made again, and everyone is woken, because a ring may have been missed.
"""

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from llamaindex_reaktly.doorbell import Listener
from llamaindex_reaktly.errors import ReaktlyError

if TYPE_CHECKING:
    import psycopg

log = structlog.get_logger(__name__)

# Shared advisory locks with this first half say who listens; the second is the bell's.
_LISTENING = 7_295_811
_BELLS = {"work": 1, "done": 2}
RECONNECT_SECONDS = 1.0

HAS_LISTENERS = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid = :first AND objid = :second)"
)


def channel(name: str) -> str:
    """What a bell is called in `LISTEN` and `NOTIFY`."""
    return f"reaktly_{name}"


class NotificationDoorbell:
    """A bell on PostgreSQL. `connect` gives a connection in autocommit mode.

    `notify` and `ask` run on the registry's own connections: a ring in a transaction of
    its own, and whether anybody holds the lock of those who listen.
    """

    def __init__(
        self,
        name: str,
        connect: "Callable[[], psycopg.Connection]",
        notify: Callable[[], None],
        ask: Callable[[str, dict[str, int]], bool],
    ) -> None:
        self._name = name
        self._connect = connect
        self._notify = notify
        self._ask = ask
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._closed = False
        # A byte in it ends the thread's wait.
        self._wake_reader = self._wake_writer = -1

    def ring(self) -> None:
        """Wake everyone who listens now. Never fails."""
        with contextlib.suppress(ReaktlyError):
            self._notify()

    def has_listeners(self) -> bool:
        """Whether anybody listens, on whatever machine."""
        return self._ask(HAS_LISTENERS, {"first": _LISTENING, "second": _BELLS[self._name]})

    def listen(self) -> Listener:
        """Start to listen; rings from now on are heard by the next `wait`."""
        listener = _Listener(self._forget)
        with self._lock:
            self._listeners.add(listener)
            if self._thread is None and not self._closed:
                self._wake_reader, self._wake_writer = os.pipe()
                self._thread = threading.Thread(
                    target=self._hear, name=f"bell-{self._name}", daemon=True
                )
                self._thread.start()
        self._ready.wait()
        return listener

    def close(self) -> None:
        """End the connection. Idempotent."""
        with self._lock:
            self._closed = True
            self._ready.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            os.write(self._wake_writer, b"!")
            thread.join()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _hear(self) -> None:
        import psycopg

        while True:
            try:
                with contextlib.closing(self._connect()) as connection:
                    connection.execute(
                        "SELECT pg_advisory_lock_shared(%s, %s)", (_LISTENING, _BELLS[self._name])
                    )
                    connection.execute(f"LISTEN {channel(self._name)}".encode())
                    if self._ready.is_set():  # it was lost before, and a ring perhaps with it
                        self._hand_on()
                    self._ready.set()
                    self._hear_on(connection)
                    return
            except (psycopg.Error, ReaktlyError) as error:
                log.warning("doorbell_lost", bell=self._name, error=type(error).__name__)
            # Without a connection listeners still wake when their own time is over.
            self._ready.set()
            if select.select([self._wake_reader], [], [], RECONNECT_SECONDS)[0]:
                return

    def _hear_on(self, connection: "psycopg.Connection") -> None:
        """Hand on what a connection hears until we are closed; raises when it is lost."""
        watched = [connection.fileno(), self._wake_reader]
        while True:
            if list(connection.notifies(timeout=0)):
                self._hand_on()
            if self._wake_reader in select.select(watched, [], [])[0]:
                return

    def _forget(self, listener: "_Listener") -> None:
        with self._lock:
            self._listeners.discard(listener)

    def _hand_on(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.wake()


class _Listener(Listener):
    """A queue, because putting into a `SimpleQueue` is safe even in a signal handler."""

    def __init__(self, forget: "Callable[[_Listener], None]") -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._forget = forget

    def wait(self, timeout: float | None = None) -> bool:
        try:
            self._rings.get(timeout=timeout)
        except queue.Empty:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()
        return True

    def wake(self) -> None:
        self._rings.put(None)

    def close(self) -> None:
        self._forget(self)
