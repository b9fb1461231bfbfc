import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from demo.client import DemoFailed, HttpApi, Reply, parse_metrics
from demo.content import load_documents

DOCUMENTS = load_documents()[:3]
RESULT = {
    "documentId": "doc_1",
    "integrationId": "site",
    "externalId": "carrier-40",
    "sourceType": "PRODUCT",
    "title": "Carrier 40",
    "url": "https://www.tarnholt.example/trailers/carrier-40",
    "summary": None,
    "relevance": 0.6,
    "text": "Best passage.",
    "passages": [
        {"text": "Best passage.", "relevance": 0.6, "headings": ["Carrier 40"]},
        {"text": "Second passage.", "relevance": 0.4, "headings": ["Carrier 40", "Details"]},
    ],
    "sourceData": {"price": 289.0},
    "tags": ["cargo"],
    "updatedAt": "2024-01-01T00:00:00Z",
}


class DocumentedServer(ThreadingHTTPServer):
    """Answers in the documented shapes and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), DocumentedHandler)
        self.asked: list[tuple[str, str, str | None, object]] = []
        self.refuse_items = False


class DocumentedHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, DocumentedServer)
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw) if raw else None
        server.asked.append((self.command, self.path, self.headers.get("x-api-key"), body))
        status, answer = self._route(server, body)
        payload = answer.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _route(self, server: DocumentedServer, body: dict[str, object] | None) -> tuple[int, str]:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/ingest/bulk":
            assert body is not None
            items = body["items"]
            assert isinstance(items, list)
            answer: dict[str, object] = {
                "status": "queued",
                "jobCount": len(items),
                "estimatedTime": "2s",
                "jobIds": [f"{item['integrationId']}-{item['externalId']}" for item in items],
            }
            if server.refuse_items:
                answer["errors"] = [{"index": 0, "externalId": "carrier-40", "message": "too odd"}]
            return 200, json.dumps(answer)
        if url.path == "/ingest/jobs":
            second = "cursor" in urllib.parse.parse_qs(url.query)
            job = {
                "externalId": "b" if second else "a",
                "status": "completed",
                "lastOutcome": "indexed",
                "error": None,
            }
            return 200, json.dumps({"jobs": [job], "nextCursor": None if second else "a&b"})
        if url.path == "/search":
            return 200, json.dumps({"query": "q", "results": [RESULT], "timingMs": 3})
        if url.path == "/answer":
            cited = {"externalId": "a", "title": "A", "url": "/a", "cited": True}
            answer = {
                "answer": "So it is. [1]",
                "answered": True,
                "sources": [cited, cited | {"externalId": "b", "cited": False}],
            }
            return 200, json.dumps(answer)
        if url.path == "/ingest":
            return 200, json.dumps({"status": "deleted", "deleted": 1})
        if url.path == "/metrics":
            return 200, "# HELP x y\nreaktly_documents_parsed_total 3.0\n"
        return 404, json.dumps({"statusCode": 404, "message": "no such path", "error": "Not Found"})


@pytest.fixture
def server() -> Iterator[DocumentedServer]:
    with DocumentedServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def api(server: DocumentedServer) -> HttpApi:
    return HttpApi(
        port=server.server_address[1],
        api_key="rk_live_x",
        knowledge_base_id="kb",
        integration_id="site",
    )


def test_a_push_sends_the_items_with_the_key(api: HttpApi, server: DocumentedServer) -> None:
    assert api.push(DOCUMENTS) == "2s"
    [(method, path, key, body)] = server.asked
    assert (method, path, key) == ("POST", "/ingest/bulk", "rk_live_x")
    assert body == {
        "items": [
            document.ingest_item(knowledge_base_id="kb", integration_id="site")
            for document in DOCUMENTS
        ]
    }


def test_a_refused_item_ends_the_demo(api: HttpApi, server: DocumentedServer) -> None:
    server.refuse_items = True
    with pytest.raises(DemoFailed, match="too odd"):
        api.push(DOCUMENTS)


def test_jobs_are_listed_page_by_page(api: HttpApi, server: DocumentedServer) -> None:
    assert [job.external_id for job in api.jobs()] == ["a", "b"]
    queries = [urllib.parse.urlsplit(path).query for _, path, _, _ in server.asked]
    assert [urllib.parse.parse_qs(query) for query in queries] == [
        {"knowledgeBaseId": ["kb"], "limit": ["100"]},
        {"knowledgeBaseId": ["kb"], "limit": ["100"], "cursor": ["a&b"]},
    ]


def test_a_search_sends_query_mode_and_filters(api: HttpApi, server: DocumentedServer) -> None:
    [hit] = api.search("a trailer", {"sourceType": "PRODUCT"}, mode="text")
    assert hit.external_id == "carrier-40"
    assert hit.headings == ("Carrier 40",)
    assert hit.passages == ("Best passage.", "Second passage.")
    assert hit.source_data == {"price": 289.0}
    assert server.asked[0][3] == {
        "knowledgeBaseId": "kb",
        "query": "a trailer",
        "mode": "text",
        "filters": {"sourceType": "PRODUCT"},
    }


def test_an_answer_comes_with_the_sources_that_it_cites(
    api: HttpApi, server: DocumentedServer
) -> None:
    assert api.ask("Is it so?") == Reply("So it is. [1]", True, (("a", "A", "/a"),))
    assert server.asked[0][3] == {"knowledgeBaseId": "kb", "query": "Is it so?"}


def test_a_delete_names_the_document(api: HttpApi, server: DocumentedServer) -> None:
    assert api.delete("carrier-40") == 1
    assert server.asked[0][0::3] == (
        "DELETE",
        {"integrationId": "site", "knowledgeBaseId": "kb", "externalId": "carrier-40"},
    )


def test_metrics_are_read(api: HttpApi) -> None:
    assert api.metrics() == {"reaktly_documents_parsed_total": 3.0}


def test_an_error_answer_ends_the_demo_with_its_text(server: DocumentedServer) -> None:
    api = HttpApi(
        port=server.server_address[1], api_key="k", knowledge_base_id="kb", integration_id="site"
    )
    server.RequestHandlerClass = type(
        "Refuses",
        (DocumentedHandler,),
        {"_route": lambda *_: (403, '{"statusCode": 403, "message": "not yours"}')},
    )
    with pytest.raises(DemoFailed, match=r"POST /search answered 403: .*not yours"):
        api.search("a", {})


def test_an_absent_server_ends_the_demo() -> None:
    with DocumentedServer() as gone:
        port = gone.server_address[1]
    api = HttpApi(port=port, api_key="k", knowledge_base_id="kb", integration_id="site")
    with pytest.raises(DemoFailed, match=r"GET /metrics had no answer: .*refused"):
        api.metrics()


def test_metrics_that_differ_in_labels_are_added_up() -> None:
    exposition = """# TYPE reaktly_chunks_embedded_total counter
reaktly_chunks_embedded_total{process="1"} 3.0
reaktly_chunks_embedded_total{process="2"} 4.0
reaktly_queue_oldest_seconds NaN
reaktly_queue_documents 2.0 1700000000000
"""
    metrics = parse_metrics(exposition)
    assert metrics["reaktly_chunks_embedded_total"] == 7.0
    assert metrics["reaktly_queue_documents"] == 2.0
