"""The Quant Search dialect (seed 002), on the wire."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import DocumentKey, SourceType, StoredContent
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Verdict

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

PAGES = "/sites/kb/pages"
OF_ORG = "/organisations/org-1/ai-search/sites/kb/pages"
EVERY_PATH = [base + path for base in ("", "/api") for path in (OF_ORG, PAGES)]
# The seed's own example.
GUIDE: Json = {
    "url": "https://example.com/docs/getting-started",
    "title": "Getting Started Guide",
    "content": "Welcome to our platform! This guide will help you get up and running...",
    "summary": "A beginner's guide to setting up and using the platform.",
    "tags": ["getting-started", "tutorial", "beginner"],
}
DONE = {"processed": 0, "skipped": 0, "errors": [], "queued": 0}


@pytest.fixture
async def open_quant(open_client: Callable[..., Any]) -> Callable[..., Any]:
    """Opens a client that authenticates as the vendor's do."""

    async def open_one(token: str, **settings: Any) -> httpx.AsyncClient:
        client: httpx.AsyncClient = await open_client(None, **settings)
        client.headers["authorization"] = f"Bearer {token}"
        return client

    return open_one


@pytest.fixture
async def client(open_quant: Callable[..., Any], make_key: Callable[..., str]) -> httpx.AsyncClient:
    opened: httpx.AsyncClient = await open_quant(make_key())
    return opened


def settle(knowledge_base: KnowledgeBase, error: str | None = None) -> int:
    """Do a worker's part: wait until something is queued, and say what becomes of it."""
    queue = knowledge_base.registry.queue
    deadline = time.monotonic() + 20
    with knowledge_base.work_bell.listen() as listener:
        while not (claims := queue.claim(limit=200, characters=10**9, lease_seconds=60)):
            assert time.monotonic() < deadline, "nothing was queued"
            listener.wait(0.2)
    queue.settle([Verdict(claim, 1, error) for claim in claims], {})
    return len(claims)


async def send(client: httpx.AsyncClient, *pages: Json, path: str = PAGES) -> Json:
    answer = await client.post(path, json={"pages": list(pages)})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def remove(client: httpx.AsyncClient, body: Json, path: str = PAGES) -> httpx.Response:
    return await client.request("DELETE", path, json=body)


def pages_of(knowledge_base: KnowledgeBase, base: str = "kb") -> dict[str, StoredContent]:
    contents = knowledge_base.registry.documents.contents(base, characters=10**6)
    return {stored.document.key.external_id: stored for stored in contents}


def page(url: str, content: str = "Text.", **fields: Any) -> Json:
    return {"url": url, "content": content, **fields}


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.requirement("Q-02", "Q-17")
async def test_pages_go_in_and_out_by_every_path(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, path: str
) -> None:
    assert await send(client, GUIDE, path=path) == {**DONE, "queued": 1}
    (stored,) = pages_of(knowledge_base).values()
    document = stored.document
    assert document.key == DocumentKey("kb", "quant", GUIDE["url"])
    assert document.source_type is SourceType.PAGE
    assert (document.title, document.content, document.url) == (
        GUIDE["title"],
        GUIDE["content"],
        GUIDE["url"],
    )
    assert (document.summary, list(document.tags)) == (GUIDE["summary"], GUIDE["tags"])
    gone = await remove(client, {"url": GUIDE["url"]}, path)
    assert gone.json() == {"deleted": 1}
    assert pages_of(knowledge_base) == {}


