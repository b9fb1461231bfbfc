"""No key learns of what it does not reach: no title, id or count, nor from how it is refused.

Whoever asks for something of another tenant's must be answered as if it had never been
made. So each request is sent twice, the second time with the other tenant's word
exchanged for that of a tenant that does not exist, and the answers must be the same but
for the word. Every name, title and text of a tenant holds its word. What is searched for
stays as it is: other words find other things.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.domain import DocumentKey
from llamaindex_reaktly.registry.registry import Registry
from reaktly_api.quant.requests import SOURCE as QUANT_SOURCE
from tests.end_to_end.product import Product

pytestmark = pytest.mark.timeout(300)

# Of two organisations; the first has two tenants. Nobody is nowhere, and as long a word.
TENANTS = ("ambers", "indigo", "violet")
NOBODY = "nobody"
ORGANISATIONS = {"ambers": "org-one", "indigo": "org-one", "violet": "org-two"}
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "of the first organisation": (("ambers", "indigo"), ("iq:import", "iq:read", "iq:chat")),
    "of one tenant": (("ambers",), ("iq:import", "iq:read", "iq:chat")),
    "of the second organisation": (("violet",), ("iq:import", "iq:read", "iq:chat", "iq:admin")),
    "to read": (("violet",), ("iq:read",)),
    "to import": (("indigo",), ("iq:import",)),
}
DOCUMENTS = 3
# What differs from one answer to the next by itself.
VOLATILE_FIELDS = re.compile(
    r'"(timingMs|created|created_at|id|item_id|estimatedTime)":("(chatcmpl|resp|msg)[^"]*"|[\d.e-]+|"\d+s")'
)
VOLATILE_HEADERS = {"x-request-id", "date", "content-length"}


@dataclass(frozen=True, slots=True)
class Thing:
    """A document of a tenant's, by all its names; Nobody's are made up alike."""

    tenant: str
    number: int

    @property
    def base(self) -> str:
        return f"{self.tenant}-kb"

    @property
    def integration(self) -> str:
        return f"{self.tenant}-int"

    @property
    def external_id(self) -> str:
        return f"{self.tenant}/{self.number}"

    @property
    def title(self) -> str:
        return f"Tides of {self.tenant} {self.number}"

    @property
    def url(self) -> str:
        return f"https://{self.tenant}.example/{self.number}"

    @property
    def document_id(self) -> str:
        source = f"integration:{self.integration}"
        return DocumentKey(self.base, source, self.external_id).document_id

    @property
    def item(self) -> dict[str, Any]:
        """As `/ingest` takes it."""
        return self.reference | {
            "sourceType": "ARTICLE",
            "data": {
                "title": self.title,
                "content": f"High water at the pier of {self.tenant} comes at {self.number} today.",
                "contentType": "text/plain",
                "url": self.url,
                "sourceData": {"harbour": self.tenant, "number": self.number},
            },
        }

    @property
    def page(self) -> dict[str, Any]:
        """A page of the tenant's site, as Quant Search takes it."""
        return {
            "url": f"https://{self.tenant}.example/page",
            "key": f"{self.tenant}-page",
            "title": f"Moorings of {self.tenant}",
            "content": f"Where to moor in the harbour of {self.tenant}, at high water and at low.",
            "summary": f"Moorings of {self.tenant}.",
            "tags": [self.tenant],
            "contentType": "text/plain",
        }

    @property
    def page_id(self) -> str:
        return DocumentKey(self.base, QUANT_SOURCE, self.page["url"]).document_id

    @property
    def reference(self) -> dict[str, str]:
        return {
            "integrationId": self.integration,
            "knowledgeBaseId": self.base,
            "externalId": self.external_id,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asking:
    """What a request is made of: a base, a thing that need not be in it, words, a filter."""

    base: Thing
    thing: Thing
    query: str
    filters: object
    organisation: str

    @property
    def site(self) -> str:
        """The path of the base as Quant Search has it."""
        return f"/organisations/{self.organisation}/ai-search/sites/{self.base.base}"

    @property
    def search(self) -> dict[str, object]:
        return {"query": self.query, "filters": self.filters}

    @property
    def chat(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.query}]


