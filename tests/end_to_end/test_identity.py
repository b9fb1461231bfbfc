"""Documents whose ids look alike never share anything, whatever characters the ids hold."""

import unicodedata
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.end_to_end.product import Client, Identity, Product, item

pytestmark = pytest.mark.timeout(240)

# Ids are 1 to 256 characters without control characters (and no JSON holds surrogates).
ANY_ID = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=256)
# What careless code folds, cuts, joins, escapes, matches by pattern or takes for a path.
HOSTILE_ID = st.sampled_from(
    [
        "a", "A", "a-b", "a-b-c", "b-c", "c", "-", "--", "a--b", "a:b", "integration:a", "a/b",
        "/", "a//b", ".", "..", "../a", "a/../b", "%", "_", "a%", "a_", "a*", "*", "?", "%2F",
        "a%2Fb", "a b", " a", "a ", " ", "+", "a+b", "&", "a=b", "a;b", "#", "'", '"', "\\", "a'--",
        "null", "None", "0", "00", "1", "1.0", "1e0", "true", "é", "e\u0301", "ß", "ss", "İ", "i",
        "ﬁ", "fi", "а", "Ａ", "a\u200b", "\u202ea", "a\u00ad", "\u2028", "😀", "👩\u200d💻", "[]",
        "user/guide", "guide", "user guide", "doc_a", "*" * 256, "*" * 255, "x" * 256, "😀" * 256,
    ]
)  # fmt: skip
PART = HOSTILE_ID | ANY_ID

ALTERATIONS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    str.strip,
    lambda text: text + " ",
    lambda text: text[:-1],
    lambda text: text[:255],
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
    lambda text: text.replace("/", "-"),
    lambda text: text + "-a",
]


@st.composite
def alike(draw: st.DrawFn) -> list[Identity]:
    """Two to five different documents, most of them altered versions of the first."""
    first = Identity(draw(PART), draw(PART), draw(PART))
    found = {first}
    for _ in range(draw(st.integers(1, 4))):
        base, source, external = draw(
            st.sampled_from(sorted(found, key=str)).map(
                lambda i: (i.knowledge_base_id, i.integration_id, i.external_id)
            )
        )
        change = draw(st.sampled_from(["base", "source", "external", "shift", "swap", "other"]))
        alter = draw(st.sampled_from(ALTERATIONS))
        match change:
            case "base":
                base = alter(base)
            case "source":
                source = alter(source)
            case "external":
                external = alter(external)
            case "shift":  # the same when joined
                source, external = source + "-" + external[:1], external[1:].removeprefix("-")
            case "swap":
                base, source, external = source, external, base
            case _:
                external = draw(PART)
        if all(0 < len(part) <= 256 for part in (base, source, external)):
            found.add(Identity(base, source, external))
    return sorted(found, key=str)


numbers = count()


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(documents=alike(), chosen=st.integers(0, 4))
def test_documents_whose_ids_look_alike_share_nothing(
    served: Product, documents: list[Identity], chosen: int
) -> None:
    client = served.shared_client
    words = {document: f"word{next(numbers)}" for document in documents}
    client.push(
        *(item(document, f"The password is {word}.") for document, word in words.items()),
        wait=True,
    )
    ids = {document: require_presence(client, document, words[document]) for document in documents}
    assert len(set(ids.values())) == len(documents)

    victim = documents[chosen % len(documents)]
    answer = client.ok("DELETE", "/ingest/bulk", {"items": [victim.fields]})
    assert answer["deleted"] == 1

    assert search(client, victim) == []
    assert client.call("GET", f"/documents/{ids[victim]}").status == 404
    assert client.job(victim).body["status"] == "deleted"
    others = [document for document in documents if document != victim]
    for document in others:
        assert require_presence(client, document, words[document]) == ids[document]
    answer = client.ok("DELETE", "/ingest/bulk", {"items": [other.fields for other in others]})
    assert answer["deleted"] == len(others)


def search(client: Client, document: Identity) -> list[tuple[str, str | None, str, str]]:
    """What a search finds that is filtered by a document's two ids."""
    found = client.search(
        document.knowledge_base_id,
        "what is the password",
        integrationId=document.integration_id,
        externalId=document.external_id,
    )
    return [
        (hit["documentId"], hit["integrationId"], hit["externalId"], hit["text"]) for hit in found
    ]


def require_presence(client: Client, document: Identity, word: str) -> str:
    """Search, job and fetch all know this document by its own ids and text; its documentId."""
    job = client.job(document)
    assert job.status == 200, job
    assert {name: job.body[name] for name in document.fields} == document.fields
    assert job.body["status"] == "completed"
    document_id: str = job.body["documentId"]
    text = f"The password is {word}."
    assert search(client, document) == [
        (document_id, document.integration_id, document.external_id, text)
    ]
    fetched = client.ok("GET", f"/documents/{document_id}")
    assert {name: fetched[name] for name in document.fields} == document.fields
    assert fetched["content"] == text
    return document_id
