"""Spans for OpenTelemetry where an operator asks for them; elsewhere nothing, not an import.

The standard `OTEL_` variables decide, as any program of OpenTelemetry's reads them
(opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables). A process calls
`start_tracing` once, before its first request; until then a span costs a look at one
name. Spans carry ids and counts: no content, no query, no key, no words of exceptions.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from structlog.contextvars import get_contextvars

from llamaindex_reaktly.domain import Origin
from llamaindex_reaktly.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

T = TypeVar("T")
Attribute = str | int | float | bool
Answered = Callable[[str, int], None]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# A collector that is away must not hold up the end of a process.
FLUSH_SECONDS = 1.0

_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()
# One recorder a process, as the log is: what records is chosen where a program starts.
_recorder: "_Recorder | None" = None


@dataclass(frozen=True, slots=True)
class Interval:
    """Something that is over: its name, and from when to when in seconds since the epoch."""

    name: str
    started: float
    ended: float


def span(name: str, **attributes: Attribute) -> AbstractContextManager[None]:
    """A span around a block, inside whatever span there is; it notes an error's kind."""
    return _NOTHING if _recorder is None else _recorder.span(name, attributes)


def server_span(
    method: str, headers: Iterable[tuple[bytes, bytes]]
) -> AbstractContextManager[Answered | None]:
    """The span of a request, in the caller's trace if its headers name one.

    Gives a function to call with route and status at the end, or None without tracing.
    """
    return _NOTHING if _recorder is None else _recorder.server_span(method, headers)


def in_this_trace(work: Callable[[], T]) -> Callable[[], T]:
    """`work` for another thread, whose spans are to lie inside this one's."""
    return work if _recorder is None else partial(copy_context().run, work)


def record(
    whole: Interval,
    parts: Iterable[Interval],
    *,
    parent: str | None,
    failed: bool = False,
    **attributes: Attribute,
) -> None:
    """Record a span that is over, with its parts, in the trace that `parent` names."""
    if _recorder is not None:
        _recorder.record(whole, parts, parent, failed, attributes)


def current_origin() -> Origin:
    """The request that is being served: its id as the log has it, and its trace."""
    request_id = get_contextvars().get("request_id")
    return Origin(
        request_id if isinstance(request_id, str) else None,
        None if _recorder is None else _recorder.traceparent(),
    )


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces over OTLP.

    Raises `ConfigurationError` for a protocol that is not spoken here.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    if not any(environment.get(name) for name in ENDPOINTS):
        return False
    for name in PROTOCOLS:
        if protocol := environment.get(name):
            if protocol != "http/protobuf":
                raise ConfigurationError(f"{name}: only http/protobuf is spoken, not {protocol!r}")
            break
    return True


@contextmanager
def start_tracing() -> Iterator[None]:
    """Record and export spans inside this block; what is left is sent at its end, if it can.

    Raises `ConfigurationError` when OpenTelemetry is not installed.
    """
    global _recorder
    try:
        recorder = _Recorder()
    except ImportError:
        raise ConfigurationError(
            "traces are asked for (OTEL_EXPORTER_OTLP_ENDPOINT), but OpenTelemetry is not "
            "installed: install llamaindex-reaktly[telemetry], or unset the variable"
        ) from None
    _recorder = recorder
    try:
        yield
    finally:
        _recorder = None
        recorder.close()


class _Recorder:
    """OpenTelemetry's own words for what the functions above say."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        release = version("llamaindex-reaktly")
        resource = Resource(
            {"service.name": "reaktly", "service.version": release, "process.pid": os.getpid()}
        ).merge(OTELResourceDetector().detect())
        self._provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("llamaindex_reaktly", release)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Attribute]) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            attributes=_named(attributes),
            # An exception's words may quote what it choked on.
            record_exception=False,
            set_status_on_exception=False,
        ) as current:
            try:
                yield
            except BaseException as error:
                _fail(current, type(error).__qualname__)
                raise

    @contextmanager
    def server_span(
        self, method: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> Iterator[Answered | None]:
        from opentelemetry.trace import SpanKind

        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        with self._tracer.start_as_current_span(
            method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ) as current:
            request_id = get_contextvars().get("request_id")
            if isinstance(request_id, str):
                current.set_attribute("reaktly.request_id", request_id)

            def answered(route: str, status: int) -> None:
                current.update_name(f"{method} {route}")
                current.set_attribute("http.route", route)
                current.set_attribute("http.response.status_code", status)
                if status >= 500:
                    _fail(current, str(status))

            yield answered

    def record(
        self,
        whole: Interval,
        parts: Iterable[Interval],
        parent: str | None,
        failed: bool,
        attributes: Mapping[str, Attribute],
    ) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        carrier = {} if parent is None else {"traceparent": parent}
        outer = self._tracer.start_span(
            whole.name,
            context=self._propagator.extract(carrier),
            kind=SpanKind.CONSUMER,
            attributes=_named(attributes),
            start_time=_nanoseconds(whole.started),
        )
        context = set_span_in_context(outer)
        for part in parts:
            inner = self._tracer.start_span(
                part.name, context=context, start_time=_nanoseconds(part.started)
            )
            inner.end(_nanoseconds(part.ended))
        if failed:
            _fail(outer, "failed")
        outer.end(_nanoseconds(whole.ended))

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


def _fail(span: "Span", kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", kind)


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"reaktly.{name}": value for name, value in attributes.items()}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
