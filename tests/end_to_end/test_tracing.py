"""One document's trace, from the request that brought it to its being searchable."""

from pathlib import Path

import pytest

from tests.end_to_end.product import Identity, Product, item
from tests.tracing.collector import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
KEY = Identity("kb", "int", "bowline")


def test_a_trace_leads_from_the_callers_request_through_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with Product(tmp_path) as product:
            product.start_server()
            client = product.client()
            client.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
            client.headers["x-request-id"] = "r-1"
            client.push(item(KEY, "Tie a bowline with a rabbit and a hole."), wait=True)
            accepted = collector.wait_for("POST /ingest/bulk", "submit", "ingest")
            del client.headers["traceparent"]
            assert client.search("kb", "How do I tie a bowline?")
            found = collector.wait_for(
                *("POST /search", "search", "search.embed", "search.store"),
                *("search.rank", "search.visibility"),
            )
            stages = collector.wait_for("claim", "parse", "embed", "settle")
    request, ingest = accepted["POST /ingest/bulk"], accepted["ingest"]
    assert request.trace_id == TRACE
    assert (accepted["submit"].parent_id, ingest.trace_id) == (request.span_id, TRACE)
    assert ingest.attributes["reaktly.request_id"] == "r-1"
    assert {stages[name].parent_id for name in ("claim", "parse", "embed", "settle")} == {
        ingest.span_id
    }
    search = found["search"]
    assert search.trace_id != TRACE
    assert search.parent_id == found["POST /search"].span_id
    for name in ("search.embed", "search.store", "search.rank", "search.visibility"):
        assert found[name].trace_id == search.trace_id
    for words in ("rabbit", "How do I", "rk_live_", "/ready"):
        assert not collector.holds(words)
