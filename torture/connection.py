"""One client's connections to the API processes, and what can become of a request."""

import http.client
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import orjson

from benchmarks.server import Client

# A request that takes longer than this hangs, whatever is killed or frozen meanwhile.
ANSWERED_WITHIN = 90.0

JsonObject = dict[str, Any]


class NotSent(Exception):
    """Nobody listened: the request reached no server."""


class NotAnswered(Exception):
    """The connection broke: what was asked may have been done, or not."""


class Answer:
    """A status with its JSON."""

    __slots__ = ("_payload", "status")

    def __init__(self, status: int, payload: bytes) -> None:
        self.status = status
        self._payload = payload

    @property
    def body(self) -> JsonObject:
        """The JSON object; empty where it is none."""
        try:
            body = orjson.loads(self._payload)
        except orjson.JSONDecodeError:
            return {}
        return body if isinstance(body, dict) else {}

    def __str__(self) -> str:
        return f"{self.status} {self._payload[:200].decode(errors='replace')}"


class Connection:
    """Connections with a key to every API process of a fleet. Not for several threads."""

    def __init__(self, ports: list[int], key: str) -> None:
        self._clients = [Client(port, key, timeout=ANSWERED_WITHIN) for port in ports]

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        door: float = 0.0,
    ) -> Answer:
        """Send one request to the API process that `door` in 0..1 chooses.

        Raises `NotSent` or `NotAnswered`; `TimeoutError` for a request that hangs.
        """
        client = self._clients[int(door * len(self._clients)) % len(self._clients)]
        payload = None if body is None else orjson.dumps(body)
        try:
            status, answer = client.send(method, path, payload)
        except ConnectionRefusedError as error:
            client.close()
            raise NotSent from error
        except TimeoutError:
            client.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            client.close()
            raise NotAnswered from error
        return Answer(status, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            client.close()
