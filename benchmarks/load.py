"""Many clients at once, from one thread that costs the server's machine as little as it can.

Each client has one kept-alive connection and sends its next request when the answer to
the last is there. Nothing of an answer is read but its status and its length.
"""

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.results import BenchmarkFailed

LONGEST_ANSWER_SECONDS = 120.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Load:
    """What became of the requests: their statuses, and their times in seconds."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers of status 200 a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, percent: float) -> float:
        """The time that so many percent of the answers took at most, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def request_bytes(path: str, key: str, body: bytes) -> bytes:
    """A POST with a JSON body, as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def drive(
    port: int,
    clients: int,
    requests: Iterator[bytes],
    *,
    answered: Callable[[int], None] | None = None,
) -> Load:
    """Send `requests` from so many clients until they are used up and all are answered.

    `answered` is told the number of each request, counted from 0, that was answered with 200.
    Raises `BenchmarkFailed` when the server closes a connection or does not answer.
    """
    load = Load()
    numbers = iter(enumerate(requests))
    with selectors.DefaultSelector() as selector:
        open_ones = [_Client(port) for _ in range(clients)]
        try:
            started = time.perf_counter()
            for client in open_ones:
                if client.send_next(numbers):
                    selector.register(client.socket, selectors.EVENT_READ, client)
            while selector.get_map():
                ready = selector.select(LONGEST_ANSWER_SECONDS)
                if not ready:
                    raise BenchmarkFailed(f"no answer in {LONGEST_ANSWER_SECONDS:.0f} s")
                for key, _ in ready:
                    client = key.data
                    status = client.receive()
                    if status is None:
                        continue
                    load.latencies.append(time.perf_counter() - client.sent_at)
                    load.statuses[status] += 1
                    if status == 200 and answered is not None:
                        answered(client.number)
                    if not client.send_next(numbers):
                        selector.unregister(client.socket)
            load.seconds = time.perf_counter() - started
        finally:
            for client in open_ones:
                client.socket.close()
    return load


class _Client:
    """One connection with the request that is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.number = -1
        self._received = b""

    def send_next(self, numbers: Iterator[tuple[int, bytes]]) -> bool:
        """Send the next request; False when there is none."""
        number, request = next(numbers, (-1, b""))
        if not request:
            return False
        self.number = number
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)
        return True

    def receive(self) -> int | None:
        """Read what is there; the status once the answer is complete."""
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise BenchmarkFailed("the server closed a connection in mid-request")
        self._received += chunk
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = _LENGTH.search(head + b"\r\n")
        if len(rest) < (int(length[1]) if length else 0):
            return None
        self._received = b""
        return int(head[9:12])
