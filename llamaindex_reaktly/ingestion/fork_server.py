"""Processes forked from one that was small, had no threads, and has imported everything.

A new child then costs milliseconds and little memory, where importing LlamaIndex again
would cost seconds; and to fork a process full of threads, as a worker is later on, is to
ask for a deadlock. Children end with the process that wanted them, however that ends:
the server sees the end of its socket and kills them.
"""

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from llamaindex_reaktly.errors import Unavailable

_NUMBER_BYTES = 8
_START, _END = b"s", b"e"
_PR_SET_PDEATHSIG = 1


class ForkServer:
    """Made before the first thread is; makes children at any time. Close it when done.

    Each child runs `run` with its end of a socket, of which the caller of `start` has the
    other, and exits when that returns.
    """

    def __init__(self, run: Callable[[socket.socket], None]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._control.close()
            _be_the_server(theirs, run)
        theirs.close()

    def start(self, connection: socket.socket) -> int:
        """Give a new child this socket, and close it here; the child's process id.

        Raises `Unavailable` when there are no children to be had any more.
        """
        with connection:
            return self._ask(_START, 0, [connection.fileno()])

    def end(self, pid: int) -> int:
        """Kill a child, dead or alive; its exit code, or minus the signal that ended it."""
        try:
            return self._ask(_END, pid)
        except Unavailable:  # then nobody but us can
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return -signal.SIGKILL

    def close(self) -> None:
        """End all children. Idempotent."""
        with self._lock:
            self._control.close()
            if self._pid:
                os.waitpid(self._pid, 0)
                self._pid = 0

    def _ask(self, what: bytes, pid: int, descriptors: list[int] | None = None) -> int:
        message = what + _encoded(pid)
        try:
            with self._lock:
                socket.send_fds(self._control, [message], descriptors or [])
                answer = self._control.recv(_NUMBER_BYTES, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        if len(answer) < _NUMBER_BYTES:
            raise Unavailable("no process can be started to parse documents in")
        return _decoded(answer)


def _be_the_server(control: socket.socket, run: Callable[[socket.socket], None]) -> NoReturn:
    # A signal to all processes of a terminal or a service is for the worker to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What was imported stays for good; unvisited by collections, its pages stay shared.
    gc.freeze()
    children: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 + _NUMBER_BYTES, 1)
        if not message:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        if message[:1] == _START:
            pid = os.fork()
            if pid == 0:
                control.close()
                _be_a_child(socket.socket(fileno=descriptors[0]), run)
            os.close(descriptors[0])
            children.add(pid)
            control.sendall(_encoded(pid))
        else:
            pid = _decoded(message[1:])
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            children.remove(pid)
            control.sendall(_encoded(os.waitstatus_to_exitcode(status)))


def _be_a_child(connection: socket.socket, run: Callable[[socket.socket], None]) -> NoReturn:
    if sys.platform == "linux":
        # Should the server itself be killed, nobody else would end a child that hangs.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        run(connection)
    finally:
        os._exit(0)


def _encoded(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big", signed=True)


def _decoded(number: bytes) -> int:
    return int.from_bytes(number, "big", signed=True)
