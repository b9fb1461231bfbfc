"""The samples of the page on AI SmartTalk's API, against a server as it is started."""

from pathlib import Path

import pytest

from tests.conformance.recorder import Exchange, Recorder
from tests.conformance.samples import Samples, differences, indented
from tests.end_to_end.product import Client, Product

HOST = "https://api.aismarttalk.tech"
IMPORT = (64, 77)
IMPORT_ANSWER = (91, 101)
QUERY = (129, 136)
QUERY_ANSWER = (140, 150)
SEARCH = (162, 166)
SEARCH_ANSWER = (170, 180)
ERROR = (327, 333)

MODEL = "your-chat-model-id"
KNOWN = [
    {
        "title": "Security Guide",
        "content": "To reset your password, open the settings and choose Change password. "
        "A mail confirms it.",
        "url": "https://docs.example.com/security",
    },
    {
        "title": "Security Best Practices",
        "content": "Password security begins with length. Never use a password twice.",
        "url": None,
    },
]


@pytest.fixture
def page(seeds: Path, recorder: Recorder, tmp_path: Path) -> Samples:
    """Seed 004."""
    return Samples(seeds / "004_60b1ac898dc72c6f.txt", recorder, tmp_path)


@pytest.fixture(scope="module")
def headers(product: Product) -> dict[str, str]:
    return {"authorization": f"Bearer {product.key}", "content-type": "application/json"}


@pytest.fixture(scope="module")
def known(product: Product) -> list[str]:
    """Ids of documents that are indexed."""
    client: Client = product.shared_client
    imported = client.ok("POST", "/v1/documents/import", {"chatModelId": MODEL, "documents": KNOWN})
    ids = [document["id"] for document in imported["documents"]]
    client.wait_until_completed(*ids)
    return ids


def assert_imported(page: Samples, sent: Exchange, title: str) -> None:
    assert sent.status == 200, sent
    assert not list(differences(sent.answer, page.json(*IMPORT_ANSWER)))
    assert sent.answer["imported"] == 1
    (document,) = sent.answer["documents"]
    assert (document["title"], document["status"]) == (title, "processing")


@pytest.mark.requirement("S-01", "S-05", "S-06", "S-07", "S-09", "S-13")
def test_the_import_is_accepted(page: Samples, headers: dict[str, str]) -> None:
    sent = page.request("POST", "/v1/documents/import", page.json(*IMPORT), headers)
    assert_imported(page, sent, "Product Documentation")


@pytest.mark.requirement("S-14")
def test_the_curl_command_works(page: Samples, recorder: Recorder, product: Product) -> None:
    command = page.text(105, 117, {HOST: recorder.address, "YOUR_API_TOKEN": product.key})
    assert_imported(page, page.curl(command), "Getting Started Guide")


@pytest.mark.requirement("S-15", "S-16")
def test_the_query_is_answered_with_its_sources(
    page: Samples, headers: dict[str, str], known: list[str]
) -> None:
    sent = page.request("POST", "/v1/chat/query", page.json(*QUERY), headers)
    assert sent.status == 200
    assert not list(differences(sent.answer, page.json(*QUERY_ANSWER)))
    assert "Change password" in sent.answer["response"]
    first = sent.answer["sources"][0]
    assert (first["documentId"], first["title"]) == (known[0], "Security Guide")
    assert 0 < first["relevance"] <= 1


@pytest.mark.requirement("S-11", "S-17", "S-18", "S-35")
def test_the_search_finds_documents(
    page: Samples, headers: dict[str, str], known: list[str]
) -> None:
    sent = page.request("POST", "/v1/documents/search", page.json(*SEARCH), headers)
    assert sent.status == 200
    assert not list(differences(sent.answer, page.json(*SEARCH_ANSWER)))
    found = {document["id"]: document for document in sent.answer["documents"]}
    assert set(known) <= set(found)
    assert found[known[1]]["title"] == "Security Best Practices"
    assert "begins with length" in found[known[1]]["content"]


@pytest.mark.requirement("S-19")
def test_the_python_program_works(page: Samples, recorder: Recorder, product: Product) -> None:
    # The page lost the indentation of its function.
    program = indented(page.text(186, 215, {HOST: recorder.address, "your-api-token": product.key}))
    assert_imported(page, page.python(program), "FAQ: Shipping")


@pytest.mark.requirement("S-20")
def test_the_javascript_program_works(page: Samples, recorder: Recorder, product: Product) -> None:
    program = page.text(219, 246, {HOST: recorder.address, "your-api-token": product.key})
    assert_imported(page, page.node(program), "FAQ: Returns")


@pytest.mark.requirement("S-21")
def test_the_php_program_works(page: Samples, recorder: Recorder, product: Product) -> None:
    program = page.text(250, 277, {HOST: recorder.address, "your-api-token": product.key})
    assert_imported(page, page.php(program), "Product Specifications")


@pytest.mark.requirement("S-26", "S-27")
def test_a_wrong_token_is_refused_as_the_page_shows(page: Samples) -> None:
    headers = {"authorization": "Bearer rk_live_no", "content-type": "application/json"}
    refused = page.request("POST", "/v1/documents/import", page.json(*IMPORT), headers)
    documented = page.json(*ERROR)
    assert refused.status == 401
    assert not list(differences(refused.answer, documented))
    assert refused.answer["success"] is False
    assert refused.answer["error"]["code"] == documented["error"]["code"]


@pytest.mark.requirement("S-34")
def test_a_body_of_another_type_is_refused_in_words(page: Samples, headers: dict[str, str]) -> None:
    another = headers | {"content-type": "application/x-www-form-urlencoded"}
    refused = page.request("POST", "/v1/documents/import", page.json(*IMPORT), another)
    assert refused.status == 415
    assert not list(differences(refused.answer, page.json(*ERROR)))
    assert "application/json" in refused.answer["error"]["message"]
