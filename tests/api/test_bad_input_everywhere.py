"""Every operation of every dialect against bad input: never a 5xx, always in its own words.

The operations are those that the application serves, so that a new one is tried unasked.
"""

import copy
import gzip
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest
from pydantic import TypeAdapter
from starlette.routing import Route

from llamaindex_reaktly.domain import Answer, AnswerRequest, SearchRequest, SearchResult
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import create_app
from reaktly_api.dialects import dialect_of
from reaktly_api.facade import Facade
from reaktly_api.operations import Endpoint, Operation

BASE = "kb"
# A field's path, a header's name, or the word body; then what is wrong with it.
NAMES_THE_CULPRIT = re.compile(r"[\w.\[\]$@-]+: \S")


def served() -> Iterator[tuple[Operation, str]]:
    """Each operation that takes a body, with each path that it is reached at."""
    for route in create_app(cast("Facade", None)).routes:
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint):
            operation = route.endpoint._operation
            if operation.body is not None:
                yield operation, re.sub(r"\{(\w+)(:\w+)?\}", BASE, route.path)


SERVED = list(served())
EACH = pytest.mark.parametrize(
    ("operation", "path"), SERVED, ids=[f"{o.method} {path}" for o, path in SERVED]
)
NO_BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"7",
    "half": b'{"a": [1, 2',
    "two": b"{}{}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "too large a number": b'{"a": 1e999}',
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a name": b'{"\\u0000": 1}',
    "raw control": b'{"a": "\x01"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "overlong": b'{"a": "\xc0\xaf"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "deep": b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "deep and open": b"[" * 100_000,
}
VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    10**30,
    0.5,
    "",
    " ",
    "x" * 300,
    "a\tb",
    "\r\nSet-Cookie: x",
    "\u202e",
    "🌱" * 3_000,
    "' OR 1=1 --",
    "${jndi:ldap://x}",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    [],
    [None],
    [[]],
    {},
    {"$ne": 1},
    {"a": {"b": {"c": []}}},
)


@pytest.fixture
def knowledge_base(
    shared_knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> KnowledgeBase:
    def found_nothing(request: SearchRequest) -> SearchResult:
        return SearchResult(())

    def does_not_know(request: AnswerRequest) -> Answer:
        return Answer(answered=False, statements=(), considered=())

    monkeypatch.setattr(shared_knowledge_base, "search", found_nothing)
    monkeypatch.setattr(shared_knowledge_base, "answer", does_not_know)
    return shared_knowledge_base


@pytest.fixture
async def client(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> httpx.AsyncClient:
    scopes = ("iq:import", "iq:read", "iq:chat", "iq:admin")
    opened: httpx.AsyncClient = await open_client(
        make_key(scopes=scopes), rate_limits={"*": "none"}, max_wait_seconds=0.001
    )
    return opened


def judge(response: httpx.Response, path: str, sent: object) -> None:
    """Not a failure of ours; and a refusal in the dialect's envelope that says what is wrong."""
    said = f"{response.status_code} {response.text[:300]} to {sent!r:.300}"
    assert response.status_code < 500, said
    assert response.status_code != 422, said
    assert response.headers["x-request-id"]
    assert len(response.content) < 20_000, said
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == "application/json", said
    TypeAdapter(dialect_of(path).envelope).validate_json(response.content, strict=False)
    answer = response.json()
    error = answer.get("error")
    message = error["message"] if isinstance(error, dict) else answer["message"]
    assert message, said
    if response.status_code in {400, 413, 415}:
        assert NAMES_THE_CULPRIT.match(message), said


@EACH
async def test_what_is_no_json_object_is_refused(
    client: httpx.AsyncClient, operation: Operation, path: str
) -> None:
    for name, body in NO_BODIES.items():
        response = await client.request(operation.method, path, content=body)
        judge(response, path, name)
        assert response.status_code == 400, f"{name}: {response.text}"


@EACH
async def test_what_is_not_sent_as_json_is_refused(
    client: httpx.AsyncClient, operation: Operation, path: str
) -> None:
    for headers, body, status in (
        ({"content-type": "text/html"}, b"{}", 415),
        ({"content-type": "application/json; charset=latin-1"}, b"{}", 415),
        ({"content-encoding": "br"}, b"{}", 415),
        ({"content-encoding": "gzip"}, b"{}", 400),
        ({"content-encoding": "gzip"}, gzip.compress(b"{}" * 100)[:-9], 400),
    ):
        response = await client.request(operation.method, path, content=body, headers=headers)
        judge(response, path, headers)
        assert response.status_code == status, response.text


@EACH
async def test_any_value_in_any_place_is_accepted_or_refused_by_its_name(
    client: httpx.AsyncClient, operation: Operation, path: str
) -> None:
    assert operation.examples
    for example in operation.examples:
        body = with_our_base(example.body)
        first = await client.request(operation.method, path, json=body)
        judge(first, path, body)
        for place in places(body):
            for value in VALUES:
                changed = copy.deepcopy(body)
                put(changed, place, value)
                content = json.dumps(changed).encode()
                response = await client.request(operation.method, path, content=content)
                judge(response, path, (place, value))
            without = copy.deepcopy(body)
            remove(without, place)
            response = await client.request(operation.method, path, json=without)
            judge(response, path, (place, "absent"))


Place = tuple[str | int, ...]


def with_our_base(value: Any) -> Any:
    """An example with the knowledge base that the key reaches."""
    if isinstance(value, dict):
        named = {"knowledgeBaseId", "chatModelId"}
        return {k: BASE if k in named else with_our_base(v) for k, v in value.items()}
    return [with_our_base(v) for v in value] if isinstance(value, (list, tuple)) else value


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """The way to each value inside of a body."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value[:2])
    for name, child in parts:
        yield (*above, name)
        yield from places(child, (*above, name))


def put(body: Any, place: Place, value: object) -> None:
    for part in place[:-1]:
        body = body[part]
    body[place[-1]] = value


def remove(body: Any, place: Place) -> None:
    for part in place[:-1]:
        body = body[part]
    del body[place[-1]]
