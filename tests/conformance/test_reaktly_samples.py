"""The samples of the two pages on Reaktly's ingestion, against a server as it is started."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conformance.recorder import Exchange, Recorder
from tests.conformance.samples import Samples, differences
from tests.end_to_end.product import Product

HOST = "https://api.reaktly.com"
EXAMPLE = (28, 39)
ANSWER = (40, 43)
BATCH = (46, 51)
BATCH_ANSWER = (52, 57)


@pytest.fixture
def ingestion(seeds: Path, recorder: Recorder, tmp_path: Path) -> Samples:
    """Seed 000."""
    return Samples(seeds / "000_ec37752cb89657ee.txt", recorder, tmp_path)


@pytest.fixture
def connector(seeds: Path, recorder: Recorder, tmp_path: Path) -> Samples:
    """Seed 001."""
    return Samples(seeds / "001_d6bdb8136df2eee8.txt", recorder, tmp_path)


def assert_accepted(exchange: Exchange, documented: object) -> None:
    assert exchange.status == 200, exchange
    assert not list(differences(exchange.answer, documented))


@pytest.mark.requirement("R-14")
def test_the_example_of_an_item_is_accepted(ingestion: Samples, product: Product) -> None:
    sent = ingestion.request(
        "POST",
        "/ingest",
        ingestion.json(*EXAMPLE),
        {"x-api-key": product.key, "content-type": "application/json"},
    )
    assert sent.status == 200
    assert sent.answer == ingestion.json(*ANSWER)


@pytest.mark.requirement("R-15", "R-16")
def test_the_example_of_a_batch_is_accepted(ingestion: Samples, product: Product) -> None:
    item = ingestion.text(*EXAMPLE, {"}Response:": "}"})
    # The page leaves the items to the reader.
    batch = ingestion.json(*BATCH, {"{ /* CreateIngestionDto */ }": item})
    batch["items"][1]["externalId"] = "blog-post-43"
    sent = ingestion.request(
        "POST",
        "/ingest/bulk",
        batch,
        {"x-api-key": product.key, "content-type": "application/json"},
    )
    assert_accepted(sent, ingestion.json(*BATCH_ANSWER))
    assert sent.answer["jobCount"] == 2
    assert sent.answer["jobIds"] == ["int_abc123-blog-post-42", "int_abc123-blog-post-43"]


@pytest.mark.requirement("R-17")
def test_the_javascript_program_works(
    ingestion: Samples, recorder: Recorder, product: Product
) -> None:
    program = ingestion.text(
        59,
        75,
        {HOST: recorder.address, "REAKTLY_API_KEY!": "REAKTLY_API_KEY", "});Python": "});"},
    )
    sent = ingestion.node(program, {"REAKTLY_API_KEY": product.key})
    assert_accepted(sent, ingestion.json(*ANSWER))
    assert sent.answer["jobId"] == "your-integration-id-unique-id"


@pytest.mark.requirement("R-17")
def test_the_python_program_works(ingestion: Samples, recorder: Recorder, product: Product) -> None:
    program = ingestion.text(
        76, 90, {HOST: recorder.address, "YOUR_API_KEY": product.key, ")cURL": ")"}
    )
    assert_accepted(ingestion.python(program), ingestion.json(*ANSWER))


@pytest.mark.requirement("R-18")
def test_the_curl_command_works(ingestion: Samples, recorder: Recorder, product: Product) -> None:
    command = ingestion.text(91, 103, {HOST: recorder.address, "YOUR_API_KEY": product.key})
    command = command[: command.rindex("}'") + 2]
    assert_accepted(ingestion.curl(command), ingestion.json(*ANSWER))


@pytest.mark.requirement("R-02")
def test_the_curl_command_that_shows_the_headers_gets_as_far_as_its_missing_body(
    ingestion: Samples, recorder: Recorder, product: Product
) -> None:
    command = ingestion.text(
        8, 10, {HOST: recorder.address, "YOUR_API_KEY": product.key, '"Endpoints': '"'}
    )
    refused = ingestion.curl(command)
    assert (refused.status, refused.answer["field"]) == (400, "body")
    assert ingestion.curl(command.replace(product.key, "rk_live_no")).status == 401


@pytest.mark.requirement("C-01", "C-02", "C-03", "C-05", "C-06", "C-07")
def test_the_connector_pushes_all_that_it_has(
    connector: Samples, ingestion: Samples, recorder: Recorder, product: Product
) -> None:
    program = (
        connector.text(33, 38, {HOST: recorder.address})
        + connector.text(44, 62, {"item: YourDataType": "item"})
        + connector.text(66, 80, {"items: YourDataType[]": "items"})
        # What the page leaves to the reader: a hash, and something to push.
        + "import { createHash } from 'node:crypto';\n"
        "const computeHash = (item) =>\n"
        "  createHash('sha256').update(JSON.stringify(item)).digest('hex');\n"
        "const items = ['axles', 'brakes', 'canvas'].map((slug, id) => ({\n"
        "  id, slug, title: `On ${slug}`, body: `All that we know of ${slug}.`,\n"
        "  author: 'Ada', category: slug,\n"
        "}));\n"
        "await sync(items);\n"
    )
    environment = {
        "REAKTLY_API_KEY": product.make_key("workshop", "--scope", "iq:import"),
        "REAKTLY_INTEGRATION_ID": "our-own-choice",
        "REAKTLY_KB_ID": "workshop",
    }
    sent = connector.node(program, environment)

    assert_accepted(sent, ingestion.json(*BATCH_ANSWER))
    assert sent.answer["jobCount"] == 3
    assert urlsplit(sent.path).path == "/ingest/bulk"

    client = product.shared_client
    listed = client.ok("GET", "/documents", query={"knowledgeBaseId": "workshop"})["documents"]
    assert {entry["externalId"] for entry in listed} == {f"your-source-{n}" for n in range(3)}