@pytest.mark.requirement("Q-08", "Q-15")
async def test_the_answer_counts_what_is_searchable_unchanged_and_failed(
    open_quant: Callable[..., Any], make_key: Callable[..., str], knowledge_base: KnowledgeBase
) -> None:
    client = await open_quant(make_key(), quant_answer_seconds=20.0)
    answer, _ = await asyncio.gather(
        send(client, page("/a"), page("/b")), asyncio.to_thread(settle, knowledge_base)
    )
    assert answer == {**DONE, "processed": 2}
    answer, _ = await asyncio.gather(
        send(client, page("/a"), page("/b", "New."), {"url": "/c"}),
        asyncio.to_thread(settle, knowledge_base, "it holds nothing"),
    )
    assert answer["skipped"] == 1
    assert (answer["processed"], answer["queued"]) == (0, 0)
    assert answer["errors"] == [
        {
            "url": "/c",
            "code": "invalid_request",
            "message": "pages[2]: content: Field required",
        },
        {"url": "/b", "code": "processing_failed", "message": "it holds nothing"},
    ]
    # A page that failed is tried again when it is sent again.
    answer, _ = await asyncio.gather(
        send(client, page("/b", "New.")), asyncio.to_thread(settle, knowledge_base)
    )
    assert answer == {**DONE, "processed": 1}


async def test_with_wait_the_answer_comes_when_the_pages_are_done_however_long_it_takes(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    answer, _ = await asyncio.gather(
        send(client, GUIDE, path=f"{PAGES}?wait=true"), asyncio.to_thread(settle, knowledge_base)
    )
    assert answer == {**DONE, "processed": 1}


async def test_without_a_worker_the_answer_comes_when_its_time_is_over(
    client: httpx.AsyncClient,
) -> None:
    assert await send(client, page("/a"), page("/b")) == {**DONE, "queued": 2}
    # Sent again they are what is wanted already, if not searchable yet.
    assert await send(client, page("/a"), page("/b")) == {**DONE, "skipped": 2}


async def test_a_page_that_is_sent_twice_counts_twice_and_its_last_content_is_kept(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    assert await send(client, page("/a", "One."), page("/a", "Two.")) == {**DONE, "queued": 2}
    assert [s.document.content for s in pages_of(knowledge_base).values()] == ["Two."]


async def test_a_page_is_known_by_its_key_wherever_it_moves(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    await send(client, page("/old", key="node:1"), page("/other", key="node:2"))
    before = pages_of(knowledge_base)["/old"].status.document_id
    await send(client, page("/new", key="node:1"))
    after = pages_of(knowledge_base)
    assert set(after) == {"/new", "/other"}
    assert after["/new"].status.document_id == before
    # A known url is that page, whatever its key.
    await send(client, page("/new", "Edited.", key="node:9"), page("/other", "Edited."))
    assert {url: s.document.second_name for url, s in pages_of(knowledge_base).items()} == {
        "/new": "node:9",
        "/other": "node:2",
    }
    assert (await remove(client, {"url": "/old"})).json() == {"deleted": 0}
    assert (await remove(client, {"keys": ["node:1", "node:9", "node:2"]})).json() == {"deleted": 2}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"url": "/a"}, {"/A", "/a/", "/b"}),
        ({"urls": ["/a", "/b", "/a", "/unknown"]}, {"/A", "/a/"}),
        ({"keys": ["k"]}, {"/A", "/a", "/a/"}),
        ({"url": "/a", "urls": ["/A"], "keys": ["k"]}, {"/a/"}),
        ({"url": "https://example.com/a"}, {"/A", "/a", "/a/", "/b"}),
        ({"urls": []}, {"/A", "/a", "/a/", "/b"}),
        ({"url": None, "keys": ["K"]}, {"/A", "/a", "/a/", "/b"}),
    ],
)
@pytest.mark.requirement("Q-18")
async def test_what_is_deleted_matches_exactly(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, body: Json, left: set[str]
) -> None:
    await send(client, page("/a"), page("/A"), page("/a/"), page("/b", key="k"))
    answer = await remove(client, body)
    assert answer.json() == {"deleted": 4 - len(left)}
    assert set(pages_of(knowledge_base)) == left


async def test_a_purge_takes_the_pages_and_nothing_else(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Json
) -> None:
    await send(client, page("/a"), page("/b"))
    assert (await client.post("/ingest", json=item)).status_code == 200
    for path, deleted in (
        ("/sites/kb/purge", 2),
        ("/api/organisations/org-1/ai-search/sites/kb/purge", 0),
    ):
        answer = await client.post(path)
        assert answer.json() == {"deleted": deleted}
    assert set(pages_of(knowledge_base)) == {"a1"}


