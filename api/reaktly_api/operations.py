"""From a request to an answer: what a route declares, and the one way it is run.

An `Operation` says everything about a route once: the router, the authorisation and
the OpenAPI document read the same object. `Endpoint` runs it: read the body on the
loop, then one hop to a thread for all the rest.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from llamaindex_reaktly.domain import DocumentStatus
from llamaindex_reaktly.errors import InvalidRequest, NotFound
from reaktly_api.access import Caller, authenticate, presented_token
from reaktly_api.facade import Facade
from reaktly_api.json_bodies import decode_object, gathered, require_json
from reaktly_api.patterns import SENTENCES
from reaktly_api.rate_limits import UNLIMITED, Allowance, RateLimiter
from reaktly_api.settings import ApiSettings
from reaktly_api.threads import Threads

M = TypeVar("M", bound=BaseModel)

# A body that grows beyond this is read on only for a key that is known.
UNKNOWN_CALLER_BYTES = 256 * 1024
MAX_REPORTED_PROBLEMS = 5
JSON_TYPE = "application/json"
EVENT_STREAM = "text/event-stream"
# Where a request's scope holds its `Call`, for those who tell of the request.
CALL = "reaktly_api.call"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in bytes."""

    content: bytes
    status: int = 200
    media_type: str = JSON_TYPE
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """An answer that may come later: when these documents are settled, or the time is over.

    `finish` gets the statuses, or nothing when nobody had time to wait. `seconds` is the
    longest wait, as the settings say without it.
    """

    document_ids: Sequence[str]
    finish: Callable[[Sequence[DocumentStatus]], Mapping[str, object]]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer as server-sent events, each sent when it is made.

    `events` runs in threads, one event at a time, and is closed when the client leaves. What
    can be refused is refused before there is a `Stream`: its first event takes the status.
    """

    events: Generator[bytes, None, None]


@dataclass(frozen=True, slots=True)
class House:
    """What every request shares."""

    knowledge_base: Facade
    settings: ApiSettings
    threads: Threads
    limiter: RateLimiter


@dataclass(slots=True)
class Call:
    """One request, as the function of an operation sees it."""

    house: House
    headers: Headers
    path_parameters: Mapping[str, str]
    raw_query: bytes
    chunks: list[bytes] = field(default_factory=list)
    recognised: Caller | None = None

    @property
    def knowledge_base(self) -> Facade:
        """The core."""
        return self.house.knowledge_base

    @property
    def caller(self) -> Caller:
        """The authenticated caller; only operations that declare scopes have one."""
        assert self.recognised is not None, "the operation declares no scope"
        return self.recognised

    def json(self) -> dict[str, object]:
        """The body as a JSON object, not validated further; to be asked for once."""
        return decode_object(gathered(self.chunks))

    def body(self, model: type[M]) -> M:
        """The body, validated. Raises `InvalidRequest` naming the field."""
        return validate(model, self.json())

    def query(self, model: type[M]) -> M:
        """The query string, validated; of a repeated parameter the last counts."""
        try:
            pairs = parse_qsl(
                self.raw_query.decode("ascii"), keep_blank_values=True, errors="strict"
            )
        except ValueError:
            raise InvalidRequest("query: is not valid UTF-8", field="query") from None
        return validate(model, dict(pairs))


Run = Callable[[Call], Mapping[str, object] | Reply | Wait | Stream]


@dataclass(frozen=True, slots=True)
class Example:
    """A request that works as it stands; a test sends each."""

    summary: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Link:
    """Where an answer leads: what another operation's path parameter is to be."""

    operation: str
    parameter: str
    pointer: str
    """Into the answer's body, such as `/results/0/documentId`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route: how it is reached, who may, what it takes and gives, and what it does."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    run: Run
    answer: type | None = None
    scopes: frozenset[str] = frozenset()
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    examples: Sequence[Example] = ()
    errors: Sequence[int] = ()
    """Statuses beyond those that every operation of its kind may answer with."""
    links: Sequence[Link] = ()
    aliases: Sequence[str] = ()
    """Other paths to the same; they share its name, and so its rate limit."""
    rate_limit: str = UNLIMITED
    """What a key may do where nobody set anything, such as `60/minute`."""
    media_type: str = JSON_TYPE
    status: int = 200
    streams: bool = False
    """It answers with server-sent events where it is asked to."""
    on_loop: bool = False
    """Answer without a thread; for what must work when every thread is taken."""


def validate(model: type[M], raw: object) -> M:
    """`raw` as `model`. Raises `InvalidRequest` that names the first wrong field."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        name, message = describe(error)
        raise InvalidRequest(message, field=name) from None


