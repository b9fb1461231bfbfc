"""Spans where they are asked for, and nothing at all where they are not."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from structlog.contextvars import bound_contextvars

from llamaindex_reaktly.domain import NO_ORIGIN, DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings, complete_opentelemetry_variables
from llamaindex_reaktly.tracing import (
    Interval,
    current_origin,
    is_wanted,
    record,
    server_span,
    span,
    start_tracing,
)
from tests.tracing.collector import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        yield collector


def test_a_requests_spans_lie_in_the_callers_trace(collector: Collector) -> None:
    headers = [(b"traceparent", PARENT.encode())]
    with (
        start_tracing(),
        bound_contextvars(request_id="r-1"),
        server_span("POST", headers) as answered,
    ):
        with span("submit", documents=2):
            pass
        assert answered is not None
        answered("/ingest", 200)
    spans = {one.name: one for one in collector.spans()}
    request, submit = spans["POST /ingest"], spans["submit"]
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT.split("-")[2])
    assert (submit.trace_id, submit.parent_id) == (TRACE, request.span_id)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["reaktly.request_id"] == "r-1"
    assert submit.attributes == {"reaktly.documents": 2}
    assert {one.service for one in collector.spans()} == {"reaktly"}


def test_what_was_done_later_lies_in_the_accepting_requests_trace(collector: Collector) -> None:
    with start_tracing():
        with server_span("POST", []) as answered, bound_contextvars(request_id="r-1"):
            origin = current_origin()
            assert answered is not None
            answered("/ingest", 200)
        parts = [Interval("parse", 11.0, 12.0), Interval("embed", 12.0, 14.5)]
        record(Interval("ingest", 10.0, 15.0), parts, parent=origin.traceparent, failed=True)
    spans = {one.name: one for one in collector.spans()}
    ingest = spans["ingest"]
    assert ingest.parent_id == spans["POST /ingest"].span_id
    assert (ingest.started, ingest.ended, ingest.is_error) == (10 * 10**9, 15 * 10**9, True)
    assert {spans[name].parent_id for name in ("parse", "embed")} == {ingest.span_id}
    assert spans["embed"].ended == 14_500_000_000
    assert origin.request_id == "r-1"


def test_an_error_is_noted_by_its_kind_and_not_by_its_words(collector: Collector) -> None:
    with start_tracing(), pytest.raises(ValueError, match="rash"), span("submit"):
        raise ValueError("the patient's rash")
    (one,) = collector.spans()
    assert one.is_error
    assert one.attributes == {"error.type": "ValueError"}
    assert collector.holds("ValueError")
    assert not collector.holds("rash")


def test_a_server_error_is_an_error_and_a_clients_is_none(collector: Collector) -> None:
    with start_tracing():
        for status in (404, 503):
            with server_span("GET", []) as answered:
                assert answered is not None
                answered(f"/{status}", status)
    assert {one.name: one.is_error for one in collector.spans()} == {
        "GET /404": False,
        "GET /503": True,
    }


def test_the_services_name_can_be_another(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "harbour")
    with start_tracing(), span("submit"):
        pass
    assert collector.spans()[0].service == "harbour"


def test_a_collector_that_is_away_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with start_tracing(), span("submit"):
        pass
    assert current_origin() == NO_ORIGIN


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_decide(environment: Mapping[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


def test_another_protocol_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^OTEL_EXPORTER_OTLP_PROTOCOL: .*'grpc'"):
        is_wanted({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_without_opentelemetry_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(ConfigurationError, match=r"llamaindex-reaktly\[telemetry\]"),
        start_tracing(),
    ):
        pass


def test_the_variables_may_stand_in_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=harbour\nOTEL_TRACES_SAMPLER=always_off\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "quay")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "")  # so that it is taken back at the end
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    complete_opentelemetry_variables()
    assert os.environ["OTEL_SERVICE_NAME"] == "quay"
    assert os.environ["OTEL_TRACES_SAMPLER"] == "always_off"


def test_a_document_carries_its_trace_in_its_row(collector: Collector, tmp_path: Path) -> None:
    document = SourceDocument(DocumentKey("kb", "s", "a"), SourceType.PAGE, "Title", "Text.")
    with KnowledgeBase(Settings(data_dir=tmp_path)) as knowledge_base, start_tracing():
        with server_span("POST", [(b"traceparent", PARENT.encode())]):
            knowledge_base.submit([document])
        (claim,) = knowledge_base.registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    assert claim.origin.traceparent is not None
    assert claim.origin.traceparent.split("-")[1] == TRACE


UNASKED = """
import sys
from pathlib import Path
from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from reaktly_api import create_app

with KnowledgeBase(Settings(data_dir=Path(sys.argv[1]))) as knowledge_base:
    create_app(knowledge_base)
    key = DocumentKey("kb", "s", "a")
    knowledge_base.submit([SourceDocument(key, SourceType.PAGE, "Title", "Text.")])
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_unasked_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNASKED, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