async def test_sites_are_the_knowledge_bases_within_reach(
    open_quant: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_quant(make_key("kb", "unmade"))
    await send(client, GUIDE, page("/node/1"), path=OF_ORG)
    site = {
        "id": "kb",
        "siteId": "kb",
        "name": "kb",
        "baseUrl": "https://example.com",
        "pageCount": 2,
    }
    for path in ("/sites", "/api/sites", "/organisations/org-1/ai-search/sites"):
        assert (await client.get(path)).json() == {"sites": [site]}
    assert (await client.get("/organisations/org-2/ai-search/sites")).json() == {"sites": []}


async def test_a_site_is_the_first_organisations_and_unknown_to_others(
    open_quant: Callable[..., Any], make_key: Callable[..., str], knowledge_base: KnowledgeBase
) -> None:
    client = await open_quant(make_key("*"))
    # What is refused as a whole binds nobody.
    foreign = OF_ORG.replace("org-1", "org-2")
    assert (await client.post(foreign, json={"pages": [{}]})).status_code == 400
    await send(client, page("/a"), path=OF_ORG)
    unknown = OF_ORG.replace("/kb/", "/nobody/")
    answers = [
        await call(path)
        for path in (foreign, unknown)
        for call in (
            lambda path: client.post(path, json={"pages": [page("/b")]}),
            lambda path: client.post(path, json={"pages": []}),
            lambda path: remove(client, {"url": "/a"}, path),
            lambda path: client.post(path.replace("/pages", "/purge")),
        )
    ]
    assert {answer.status_code for answer in answers} == {404}
    bodies = {answer.text.replace("nobody", "kb") for answer in answers}
    assert bodies == {
        '{"error":{"code":"not_found","message":"there is no knowledge base \'kb\'"}}'
    }
    # Paths without an organisation lead there too, for those whose key does.
    await send(client, page("/b"))
    assert set(pages_of(knowledge_base)) == {"/a", "/b"}


async def test_a_site_out_of_reach_is_as_unknown_as_one_that_nobody_made(
    client: httpx.AsyncClient,
) -> None:
    for site in ("other", "nobody", "a" * 300, "a%00b", "a%0Ab"):
        answer = await client.post(f"/sites/{site}/pages", json={"pages": [page("/a")]})
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}


@pytest.mark.requirement("Q-14")
async def test_more_pages_than_a_request_may_hold_are_refused_together(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    pages = [page(f"/{number}") for number in range(101)]
    answer = await client.post(PAGES, json={"pages": pages})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {"code": "invalid_request", "message": "pages: holds more than 100 pages"}
    }
    assert pages_of(knowledge_base) == {}
    assert (await send(client, *pages[:100]))["queued"] == 100


@pytest.mark.requirement("Q-20")
async def test_a_page_over_a_megabyte_is_refused_alone(client: httpx.AsyncClient) -> None:
    limit = 1_048_576
    answer = await send(
        client,
        page("/fits", "ä" * (limit // 2)),
        page("/too-large", "ä" * (limit // 2) + "a"),
    )
    assert answer["queued"] == 1
    assert answer["errors"] == [
        {
            "url": "/too-large",
            "code": "too_large",
            "message": f"pages[1].content: is larger than {limit} bytes",
        }
    ]


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"content": "x"}, "url"),
        ({"url": "", "content": "x"}, "url"),
        ({"url": "javascript:alert(1)", "content": "x"}, "url"),
        ({"url": "/" + "ä" * 1025, "content": "x"}, "url"),
        ({"url": "/a"}, "content"),
        ({"url": "/a", "content": None}, "content"),
        ({"url": "/a", "content": "x", "tags": "a,b"}, "tags"),
        ({"url": "/a", "content": "x", "metadata": ["a"]}, "metadata"),
        ({"url": "/a", "content": "x", "contentType": "text/css"}, "contentType"),
        ({"url": "/a", "content": "x", "key": "k" * 257}, "key"),
        ("/a", "pages[0]"),
    ],
)
@pytest.mark.requirement("Q-03", "Q-04", "Q-15")
async def test_a_page_that_cannot_be_used_is_named_with_the_field_at_fault(
    client: httpx.AsyncClient, raw: object, named: str
) -> None:
    answer = await client.post(PAGES, json={"pages": [raw]})
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"]["code"] == "invalid_request"
    (error,) = body["errors"]
    assert named in error["message"]
    assert (await client.post(PAGES, json={"pages": [raw, page("/good")]})).status_code == 200


