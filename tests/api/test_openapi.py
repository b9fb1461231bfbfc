import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from pydantic import TypeAdapter

from llamaindex_reaktly.domain import Answer, AnswerRequest, SearchRequest, SearchResult
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import inkeep, quant, smarttalk
from reaktly_api.dialects import dialect_of
from reaktly_api.operations import Operation
from reaktly_api.reaktly import answer, documents, ingest, jobs, requests, search, usage

OPERATIONS = (
    *ingest.OPERATIONS,
    *jobs.OPERATIONS,
    *documents.OPERATIONS,
    *search.OPERATIONS,
    *answer.OPERATIONS,
    *usage.OPERATIONS,
    *inkeep.OPERATIONS,
    *smarttalk.OPERATIONS,
    *quant.OPERATIONS,
)
WITH_EXAMPLES = [(o, e) for o in OPERATIONS for e in o.examples]


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


async def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    own = {(o.method, re.sub(r":\w+", "", o.path)) for o in OPERATIONS}
    assert own <= described
    assert {
        ("GET", p) for p in ("/health", "/ready", "/metrics", "/openapi.json", "/docs")
    } <= described
    assert len(described) == len(own) + 5


async def test_protected_operations_say_how_to_open_them(document: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        path = re.sub(r":\w+", "", operation.path)
        described = document["paths"][path][operation.method.lower()]
        assert described["security"] == [{"apiKey": []}, {"bearer": []}]
        assert all(f"`{scope}`" in described["description"] for scope in operation.scopes)
        assert {"401", "403", "429", "500"} <= set(described["responses"])


async def test_every_error_comes_with_an_example_in_the_envelope_of_its_dialect(
    document: dict[str, Any],
) -> None:
    for path, methods in document["paths"].items():
        adapter: TypeAdapter[object] = TypeAdapter(dialect_of(path).envelope)
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status != "200":
                    adapter.validate_python(response["content"]["application/json"]["example"])


async def test_every_answer_names_the_headers_that_it_comes_with(
    document: dict[str, Any],
) -> None:
    responses = document["paths"]["/search"]["post"]["responses"]
    assert all("x-request-id" in response["headers"] for response in responses.values())
    assert "ratelimit-remaining" in responses["200"]["headers"]
    assert "www-authenticate" in responses["401"]["headers"]
    assert {"retry-after", "ratelimit-reset"} <= set(responses["429"]["headers"])


async def test_links_lead_from_a_field_of_the_answer_to_a_parameter_that_exists(
    document: dict[str, Any],
) -> None:
    operations = {o.name: o for o in OPERATIONS}
    for operation in OPERATIONS:
        for link in operation.links:
            assert f"{{{link.parameter}" in operations[link.operation].path
            fields = [part for part in link.pointer.split("/") if part and not part.isdigit()]
            assert operation.answer is not None
            schema = TypeAdapter(operation.answer).json_schema(mode="serialization")
            definitions = schema.get("$defs", {})
            for field in fields:
                assert field in schema["properties"]
                items = schema["properties"][field].get("items", {})
                if "$ref" in items:
                    schema = definitions[items["$ref"].rsplit("/", 1)[1]]


async def test_limits_in_the_document_are_those_that_hold(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    item = schemas["IngestItem"]["properties"]
    assert item["externalId"]["maxLength"] == requests.MAX_ID_LENGTH
    assert set(schemas["SourceType"]["enum"]) == {"PRODUCT", "ARTICLE", "PAGE", "SERVICE", "PERSON"}
    assert schemas["IngestItem"]["required"] == [
        "integrationId",
        "knowledgeBaseId",
        "externalId",
        "sourceType",
        "data",
    ]
    for body, field, least in (
        ("SearchBody", "limit", 1),
        ("SearchBody", "offset", 0),
        ("DocumentSearchBody", "limit", 1),
        ("ChatCompletionBody", "max_tokens", 1),
    ):
        about = schemas[body]["properties"][field]
        assert about.get("anyOf", [about])[0]["minimum"] == least
    assert schemas["SearchBody"]["properties"]["limit"]["maximum"] == 100


@pytest.mark.parametrize(
    ("operation", "example"),
    WITH_EXAMPLES,
    ids=[f"{o.name}: {e.summary}" for o, e in WITH_EXAMPLES],
)
async def test_every_example_works_and_answers_as_described(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    knowledge_base: KnowledgeBase,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    example: Any,
) -> None:
    knowledge_base.registry.knowledge_bases.ensure("kb_xyz789", embedder="minilm")

    def found_nothing(request: SearchRequest) -> SearchResult:
        return SearchResult(())

    def does_not_know(request: AnswerRequest) -> Answer:
        return Answer(answered=False, statements=(), considered=())

    monkeypatch.setattr(knowledge_base, "search", found_nothing)
    monkeypatch.setattr(knowledge_base, "answer", does_not_know)
    client = await open_client(make_key("kb_xyz789"))
    path = operation.path.format(orgId="org_abc123", siteId="kb_xyz789")
    response = await client.request(operation.method, path, json=example.body)

    assert response.status_code == 200, response.text
    assert operation.answer is not None
    if example.body.get("stream"):
        assert operation.streams
        assert response.headers["content-type"].startswith("text/event-stream")
        return
    assert not response.json().get("errors")
    TypeAdapter(operation.answer).validate_json(response.content)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body], ids=lambda o: o.name)
async def test_the_described_body_is_the_one_that_is_read(
    client: httpx.AsyncClient, operation: Operation
) -> None:
    assert operation.examples
    path = operation.path.format(orgId="org_abc123", siteId="kb")
    response = await client.request(operation.method, path, json={})
    assert response.status_code == 400
    assert operation.body is not None
    # Where one of several fields is needed, it is the body that lacks them.
    required = operation.body.model_json_schema(by_alias=True).get("required", ["body"])
    TypeAdapter(dialect_of(operation.path).envelope).validate_json(response.content)
    assert f"{required[0]}: " in response.text


async def test_answers_are_as_described(client: httpx.AsyncClient, item: dict[str, Any]) -> None:
    await client.post("/ingest", json=item)
    listed = (await client.get("/documents")).json()["documents"][0]
    paths = {
        "listJobs": "/ingest/jobs",
        "getJob": "/ingest/jobs/int-a1",
        "listDocuments": "/documents",
        "getDocument": f"/documents/{listed['documentId']}",
        "usage": "/usage",
        "getPassages": f"/documents/{listed['documentId']}/passages",
        "listModels": "/v1/models",
        "quantSites": "/sites",
    }
    for operation in OPERATIONS:
        if operation.method == "GET":
            response = await client.get(paths.pop(operation.name))
            assert operation.answer is not None
            TypeAdapter(operation.answer).validate_json(response.content)
            described = set(TypeAdapter(operation.answer).json_schema()["properties"])
            assert set(response.json()) == described
    assert not paths
