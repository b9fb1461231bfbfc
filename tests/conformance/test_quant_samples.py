"""The samples of the page on Quant Search's ingestion, against a server as it is started."""

from pathlib import Path

import pytest

from tests.conformance.recorder import Exchange, Recorder
from tests.conformance.samples import Samples, differences
from tests.end_to_end.product import Product

PATH = "/organisations/acme/ai-search/sites/acme-docs/pages"
INGEST = (5, 15)
ANSWER = (24, 28)
BATCH = (42, 48)
DELETE = (53, 55)
# What is not done when the answer is due.
OURS = ["queued"]


@pytest.fixture
def page(seeds: Path, recorder: Recorder, tmp_path: Path) -> Samples:
    """Seed 002."""
    return Samples(seeds / "002_f6bb9bebb459bf2a.txt", recorder, tmp_path)


@pytest.fixture(scope="module")
def headers(product: Product) -> dict[str, str]:
    return {"authorization": f"Bearer {product.key}", "content-type": "application/json"}


def assert_processed(page: Samples, sent: Exchange, count: int) -> None:
    assert sent.status == 200, sent
    assert not list(differences(sent.answer, page.json(*ANSWER), ours=OURS))
    assert sent.answer["processed"] + sent.answer.get("queued", 0) == count
    assert (sent.answer["skipped"], sent.answer["errors"]) == (0, [])


@pytest.mark.requirement("Q-01", "Q-02", "Q-08", "Q-17")
def test_the_page_is_ingested_and_deleted(
    page: Samples, headers: dict[str, str], product: Product
) -> None:
    # The page shows the path with places for the two ids.
    template = page.text(4, 4).split()
    assert (template[0], template[1].format(orgId="acme", siteId="acme-docs")) == ("POST", PATH)
    assert_processed(page, page.request("POST", PATH, page.json(*INGEST), headers), 1)

    deleted = page.request("DELETE", PATH, page.json(*DELETE), headers)
    assert deleted.status == 200
    url = page.json(*DELETE)["url"]
    assert product.shared_client.search("acme-docs", "getting started", url=url) == []


@pytest.mark.requirement("Q-14")
def test_the_batch_is_ingested(page: Samples, headers: dict[str, str]) -> None:
    assert_processed(page, page.request("POST", PATH, page.json(*BATCH), headers), 3)
