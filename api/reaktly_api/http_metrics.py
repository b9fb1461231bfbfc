"""The Prometheus face of this process and of the core's counts."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reaktly_api.facade import Facade

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class _KnowledgeBaseCollector(Collector):
    """Reads the core's snapshot when somebody scrapes."""

    def __init__(self, knowledge_base: Facade) -> None:
        self._knowledge_base = knowledge_base

    def collect(self) -> Iterator[Metric]:
        snapshot = self._knowledge_base.metrics()
        for name, value in sorted(snapshot.counters.items()):
            yield CounterMetricFamily(
                f"reaktly_{name}", f"{name.replace('_', ' ').capitalize()} so far.", value=value
            )
        queue = GaugeMetricFamily(
            "reaktly_queue_documents", "Documents by state.", labels=["state"]
        )
        for state, count in sorted(snapshot.queue_documents.items()):
            queue.add_metric([state], count)
        yield queue
        yield GaugeMetricFamily(
            "reaktly_queue_oldest_seconds",
            "Age of the oldest document that waits to be searchable.",
            value=snapshot.queue_oldest_seconds,
        )


class HttpMetrics:
    """One registry an application: request counts and times, and the core's counts."""

    def __init__(self, knowledge_base: Facade) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "reaktly_http_requests",
            "Requests answered; status 0 is a client that left.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "reaktly_http_request_seconds",
            "Time from the request's head to the answer's end.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._core = CollectorRegistry()
        self._core.register(_KnowledgeBaseCollector(knowledge_base))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """The text exposition format. Blocks: reads the registry's database."""
        return generate_latest(self._registry) + generate_latest(self._core)