async def test_what_real_clients_send_besides_is_accepted(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    sparse = {
        "url": "/node/1",
        "content": "<p>From nine to six.</p>",
        "contentType": "text/html",
        "fetchedAt": "2026-01-01T00:00:00Z",
        "key": "node:1:en",
        "title": " ",
        "summary": "",
        "tags": [" visit ", ""],
        "metadata": [],
        "language": "und",
        "nid": 1,
    }
    assert (await send(client, sparse))["queued"] == 1
    again = {**sparse, "fetchedAt": "2026-02-02T00:00:00Z", "metadata": None}
    assert (await send(client, again))["skipped"] == 1
    document = pages_of(knowledge_base)["/node/1"].document
    assert (document.title, document.summary, document.tags) == ("", None, ("visit",))
    assert (document.language, document.attributes) == (None, {})
    assert document.fill_missing


async def test_empty_lists_are_fine(client: httpx.AsyncClient) -> None:
    assert await send(client) == DONE
    assert (await remove(client, {"keys": []})).json() == {"deleted": 0}


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": 3}, {"urls": "/a"}, {"keys": [None]}])
async def test_a_deletion_that_names_nothing_is_refused(
    client: httpx.AsyncClient, body: Json
) -> None:
    answer = await remove(client, body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/organisations/org-1/ai-search/sites/kb/crawl", 404),
        ("POST", "/sites/kb/crawl", 404),
        ("GET", "/public/sites/kb/search", 404),
        ("PUT", PAGES, 405),
        ("GET", "/api" + PAGES, 405),
    ],
)
async def test_what_is_not_served_says_so_in_the_dialects_envelope(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.requirement("Q-21")
async def test_what_a_key_may_do_is_limited_as_documented(
    client: httpx.AsyncClient, open_quant: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    answer = await client.post(PAGES, json={"pages": []})
    assert answer.headers["ratelimit-limit"] == "60"
    reading = await open_quant(make_key(scopes=["iq:read"]))
    assert (await reading.get("/sites")).status_code == 200
    refused: Sequence[httpx.Response] = [
        await reading.post(PAGES, json={"pages": [page("/a")]}),
        await remove(reading, {"url": "/a"}),
        await reading.post("/sites/kb/purge"),
    ]
    assert {answer.status_code for answer in refused} == {403}


async def test_a_page_never_meets_an_item_of_another_dialect(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Json
) -> None:
    same = {**item, "integrationId": "quant", "externalId": "/a"}
    assert (await client.post("/ingest", json=same)).status_code == 200
    await send(client, page("/a"))
    stored = knowledge_base.list_documents("kb").items
    assert len({status.document_id for status in stored}) == 2
    assert (await remove(client, {"url": "/a"})).json() == {"deleted": 1}
    assert len(knowledge_base.list_documents("kb").items) == 1


async def test_pages_that_swap_their_keys_at_once_are_both_kept(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    await send(client, page("/a", key="1"), page("/b", key="2"))
    for one, two in itertools.permutations(("1", "2")):
        await asyncio.gather(
            send(client, page("/a", key=one), page("/b", key=two)),
            send(client, page("/b", key=one), page("/a", key=two)),
        )
        held = pages_of(knowledge_base)
        assert set(held) == {"/a", "/b"}
        assert {s.document.second_name for s in held.values()} == {"1", "2"}