OPERATIONS: dict[str, Callable[[Asking], Request]] = {
    "search": lambda a: Request(
        "POST", "/search", {"knowledgeBaseId": a.base.base, "limit": 100} | a.search
    ),
    "answer": lambda a: Request("POST", "/answer", {"knowledgeBaseId": a.base.base} | a.search),
    "list": lambda a: Request("GET", f"/documents?knowledgeBaseId={a.base.base}"),
    "list all": lambda a: Request("GET", "/documents?limit=100"),
    "document": lambda a: Request("GET", f"/documents/{a.thing.document_id}"),
    "passages": lambda a: Request("GET", f"/documents/{a.thing.document_id}/passages"),
    "job": lambda a: Request("GET", f"/ingest/jobs/{a.thing.integration}-{a.thing.external_id}"),
    "job in base": lambda a: Request(
        "GET",
        f"/ingest/jobs/{a.thing.integration}-{a.thing.external_id}?knowledgeBaseId={a.base.base}",
    ),
    "retry": lambda a: Request(
        "POST", f"/ingest/jobs/{a.thing.integration}-{a.thing.external_id}/retry"
    ),
    "jobs": lambda a: Request("GET", f"/ingest/jobs?knowledgeBaseId={a.base.base}"),
    "all jobs": lambda a: Request("GET", "/ingest/jobs"),
    "ingest": lambda a: Request("POST", "/ingest", a.base.item),
    "ingest bulk": lambda a: Request(
        "POST", "/ingest/bulk", {"items": [a.base.item, a.thing.item]}
    ),
    "delete": lambda a: Request(
        "DELETE", "/ingest", a.thing.reference | {"knowledgeBaseId": a.base.base}
    ),
    "delete bulk": lambda a: Request(
        "DELETE", "/ingest/bulk", {"items": [a.thing.reference | {"knowledgeBaseId": a.base.base}]}
    ),
    "smarttalk search": lambda a: Request(
        "POST", "/v1/documents/search", {"chatModelId": a.base.base, "limit": 100} | a.search
    ),
    "smarttalk query": lambda a: Request(
        "POST", "/v1/chat/query", {"chatModelId": a.base.base} | a.search
    ),
    "smarttalk delete by id": lambda a: Request(
        "DELETE",
        "/v1/documents",
        {"chatModelId": a.base.base, "ids": [a.thing.document_id, a.thing.external_id]},
    ),
    "smarttalk delete by url": lambda a: Request(
        "DELETE", "/v1/documents", {"chatModelId": a.base.base, "urls": [a.thing.url]}
    ),
    "smarttalk delete by title": lambda a: Request(
        "DELETE", "/v1/documents", {"chatModelId": a.base.base, "titles": [a.thing.title]}
    ),
    "inkeep": lambda a: Request(
        "POST",
        "/v1/chat/completions",
        {"model": f"inkeep-rag@{a.base.base}", "messages": a.chat},
    ),
    "inkeep by header": lambda a: Request(
        "POST",
        "/v1/chat/completions",
        {"model": "inkeep-rag", "messages": a.chat},
        {"x-knowledge-base": a.base.base},
    ),
    "inkeep by key": lambda a: Request(
        "POST", "/v1/chat/completions", {"model": "inkeep-rag", "messages": a.chat}
    ),
    "inkeep responses": lambda a: Request(
        "POST", "/v1/responses", {"model": f"inkeep-rag@{a.base.base}", "input": a.query}
    ),
    "inkeep models": lambda a: Request("GET", "/v1/models"),
    "inkeep expert": lambda a: Request(
        "POST",
        "/v1/chat/completions",
        {"model": f"inkeep-qa-expert@{a.base.base}", "messages": a.chat},
    ),
    "usage": lambda a: Request("GET", "/usage"),
    "sites": lambda a: Request("GET", "/sites"),
    "sites of": lambda a: Request("GET", f"/organisations/{a.organisation}/ai-search/sites"),
    "pages": lambda a: Request("POST", f"{a.site}/pages", {"pages": [a.base.page]}),
    "pages without organisation": lambda a: Request(
        "POST", f"/api/sites/{a.base.base}/pages", {"pages": [a.base.page]}
    ),
    "delete pages by url": lambda a: Request(
        "DELETE", f"{a.site}/pages", {"urls": [a.thing.page["url"], a.thing.url]}
    ),
    "delete pages by key": lambda a: Request(
        "DELETE", f"/sites/{a.base.base}/pages", {"keys": [a.thing.page["key"]]}
    ),
    "purge": lambda a: Request("POST", f"{a.site}/purge"),
}
# What takes something away asks for what is not there, so that the tenants stay as they are.
CHANGES = {name for name in OPERATIONS if "delete" in name}

THINGS = st.builds(Thing, st.sampled_from([*TENANTS, NOBODY]), st.integers(1, DOCUMENTS))


@st.composite
def askings(draw: st.DrawFn) -> Asking:
    thing = draw(THINGS)
    words = st.sampled_from(
        ["high water", "the pier today", f"where is {thing.title}", f"what is {thing.url} for"]
    )
    filters: st.SearchStrategy[object] = st.sampled_from(
        [
            {},
            {"externalId": thing.external_id},
            {"url": thing.url},
            {"integrationId": thing.integration},
            {"sourceData.harbour": thing.tenant},
            {"sourceData.harbour": {"ne": thing.tenant}},
            {"not": {"sourceData.harbour": {"in": [thing.tenant]}}},
            {"or": [{"sourceData.number": {"gte": 0}}, {"url": {"contains": thing.tenant}}]},
            {"sourceData.harbour": {"exists": True}},
        ]
    )
    organisation = draw(st.sampled_from(["org-one", "org-two", "org-none"]))
    return Asking(draw(THINGS), thing, draw(words), draw(filters), organisation)


