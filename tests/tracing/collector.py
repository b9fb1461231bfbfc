"""A collector of our own: takes spans over OTLP/HTTP, and keeps them."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span with what the tests ask of it; ids in hex, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: int
    ended: int
    attributes: dict[str, Value]
    is_error: bool
    service: str


class Collector:
    """Listens on a free loopback port while it is entered."""

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._bodies: list[bytes] = []
        self._arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 (its name)
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """Keep the spans of one request."""
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            self._bodies.append(body)
            for resource in request.resource_spans:
                service = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self._spans.append(
                            ReceivedSpan(
                                span.name,
                                span.trace_id.hex(),
                                span.span_id.hex(),
                                span.parent_span_id.hex(),
                                span.start_time_unix_nano,
                                span.end_time_unix_nano,
                                {
                                    a.key: getattr(a.value, str(a.value.WhichOneof("value")))
                                    for a in span.attributes
                                },
                                span.status.code == span.status.STATUS_CODE_ERROR,
                                service["service.name"],
                            )
                        )
            self._arrived.notify_all()

    def holds(self, words: str) -> bool:
        """Whether these words came, in whatever place of whatever span."""
        with self._arrived:
            return any(words.encode() in body for body in self._bodies)

    def spans(self) -> list[ReceivedSpan]:
        """All that came so far."""
        with self._arrived:
            return list(self._spans)

    def wait_for(self, *names: str) -> dict[str, ReceivedSpan]:
        """Block until there is a span of each name; one of each."""
        with self._arrived:
            found = self._arrived.wait_for(lambda: set(names) <= {s.name for s in self._spans}, 30)
            assert found, f"of {names} only {[span.name for span in self._spans]} came"
            return {span.name: span for span in self._spans}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