def describe(error: ValidationError) -> tuple[str, str]:
    """The first wrong field's path, and a sentence on each of the first few."""
    problems = error.errors(include_url=False, include_input=False)
    sentences = [
        f"{_path(problem['loc'])}: {_sentence(problem)}"
        for problem in problems[:MAX_REPORTED_PROBLEMS]
    ]
    if len(problems) > MAX_REPORTED_PROBLEMS:
        sentences.append(f"and {len(problems) - MAX_REPORTED_PROBLEMS} more")
    return _path(problems[0]["loc"]), "; ".join(sentences)


def _sentence(problem: ErrorDetails) -> str:
    pattern = str(problem.get("ctx", {}).get("pattern"))
    return SENTENCES.get(pattern) or problem["msg"].removeprefix("Value error, ")


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for a wrong key, after the key itself
            path += f".{part}" if path else part
    return path[:256] or "body"


def dump(answer: Mapping[str, object]) -> bytes:
    """An answer as JSON; times in UTC with a Z."""
    return orjson.dumps(answer, option=orjson.OPT_UTC_Z)


class Endpoint:
    """The ASGI application of one operation."""

    def __init__(self, operation: Operation, house: House) -> None:
        self._operation = operation
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, read, run, answer."""
        operation, threads = self._operation, self._house.threads
        headers = Headers(scope=scope)
        call = Call(self._house, headers, scope["path_params"], scope["query_string"])
        scope[CALL] = call
        if any("\x00" in value for value in call.path_parameters.values()):
            raise NotFound("there is nothing at this path")
        token = presented_token(headers) if operation.scopes else None
        if operation.body is not None:
            require_json(headers.get("content-type"))
            await self._read(call, token, receive)
        if operation.on_loop:
            reply = self._answer(self._run_now(call))
        else:
            result, allowance = await threads.run(lambda: self._work(call, token))
            if isinstance(result, Stream):
                await _send_events(result, allowance, threads, receive, send)
                return
            reply = await self._settle(result, allowance)
        await _send(reply, send)

    async def _read(self, call: Call, token: str | None, receive: Receive) -> None:
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            call.chunks.append(chunk)  # put together in the thread
            size += len(chunk)
            if size > UNKNOWN_CALLER_BYTES and call.recognised is None and token is not None:
                await self._house.threads.run(lambda: self._admit(call, token))
            if not message.get("more_body", False):
                return

    def _admit(self, call: Call, token: str) -> None:
        caller = authenticate(self._house.knowledge_base, token)
        caller.require_scope(self._operation.scopes)
        call.recognised = caller

    def _work(
        self, call: Call, token: str | None
    ) -> tuple[Reply | Wait | Stream, Allowance | None]:
        allowance = None
        if token is not None:
            if call.recognised is None:
                self._admit(call, token)
            allowance = self._house.limiter.charge(
                call.caller.key, self._operation.name, self._operation.rate_limit
            )
        result = self._operation.run(call)
        if isinstance(result, (Wait, Stream)):
            return result, allowance
        return self._answer(result, allowance), allowance

    def _run_now(self, call: Call) -> Mapping[str, object] | Reply:
        result = self._operation.run(call)
        assert not isinstance(result, (Wait, Stream)), "what runs on the loop never waits"
        return result

    async def _settle(self, result: Reply | Wait, allowance: Allowance | None) -> Reply:
        if isinstance(result, Reply):
            return result
        waiting = result
        seconds = waiting.seconds or self._house.settings.max_wait_seconds

        def wait() -> Sequence[DocumentStatus]:
            return self._house.knowledge_base.wait_until_settled(waiting.document_ids, seconds)

        statuses = await self._house.threads.wait(wait)
        return self._answer(waiting.finish(statuses or ()), allowance)

    @staticmethod
    def _answer(
        result: Mapping[str, object] | Reply,
        allowance: Allowance | None = None,
    ) -> Reply:
        if isinstance(result, Reply):
            return result
        return Reply(dump(result), headers=() if allowance is None else allowance.headers())


async def _send(reply: Reply, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (b"content-type", reply.media_type.encode("latin-1")),
                (b"content-length", str(len(reply.content)).encode("latin-1")),
                *(
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in reply.headers
                ),
            ],
        }
    )
    await send({"type": "http.response.body", "body": reply.content})


async def _send_events(
    stream: Stream,
    allowance: Allowance | None,
    threads: Threads,
    receive: Receive,
    send: Send,
) -> None:
    """Send the events one by one. Raises `ClientDisconnect` when nobody reads them any more."""
    headers = () if allowance is None else allowance.headers()
    leaving = asyncio.ensure_future(_leave(receive))
    try:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-cache"),
                    (b"x-accel-buffering", b"no"),  # nginx would keep the events together
                    *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
                ],
            }
        )
        while (event := await threads.run(lambda: next(stream.events, None))) is not None:
            if leaving.done():
                stream.events.close()
                raise ClientDisconnect
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        leaving.cancel()


async def _leave(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