class World:
    """A server with the tenants' documents, and a client a key."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self.begun_with = self.holdings()
        self.clients = dict[str, httpx.Client]()
        url = f"sqlite:///{product.data_dir / 'registry.sqlite'}"
        registry = Registry(url)
        for name, (tenants, scopes) in KEYS.items():
            _, token = registry.keys.create(
                name, knowledge_bases=[f"{tenant}-kb" for tenant in tenants], scopes=scopes
            )
            self.clients[name] = httpx.Client(
                base_url=f"http://127.0.0.1:{product.port}",
                headers={"authorization": f"Bearer {token}"},
                timeout=45,
            )
        registry.close()
        # By tenant and name. A document's id is a digest and holds no word.
        self._names = {(tenant, tenant): NOBODY for tenant in TENANTS} | {
            (tenant, Thing(tenant, number).document_id): Thing(NOBODY, number).document_id
            for tenant in TENANTS
            for number in range(1, DOCUMENTS + 1)
        }
        self._names |= {
            (tenant, Thing(tenant, 1).page_id): Thing(NOBODY, 1).page_id for tenant in TENANTS
        }

    def send(self, key: str, request: Request) -> httpx.Response:
        return self.clients[key].request(
            request.method, request.path, json=request.body, headers=request.headers
        )

    def without(self, theirs: set[str], value: Any) -> Any:
        """A request, an answer, or a part of one, with Nobody's names for theirs."""
        if isinstance(value, str):
            for name, nobodys in self._names.items():
                if name[0] in theirs:
                    value = value.replace(name[1], nobodys)
            return value
        if isinstance(value, dict):
            return {self.without(theirs, k): self.without(theirs, v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.without(theirs, one) for one in value]
        return value

    def without_of(self, theirs: set[str], thing: Thing) -> Thing:
        """The thing, or Nobody's of that number for one of theirs."""
        return Thing(NOBODY, thing.number) if thing.tenant in theirs else thing

    def holdings(self) -> dict[str, str]:
        """What each tenant has."""
        client = self._product.shared_client
        return {
            tenant: str(
                sorted(
                    (one["documentId"], one["title"])
                    for one in client.ok(
                        "GET", "/documents", query={"knowledgeBaseId": f"{tenant}-kb"}
                    )["documents"]
                )
            )
            for tenant in TENANTS
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Product(tmp_path_factory.mktemp("tenants"), REAKTLY_RATE_LIMIT="none") as product:
        product.start_server()
        product.shared_client.push(
            *(
                Thing(tenant, number).item
                for tenant in TENANTS
                for number in range(1, DOCUMENTS + 1)
            ),
            wait=True,
        )
        for tenant, organisation in ORGANISATIONS.items():
            path = f"/organisations/{organisation}/ai-search/sites/{tenant}-kb/pages"
            page = {"pages": [Thing(tenant, 1).page]}
            answer = product.shared_client.ok("POST", path, page, {"wait": "true"})
            assert answer["processed"] == 1
        world = World(product)
        yield world
        for client in world.clients.values():
            client.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(sorted(KEYS)),
    operation=st.sampled_from(sorted(OPERATIONS)),
    asking=askings(),
)
def test_what_is_out_of_reach_is_as_if_it_had_never_been_made(
    world: World, key: str, operation: str, asking: Asking
) -> None:
    reached = KEYS[key][0]
    if operation in CHANGES and asking.base.tenant in reached and asking.thing.tenant in reached:
        asking = replace(asking, thing=Thing(NOBODY, asking.thing.number))
    elif operation == "purge" and asking.base.tenant in reached:
        asking = replace(asking, base=Thing(NOBODY, 1))
    elif operation == "ingest bulk" and asking.thing.tenant == NOBODY:
        asking = replace(asking, thing=asking.base)
    theirs = {tenant for tenant in TENANTS if tenant not in reached}
    unmade = replace(
        asking,
        base=world.without_of(theirs, asking.base),
        thing=world.without_of(theirs, asking.thing),
        filters=world.without(theirs, asking.filters),
    )
    response = world.send(key, OPERATIONS[operation](asking))
    expected = world.send(key, OPERATIONS[operation](unmade))

    said = plain(response.text, asking.query)
    assert response.status_code == expected.status_code, (asking, said, expected.text)
    assert response.status_code < 500, said
    assert world.without(theirs, said) == plain(expected.text, asking.query), asking
    assert headers(response) == headers(expected)


def test_after_all_that_each_tenant_has_what_it_had(world: World) -> None:
    assert world.holdings() == world.begun_with


def plain(text: str, query: str) -> str:
    """An answer without what varies by itself, and without the words that were sent."""
    return VOLATILE_FIELDS.sub(r'"\1":…', text).replace(query, "…")


def headers(response: httpx.Response) -> dict[str, str]:
    return {n: v for n, v in response.headers.items() if n not in VOLATILE_HEADERS}
