"""The samples of the page on Inkeep's RAG mode, against a server as it is started."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.recorder import Exchange, Recorder
from tests.conformance.samples import Samples, differences
from tests.end_to_end.product import Product

HOST = "https://api.inkeep.com"
REQUEST = (13, 24)
ANSWER = (28, 43)
CONTENT = (49, 82)
KNOWLEDGE_BASE = "inkeep"


@pytest.fixture
def page(seeds: Path, recorder: Recorder, tmp_path: Path) -> Samples:
    """Seed 003."""
    return Samples(seeds / "003_b12c0f70fcf9a185.txt", recorder, tmp_path)


@pytest.fixture(scope="module")
def key(product: Product) -> str:
    """A key for one knowledge base, as the page's request names none."""
    product.shared_client.push(
        {
            "knowledgeBaseId": KNOWLEDGE_BASE,
            "integrationId": "docs",
            "externalId": "quick-start",
            "sourceType": "ARTICLE",
            "data": {
                "title": "Quick start",
                "content": "# Quick start\n\nYou get started with the script below.\n\n"
                "## Next\n\nThen add your own settings.",
                "contentType": "text/markdown",
                "url": "https://docs.example.com/quick-start",
            },
        },
        wait=True,
    )
    return product.make_key(KNOWLEDGE_BASE)


def assert_answered(page: Samples, sent: Exchange) -> list[dict[str, Any]]:
    """The answer has the documented fields and no others but `usage`; its documents."""
    assert sent.status == 200, sent
    assert not list(differences(sent.answer, page.json(*ANSWER), ours=USAGE))
    (choice,) = sent.answer["choices"]
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    content = json.loads(choice["message"]["content"])
    # The page's table has `context` besides, which its example lacks.
    assert not list(differences(content, page.json(*CONTENT), ours=["content[].context"]))
    documents: list[dict[str, Any]] = content["content"]
    return documents


# What OpenAI's clients expect besides.
USAGE = ["usage"]


@pytest.mark.requirement("I-01", "I-02", "I-03", "I-04", "I-05")
def test_the_request_is_answered_with_the_documented_fields(page: Samples, key: str) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent = page.request("POST", "/v1/chat/completions", page.json(*REQUEST), headers)
    documents = assert_answered(page, sent)
    assert sent.answer["id"].startswith("chatcmpl-")
    assert (sent.answer["object"], sent.answer["model"]) == ("chat.completion", "inkeep-rag")
    (document,) = documents
    assert document["type"] == "document"
    assert document["url"] == "https://docs.example.com/quick-start"


@pytest.mark.requirement("I-15")
def test_the_curl_command_works(page: Samples, recorder: Recorder, key: str) -> None:
    command = page.text(131, 145, {HOST: recorder.address, "$INKEEP_API_KEY": key})
    assert assert_answered(page, page.curl(command))
