"""An acknowledged delete holds at once, whatever state the document is in.

No worker helps: it is stopped, frozen or dead while the delete is answered.
"""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.stores.sqlite import sqlite3
from tests.end_to_end.product import Client, Identity, Product, frozen, item

pytestmark = pytest.mark.timeout(150)

BASE = "garden"
NEIGHBOUR = Identity(BASE, "cms", "roses")
MODES = ("hybrid", "vector", "text")


@pytest.fixture(scope="module")
def product(
    tmp_path_factory: pytest.TempPathFactory, on_each_store: Mapping[str, str]
) -> Iterator[Product]:
    """A server without a worker. A worker that has left indexed what the tests then delete."""
    with Product(tmp_path_factory.mktemp("deletion"), **on_each_store) as product:
        product.start_server(worker=False)
        product.worker()
        client = product.client()
        client.push(
            item(NEIGHBOUR, "Prune roses in March. Lift no tubers of theirs: there are none."),
            page("completed", "zwitterdodo"),
            page("failed", "yorickmoa"),
            wait=True,
        )
        client.push(page("completed", "xylophonquagga"), wait=True)
        product.stop_worker()
        yield product


@pytest.fixture
def client(product: Product) -> Client:
    return product.client()


def identity(external_id: str) -> Identity:
    return Identity(BASE, "cms", external_id)


def page(external_id: str, word: str, paragraphs: int = 1) -> dict[str, object]:
    """A document to delete: its word stands in every field that is text."""
    text = "\n\n".join(
        f"{n}. Lift the {word} tubers after the first frost, let them dry and keep them cool."
        for n in range(paragraphs)
    )
    return item(
        identity(external_id),
        text,
        title=f"Growing {word}",
        url=f"https://example.org/{word}",
        summary=f"All about {word}",
        tags=[f"tag {word}"],
        sourceData={"author": word},
    )


def files_that_hold(product: Product, text: str) -> list[str]:
    """The files of the data directory in which a text stands, as raw bytes."""
    return [
        str(path.relative_to(product.data_dir))
        for path in sorted(product.data_dir.rglob("*"))
        # Doorbells are named pipes: there is nothing in them, and reading one waits.
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def found(client: Client, word: str, mode: str = "hybrid", **filters: object) -> list[str]:
    """External ids of what a search for the page of that word finds."""
    query = f"when to lift {word} tubers"
    return [hit["externalId"] for hit in client.search(BASE, query, mode=mode, **filters)]


def require_absence(client: Client, external_id: str, document_id: str, *words: str) -> None:
    """No search, fetch or listing shows the document."""
    for mode in MODES:
        for word in words:
            assert external_id not in found(client, word, mode)
            assert found(client, word, mode, externalId=external_id) == []
    assert client.call("GET", f"/documents/{document_id}").status == 404
    assert client.call("GET", f"/documents/{document_id}/passages").status == 404
    for path, name in (("/documents", "documents"), ("/ingest/jobs", "jobs")):
        listed = client.ok("GET", path, query={"knowledgeBaseId": BASE})[name]
        assert listed, "its neighbours are there"
        assert document_id not in [entry["documentId"] for entry in listed]
    assert client.job(identity(external_id)).body["status"] == "deleted"


def delete(client: Client, external_id: str) -> None:
    answer = client.ok("DELETE", "/ingest", identity(external_id).fields)
    assert answer == {"status": "deleted", "deleted": 1}


def test_a_queued_document_is_gone_with_its_text(product: Product, client: Client) -> None:
    client.push(page("queued", "quetzalauk"))
    document_id = client.wait_for(identity("queued"), "queued")["documentId"]
    assert files_that_hold(product, "quetzalauk")

    delete(client, "queued")

    require_absence(client, "queued", document_id, "quetzalauk")
    assert files_that_hold(product, "quetzalauk") == []


def test_a_completed_document_is_gone_with_its_text_and_that_of_older_versions(
    product: Product, client: Client
) -> None:
    document_id = client.wait_for(identity("completed"), "completed")["documentId"]
    for mode in MODES:
        assert found(client, "xylophonquagga", mode, externalId="completed") == ["completed"]
    holders = files_that_hold(product, "xylophonquagga")
    places = {"registry", "index"} if product.keeps_the_index else {"registry"}
    assert {name.partition("/")[0].partition(".")[0] for name in holders} == places

    delete(client, "completed")

    require_absence(client, "completed", document_id, "xylophonquagga", "zwitterdodo")
    for word in ("xylophonquagga", "zwitterdodo"):
        assert files_that_hold(product, word) == []
    for mode in MODES:
        assert "roses" in found(client, "pruned roses and their", mode)


def test_a_failed_document_is_gone_with_its_text_and_that_of_the_version_still_shown(
    product: Product, client: Client
) -> None:
    client.push(page("failed", "woodwallwombat"))
    refuse_what_is_queued(product)
    document_id = client.wait_for(identity("failed"), "failed")["documentId"]
    assert found(client, "yorickmoa", externalId="failed") == ["failed"], "the older version"
    assert files_that_hold(product, "woodwallwombat")

    delete(client, "failed")

    require_absence(client, "failed", document_id, "woodwallwombat", "yorickmoa")
    for word in ("woodwallwombat", "yorickmoa"):
        assert files_that_hold(product, word) == []


def refuse_what_is_queued(product: Product) -> None:
    """Do what a worker does with content that it can't process."""
    registry = Registry(f"sqlite:///{product.data_dir / 'registry.sqlite'}")
    try:
        claims = registry.queue.claim(limit=10, characters=10**6, lease_seconds=60)
        registry.queue.settle([Verdict(claim, error="unreadable") for claim in claims], {})
        statuses = registry.documents.statuses([claim.document_id for claim in claims])
        assert [status.state for status in statuses] == [DocumentState.FAILED]
    finally:
        registry.close()


@contextmanager
def frozen_at_rest(product: Product, worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """Freeze a worker where it holds no snapshot of the registry.

    A stopped process cannot let one go, and nobody can truncate a log that it may still
    read: what is tested is a worker that is busy, not one that is stopped in mid-statement.
    """
    while True:
        with frozen(worker):
            registry = sqlite3.connect(product.data_dir / "registry.sqlite", timeout=0)
            try:
                (busy, _, _) = registry.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                registry.close()
            if not busy:
                yield
                return


@pytest.mark.parametrize(("fate", "word"), [("frozen", "velvetibis"), ("killed", "umbraloris")])
def test_a_document_in_the_making_is_gone_and_does_not_come_back(
    product: Product, client: Client, fate: str, word: str
) -> None:
    worker = product.worker()
    client.push(item(NEIGHBOUR, f"Roses do not mind that a worker is {fate}."), wait=True)
    parsed = client.counter("reaktly_documents_parsed_total")
    client.push(page(fate, word, paragraphs=400))
    # It is being embedded from then on, which takes seconds, and holds no lock meanwhile.
    while client.counter("reaktly_documents_parsed_total") == parsed:
        pass
    document_id = client.wait_for(identity(fate), "processing")["documentId"]
    with frozen_at_rest(product, worker):
        assert client.job(identity(fate)).body["status"] == "processing"
        assert files_that_hold(product, word)

        delete(client, fate)

        require_absence(client, fate, document_id, word)
        assert files_that_hold(product, word) == []
        if fate == "killed":
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            product.worker()
    # What was under way has been settled when a later document is done.
    client.push(item(identity(f"after {fate}"), "Plant tulips in autumn."), wait=True)

    require_absence(client, fate, document_id, word)
    assert files_that_hold(product, word) == []
