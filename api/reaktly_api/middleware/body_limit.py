"""Bodies are counted, and inflated, while they stream in.

The limit is on what the application would hold: a bomb is refused after at most that
many bytes, however small it was on the wire.
"""

import asyncio
import zlib
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamaindex_reaktly.errors import InvalidRequest, TooLarge, UnsupportedMediaType

GZIP_BITS = 16 + zlib.MAX_WBITS
# Inflating this much takes about a millisecond; then the loop gets its turn.
STEP = 256 * 1024


class BodyLimitMiddleware:
    """Refuses too large bodies (413), inflates gzip and deflate, refuses others (415).

    `max_bytes` gives the limit of a path.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: Callable[[str], int]) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap `receive`; a declared length over the limit is refused before any byte."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_bytes(scope["path"])
        declared = encoding = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                declared = value
            elif name == b"content-encoding":
                encoding = encoding + b"," + value if encoding else value
        if declared.isdigit() and int(declared[:20]) > limit:
            raise _too_large(limit)
        encoding = encoding.strip().lower()
        if encoding in {b"", b"identity"}:
            await self._app(scope, _counting(receive, limit), send)
        elif encoding in {b"gzip", b"x-gzip", b"deflate"}:
            scope["headers"] = [
                (name, value)
                for name, value in scope["headers"]
                if name not in {b"content-encoding", b"content-length"}
            ]
            inflater = Inflater(raw_or_zlib=encoding == b"deflate")
            await self._app(scope, _inflating(receive, limit, inflater), send)
        else:
            raise UnsupportedMediaType("content-encoding: only gzip and deflate are read")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"body: is larger than {limit} bytes")


def _counting(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    return counting


def _inflating(receive: Receive, limit: int, inflater: "Inflater") -> Receive:
    source = _counting(receive, limit)
    complete = False  # all of the compressed body is here
    ended = False  # and all of it has been handed on
    inflated = 0

    async def inflating() -> Message:
        nonlocal complete, ended, inflated
        while not ended:
            chunk = inflater.pull(STEP)
            if chunk:
                inflated += len(chunk)
                if inflated > limit:
                    raise _too_large(limit)
                await asyncio.sleep(0)
                return {"type": "http.request", "body": chunk, "more_body": True}
            if complete:
                inflater.finish()
                ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await source()
            if message["type"] != "http.request":
                return message
            inflater.push(message.get("body", b""))
            complete = not message.get("more_body", False)
        return await receive()

    return inflating


class Inflater:
    """Incremental gzip (several members too) or deflate (zlib-wrapped or raw)."""

    def __init__(self, *, raw_or_zlib: bool) -> None:
        self._raw_or_zlib = raw_or_zlib
        self._input = b""
        self._decoder: zlib._Decompress | None = None
        self._pending = False  # the decoder may hold output that did not fit the last step

    def push(self, data: bytes) -> None:
        """Take in compressed bytes."""
        self._input += data

    def pull(self, limit: int) -> bytes:
        """At most `limit` inflated bytes; empty when more input is needed.

        Raises `InvalidRequest` when the input is not what it says it is.
        """
        while self._input or self._pending:
            if self._decoder is None:
                if self._raw_or_zlib and len(self._input) < 2:
                    return b""
                self._decoder = zlib.decompressobj(self._window_bits())
            try:
                chunk = self._decoder.decompress(self._input, limit)
            except zlib.error:
                raise self._damaged() from None
            if self._decoder.eof:
                self._input, self._pending = self._decoder.unused_data, False
                if self._input and self._raw_or_zlib:
                    raise self._damaged()
                if self._input:
                    self._decoder = None  # another gzip member follows (RFC 1952, 2.2)
            else:
                self._input = self._decoder.unconsumed_tail
                self._pending = len(chunk) == limit
            if chunk:
                return chunk
        return b""

    def finish(self) -> None:
        """Raise `InvalidRequest` when the input ended too early. No input at all is fine."""
        if self._input or (self._decoder is not None and not self._decoder.eof):
            raise self._damaged()

    def _window_bits(self) -> int:
        if not self._raw_or_zlib:
            return GZIP_BITS
        # "deflate" is zlib by RFC 9110 and raw by habit; a zlib header is a multiple of 31.
        first, second = self._input[0], self._input[1]
        is_zlib = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS

    @staticmethod
    def _damaged() -> InvalidRequest:
        return InvalidRequest(
            "content-encoding: the body is not, or not wholly, in this encoding",
            field="content-encoding",
        )
