"""A Weaviate server over the network: one client, on an event loop in a thread.

Everything is asked through coroutines, so that one call may have several requests under
way and every call ends at its time, whatever state the server is in. Callers with a loop
of their own wait without a thread; all others block.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog
import weaviate
from weaviate.classes.config import ConsistencyLevel
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.config import GrpcConfig
from weaviate.exceptions import WeaviateBaseError

from llamaindex_reaktly.errors import ConfigurationError, ReaktlyError, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Without these, a dead server holds a call for a minute of the client's own retries, and
# for another one after it is back (measured: 63 s; with them, a call ends at its deadline).
_CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", '{"methodConfig":[{"name":[{}],"waitForReady":true}]}'),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# What a server says of collections that it has, before it has opened them.
_STARTING = ("could not find class", "non-existing index")
_GRPC_PORT = 50051


@dataclass(frozen=True, slots=True)
class WeaviateAddress:
    """Where a server is, what opens it, and how long it may take. Times are seconds."""

    url: str
    grpc_url: str | None = None
    api_key: str | None = None
    read_timeout: float = 5.0
    write_timeout: float = 60.0


class _Loop:
    """The event loop that all connections of a process share, while there are any.

    One, because gRPC hands its events to every loop that ever used it: a second one gets
    woken for the first one's and logs an error for each (grpc/grpc 25364).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def enter(self) -> asyncio.AbstractEventLoop:
        """The running loop, for one more connection."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="weaviate", daemon=True
                )
                self._thread.start()
            self._users += 1
            return self._loop

    def leave(self) -> None:
        """One connection less; the last one ends the thread."""
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None or self._thread is None:
                return
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


_SHARED = _Loop()


class WeaviateConnection:
    """Connects when first asked, and again after a failure. Close it when done.

    Raises `ConfigurationError` for an address that is none.
    """

    def __init__(self, address: WeaviateAddress) -> None:
        self.address = address
        self._rest = _parts(address.url, "REAKTLY_WEAVIATE_URL")
        self._grpc = (
            (self._rest[0], _GRPC_PORT, self._rest[2])
            if address.grpc_url is None
            else _parts(address.grpc_url, "REAKTLY_WEAVIATE_GRPC_URL")
        )
        self._loop = _SHARED.enter()
        self._calls: set[asyncio.Task[Any]] = set()
        self._client: weaviate.WeaviateAsyncClient | None = None
        self._connecting: asyncio.Lock | None = None
        self._is_ready = False
        self._closed = False

    # -- calls ---------------------------------------------------------------------

    def read(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The call's result, within the time that a search may take."""
        return self.submit(call, self.address.read_timeout).result()

    def write(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The call's result, within the time that one write may take."""
        return self.submit(call, self.address.write_timeout).result()

    def submit(
        self, call: Callable[[], Coroutine[Any, Any, T]], seconds: float | None
    ) -> "Future[T]":
        """Begin a call; its future raises `Unavailable` when the time is over, or sooner."""
        if self._closed:
            raise Unavailable("the store is closed")
        return asyncio.run_coroutine_threadsafe(self._bounded(call, seconds), self._loop)

    async def _bounded(
        self, call: Callable[[], Coroutine[Any, Any, T]], seconds: float | None
    ) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            async with asyncio.timeout(seconds):
                with self._translated():
                    return await call()
        except TimeoutError as error:
            self._is_ready = False
            raise Unavailable("Weaviate did not answer in time") from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the client raises into the package's errors, and its words into the log."""
        try:
            yield
        # Its client wraps two of httpx's errors (weaviate-client 4.23, connect/v4.py) and
        # lets through what a server that dies in mid-answer causes.
        except (WeaviateBaseError, httpx.HTTPError) as error:
            self._is_ready = False
            log.warning("weaviate_failed", error=type(error).__name__, message=str(error)[:500])
            raise translation(str(error)) from error

    def doubt(self) -> None:
        """Have the next call ask the server first whether it is ready."""
        self._is_ready = False

    # -- the client ----------------------------------------------------------------

    async def client(self) -> weaviate.WeaviateAsyncClient:
        """The client of a server that says that it is ready; for coroutines on this loop.

        The server is asked again after anything went wrong: while it starts, it denies
        having collections that it has, and nobody may make them anew.
        """
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._client is None:
                client = self._new_client()
                try:
                    await client.connect()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            if not self._is_ready:
                if not await self._client.is_ready():
                    raise Unavailable("Weaviate is not ready")
                self._is_ready = True
            return self._client

    def _new_client(self) -> weaviate.WeaviateAsyncClient:
        host, port, secure = self._rest
        grpc_host, grpc_port, grpc_secure = self._grpc
        address = self.address
        return weaviate.use_async_with_custom(
            http_host=host,
            http_port=port,
            http_secure=secure,
            grpc_host=grpc_host,
            grpc_port=grpc_port,
            grpc_secure=grpc_secure,
            auth_credentials=None if address.api_key is None else Auth.api_key(address.api_key),
            additional_config=AdditionalConfig(
                timeout=Timeout(
                    init=address.read_timeout,
                    query=address.read_timeout,
                    insert=address.write_timeout,
                ),
                grpc_config=GrpcConfig(channel_options=_CHANNEL_OPTIONS),
            ),
        )

    def close(self) -> None:
        """End the calls under way and the client. Idempotent."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop).result()
        _SHARED.leave()

    async def _wind_up(self) -> None:
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._client is not None:
            await self._client.close()


def _parts(url: str, setting: str) -> tuple[str, int, bool]:
    """(host, port, whether by TLS) of an address."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ConfigurationError(f"{setting}: must be an address such as http://127.0.0.1:8080")
    secure = parts.scheme == "https"
    return parts.hostname, port or (443 if secure else 80), secure


def translation(message: str) -> ReaktlyError:
    """What the server's words mean to a caller, without the words."""
    if "read-only" in message or "READONLY" in message:
        return Unavailable("Weaviate's storage is read-only at the moment")
    if "401" in message or "Unauthorized" in message or "UNAUTHENTICATED" in message:
        return Unavailable("Weaviate refuses the key; check REAKTLY_WEAVIATE_API_KEY")
    if any(mark in message for mark in _STARTING):
        return Unavailable("Weaviate is starting")
    return Unavailable("Weaviate cannot be reached, or refuses, at the moment")


def consistency_level(name: str) -> ConsistencyLevel:
    """The client's word for a setting's."""
    return ConsistencyLevel(name.upper())
