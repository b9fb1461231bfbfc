"""The Prometheus face of this process and of the core's counts.

docs/how-to/monitor.md says what each is for; a test compares that page with what is
served.
"""

import math
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.measurements import Distribution
from reaktly_api.facade import Facade, Snapshot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# Counters of the registry: all that workers and servers did since it was made.
_COUNTERS = {
    "documents_claimed": "Documents that workers took up.",
    "documents_claimed_again": "Documents taken up again because their worker fell silent.",
    "documents_parsed": "Documents cleaned and cut.",
    "documents_extracted": "Documents whose missing title, summary or tags were looked for.",
    "documents_indexed": "Documents that became searchable.",
    "documents_failed": "Documents that failed.",
    "documents_released": "Documents given back untried: an outage, or a worker that was stopped.",
    "documents_superseded": "Documents that had a newer version, or were deleted, when done.",
    "chunks_embedded": "Chunks embedded.",
    "busy_milliseconds": "Milliseconds that workers spent on documents.",
    "store_errors": "Writes that the store refused.",
    "ingestion_pauses": "Times that a worker paused because store, model or registry was away.",
    "worker_starts": "Worker processes started by servers.",
    "worker_deaths": "Worker processes that died by themselves.",
    "workers_given_up": "Workers that servers start no more because each died too often.",
}
_GAUGES = {
    "disk_free_bytes": "Free space where the data directory is.",
    "disk_reserve_bytes": "Below so much free space, nothing is accepted.",
    "ingestion_paused_seconds": "How long the longest paused worker has been; 0 when none is.",
    "embedders_loaded": "Models in this process's memory.",
    "open_knowledge_bases": "Indexes that this process has open.",
}


class _KnowledgeBaseCollector(Collector):
    """Reads the core's snapshot when somebody scrapes."""

    def __init__(self, knowledge_base: Facade) -> None:
        self._knowledge_base = knowledge_base

    def collect(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "reaktly_ready", "1 for each part that works, 0 for one that is away.", labels=["part"]
        )
        for part, state in sorted(self._knowledge_base.readiness().items()):
            ready.add_metric([part], float(state == "ok"))
        yield ready
        try:
            snapshot = self._knowledge_base.metrics()
        except ReaktlyError:
            return  # `reaktly_ready` tells; what this process knows itself is served still
        yield from _counters(snapshot)
        yield from _queue(snapshot)
        workers = GaugeMetricFamily(
            "reaktly_workers", "Workers, of all machines, by how they are.", labels=["state"]
        )
        for state, count in snapshot.workers.items():
            workers.add_metric([state], count)
        yield workers
        for name, value in snapshot.gauges.items():
            yield GaugeMetricFamily(f"reaktly_{name}", _GAUGES[name], value=value)
        stages = HistogramMetricFamily(
            "reaktly_ingestion_stage_seconds",
            "Time of a document in each stage; `all` is from acceptance to searchable.",
            labels=["stage"],
        )
        for stage, times in sorted(snapshot.stage_seconds.items()):
            stages.add_metric([stage], _buckets(times), times.total)
        yield stages
        yield HistogramMetricFamily(
            "reaktly_accept_seconds",
            "Time to make the documents of one request durable.",
            buckets=_buckets(snapshot.accept_seconds),
            sum_value=snapshot.accept_seconds.total,
        )
        yield HistogramMetricFamily(
            "reaktly_registry_commit_writes",
            "Writes that shared one durable commit of this process.",
            buckets=_buckets(snapshot.commit_sizes),
            sum_value=snapshot.commit_sizes.total,
        )


def _counters(snapshot: Snapshot) -> Iterator[Metric]:
    for name in sorted({*_COUNTERS, *snapshot.counters}):
        meaning = _COUNTERS.get(name, f"{name.replace('_', ' ').capitalize()} so far.")
        value = snapshot.counters.get(name, 0)
        yield CounterMetricFamily(f"reaktly_{name}", meaning, value=value)


def _queue(snapshot: Snapshot) -> Iterator[Metric]:
    documents = GaugeMetricFamily(
        "reaktly_queue_documents", "Documents by state.", labels=["state"]
    )
    for state, count in sorted(snapshot.queue_documents.items()):
        documents.add_metric([state], count)
    yield documents
    yield GaugeMetricFamily(
        "reaktly_queue_oldest_seconds",
        "Age of the oldest document that waits to be searchable.",
        value=snapshot.queue_oldest_seconds,
    )
    ages = GaugeMetricFamily(
        "reaktly_queue_state_oldest_seconds",
        "How long ago the oldest document in a state was queued; 0 when none is in it.",
        labels=["state"],
    )
    for state, seconds in sorted(snapshot.state_oldest_seconds.items()):
        ages.add_metric([state], seconds)
    yield ages


def _buckets(values: Distribution) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == math.inf else str(bound), float(count))
        for bound, count in values.cumulative()
    ]


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
        self._uncounted = Counter(
            "reaktly_rate_limits_uncounted_requests",
            "Requests that passed uncounted, whatever their limit, because Redis was away.",
            registry=self._registry,
        )
        # To find a series by its labels costs several times what it takes to count.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self._registry)
        self._core = CollectorRegistry()
        self._core.register(_KnowledgeBaseCollector(knowledge_base))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        series = self._series.get((method, route, status))
        if series is None:
            series = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._series[method, route, status] = series
        count, times = series
        count.inc()
        times.observe(seconds)

    def observe_uncounted(self) -> None:
        """Count a request that no rate limit could count."""
        self._uncounted.inc()

    def render(self) -> bytes:
        """The text exposition format. Blocks: reads the registry's database."""
        return generate_latest(self._registry) + generate_latest(self._core)
