import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.errors import InvalidRequest
from reaktly_api.middleware.body_limit import STEP, BodyLimitMiddleware, Inflater


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "two gzip members": ("gzip", lambda d: gzip.compress(d[:5]) + gzip.compress(d[5:])),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


def inflate(inflater: Inflater, pieces: list[bytes], limit: int) -> bytes:
    out = []
    for piece in pieces:
        inflater.push(piece)
        while chunk := inflater.pull(limit):
            assert len(chunk) <= limit
            out.append(chunk)
    inflater.finish()
    return b"".join(out)


@given(
    data=st.binary(max_size=3_000) | st.binary(min_size=1, max_size=4).map(lambda b: b * 2_000),
    encoder=st.sampled_from(sorted(ENCODERS)),
    size=st.integers(1, 400),
    limit=st.integers(1, 5_000),
)
def test_inflating_in_any_pieces_gives_back_what_was_compressed(
    data: bytes, encoder: str, size: int, limit: int
) -> None:
    encoding, compress = ENCODERS[encoder]
    compressed = compress(data)
    pieces = [compressed[i : i + size] for i in range(0, len(compressed), size)]
    inflater = Inflater(raw_or_zlib=encoding == "deflate")
    assert inflate(inflater, pieces, limit) == data


@given(data=st.binary(min_size=1, max_size=200), encoding=st.booleans())
def test_any_bytes_are_inflated_or_refused(data: bytes, encoding: bool) -> None:
    with suppress(InvalidRequest):
        inflate(Inflater(raw_or_zlib=encoding), [data], 1_000)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
async def test_a_compressed_body_is_read_as_what_it_holds(
    client: httpx.AsyncClient, item: dict[str, Any], encoder: str
) -> None:
    encoding, compress = ENCODERS[encoder]
    response = await client.post(
        "/ingest",
        content=compress(orjson.dumps(item)),
        headers={"content-encoding": encoding.upper(), "content-type": "application/json"},
    )
    assert response.status_code == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "x-foo", "gzip, gzip", "compress"])
async def test_an_unknown_encoding_is_a_415(client: httpx.AsyncClient, encoding: str) -> None:
    response = await client.post("/ingest", content=b"{}", headers={"content-encoding": encoding})
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"{}"),
        ("gzip", gzip.compress(b"{}" * 100)[:-9]),
        ("gzip", gzip.compress(b"{}") + b"rest"),
        ("deflate", b"\x78\x9c rubbish"),
        ("deflate", zlib.compress(b"{}") + b"rest"),
        ("deflate", b"\x78"),
    ],
    ids=["no gzip", "cut short", "trailing bytes", "no zlib", "trailing zlib", "one byte"],
)
async def test_a_body_that_is_not_in_its_encoding_is_a_400_that_names_the_header(
    client: httpx.AsyncClient, encoding: str, body: bytes
) -> None:
    response = await client.post("/ingest", content=body, headers={"content-encoding": encoding})
    assert response.status_code == 400
    assert response.json()["field"] == "content-encoding"


async def chunks(total: int, size: int = 1_000) -> AsyncIterator[bytes]:
    for _ in range(total // size):
        yield b" " * size


async def test_the_limit_holds_for_declared_streamed_and_inflated_bodies(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(), max_body_bytes=10_000)
    fits = b"{" + b" " * 9_998 + b"}"
    declared = await client.post("/ingest", content=fits)
    streamed = await client.post("/ingest", content=chunks(10_000))
    inflated = await client.post(
        "/ingest", content=gzip.compress(fits), headers={"content-encoding": "gzip"}
    )
    assert {r.status_code for r in (declared, streamed, inflated)} == {400}

    over = fits + b" "
    for response in (
        await client.post("/ingest", content=over),
        await client.post("/ingest", content=chunks(11_000)),
        await client.post(
            "/ingest", content=gzip.compress(over), headers={"content-encoding": "gzip"}
        ),
        await client.post(
            "/ingest", content=raw_deflate(over), headers={"content-encoding": "deflate"}
        ),
    ):
        assert response.status_code == 413
        assert "10000 bytes" in response.json()["message"]


async def test_compressed_bytes_that_hold_nothing_are_limited_too(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(), max_body_bytes=10_000)
    empty_members = gzip.compress(b"") * 1_000

    async def stream() -> AsyncIterator[bytes]:
        yield empty_members

    response = await client.post("/ingest", content=stream(), headers={"content-encoding": "gzip"})
    assert response.status_code == 413


async def test_a_bomb_is_inflated_step_by_step_and_no_further_than_the_limit() -> None:
    handed_on = 0
    bomb = gzip.compress(b"0" * 64_000_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal handed_on
        while True:
            message = await receive()
            assert len(message["body"]) <= STEP
            handed_on += len(message["body"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bomb, "more_body": False}

    scope = {"type": "http", "path": "/ingest", "headers": [(b"content-encoding", b"gzip")]}
    limited = BodyLimitMiddleware(app, max_bytes=lambda _: 1_000_000)
    with pytest.raises(Exception, match="larger than 1000000 bytes"):
        await limited(scope, receive, lambda _: None)  # type: ignore[arg-type,return-value]
    assert handed_on <= 1_000_000


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/ingest", 2_000),
        ("/v1/chat/completions", 2_000),
        ("/v1/documents/import", 9_000),
        ("/v1/chat/query", 9_000),
        ("/sites/kb/pages", 9_000),
        ("/api/organisations/org/ai-search/sites/kb/pages", 9_000),
    ],
)
async def test_dialects_with_batches_of_large_documents_have_a_limit_of_their_own(
    open_client: Callable[..., Any], path: str, limit: int
) -> None:
    client = await open_client(max_body_bytes=2_000, max_batch_body_bytes=9_000)
    assert (await client.put(path, content=b" " * limit)).status_code in {404, 405}
    refused = await client.put(path, content=b" " * (limit + 1))
    assert refused.status_code == 413
    assert f"{limit} bytes" in refused.text
