"""What `/metrics` serves, and that docs/how-to/monitor.md says the same."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.measurements import distribution
from llamaindex_reaktly.registry.claims import Verdict

Item = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"


async def families(client: httpx.AsyncClient) -> dict[str, Metric]:
    text = (await client.get("/metrics")).text
    return {family.name: family for family in text_string_to_metric_families(text)}


async def value(client: httpx.AsyncClient, sample: str, **labels: str) -> float:
    (found,) = (
        one.value
        for family in (await families(client)).values()
        for one in family.samples
        if one.name == sample and one.labels == labels
    )
    return found


async def test_documents_are_counted_in_every_state_with_the_age_of_the_oldest(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Item
) -> None:
    await client.post("/ingest", json=item)
    await client.post("/ingest", json={**item, "externalId": "b"})
    queue = knowledge_base.registry.queue
    (claim,) = queue.claim(limit=1, characters=1, lease_seconds=60)
    queue.settle([Verdict(claim, error="bad")], {"documents_failed": 1})
    assert await value(client, "reaktly_queue_documents", state="queued") == 1
    assert await value(client, "reaktly_queue_documents", state="failed") == 1
    assert await value(client, "reaktly_queue_documents", state="completed") == 0
    assert await value(client, "reaktly_queue_oldest_seconds") > 0
    assert await value(client, "reaktly_queue_state_oldest_seconds", state="failed") > 0
    assert await value(client, "reaktly_queue_state_oldest_seconds", state="processing") == 0
    assert await value(client, "reaktly_documents_failed_total") == 1


async def test_workers_are_counted_by_how_they_are(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    workers = knowledge_base.registry.workers
    workers.beat("running", silence_seconds=60)
    workers.beat("paused", silence_seconds=60, pause_reason="the store is away")
    workers.beat("silent", silence_seconds=-1)
    for state in ("running", "paused", "silent"):
        assert await value(client, "reaktly_workers", state=state) == 1
    assert await value(client, "reaktly_ingestion_paused_seconds") >= 0


async def test_a_commit_counts_the_writes_that_it_took_with_it(
    client: httpx.AsyncClient, item: Item
) -> None:
    before = await value(client, "reaktly_registry_commit_writes_count")
    await client.post("/ingest", json=item)
    assert await value(client, "reaktly_registry_commit_writes_count") == before + 1
    assert await value(client, "reaktly_registry_commit_writes_bucket", le="1") >= 1


async def test_an_accept_is_timed_without_what_follows_it(
    client: httpx.AsyncClient, item: Item
) -> None:
    assert await value(client, "reaktly_accept_seconds_count") == 0
    await client.post("/ingest/bulk", json={"items": [item, {**item, "externalId": "b"}]})
    await client.post("/ingest/bulk", json={"items": []})
    assert await value(client, "reaktly_accept_seconds_count") == 1
    assert await value(client, "reaktly_accept_seconds_sum") > 0


async def test_the_stages_of_ingestion_are_a_histogram_each(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    knowledge_base.registry.queue.count({"stage|embed|0.5": 2, "stage|embed|ms": 700})
    name = "reaktly_ingestion_stage_seconds"
    assert await value(client, f"{name}_bucket", stage="embed", le="0.25") == 0
    assert await value(client, f"{name}_bucket", stage="embed", le="1.0") == 2
    assert await value(client, f"{name}_sum", stage="embed") == 0.7
    assert not [name for name in await families(client) if "|" in name]


async def test_a_scrape_without_a_registry_still_tells_what_the_process_knows(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise Unavailable("the registry cannot be reached at the moment")

    monkeypatch.setattr(knowledge_base.registry.queue, "counters", away)
    await client.get("/nowhere")
    assert await value(client, "reaktly_ready", part="registry") == 0
    assert await value(client, "reaktly_ready", part="disk") == 1
    assert "reaktly_http_requests" in await families(client)


def test_a_distribution_is_cumulative_by_its_bounds() -> None:
    sizes = distribution({1: 3, 5: 2, 200: 1}, (1, 4, 8, math.inf))
    assert sizes.cumulative() == [(1, 3), (4, 3), (8, 5), (math.inf, 6)]
    assert sizes.total == 213


def documented() -> dict[str, set[str]]:
    """Metric name → labels, from the page's table."""
    rows = re.findall(
        r"^\| `(reaktly_\w+)(?:\{([\w, ]+)\})?` \|", PAGE.read_text("utf-8"), re.MULTILINE
    )
    return {name: {one.strip() for one in labels.split(",") if one} for name, labels in rows}


def labels_of(samples: Sequence[Any]) -> set[str]:
    return {label for sample in samples for label in sample.labels} - {"le"}


async def test_the_page_lists_what_is_served_and_nothing_else(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Item
) -> None:
    await client.post("/ingest", json=item)
    knowledge_base.registry.queue.count({"stage|embed|0.5": 1, "stage|embed|ms": 1})
    served = {
        f"{name}_total" if family.type == "counter" else name: labels_of(family.samples)
        for name, family in (await families(client)).items()
        if not name.endswith("_created")
    }
    process = {name for name in served if name.startswith("process_")}
    assert {"process_resident_memory_bytes", "process_open_fds"} <= process
    for name in process:
        del served[name]
    assert documented() == served
