import json

import pytest

from benchmarks.bad_bodies import ingest_body, search_body

GOOD = b'{"id": "a", "url": "/a", "title": "A", "content": "text", "metadata": {"lang": "en"}}'


def test_a_good_body_becomes_an_item_of_ours() -> None:
    assert json.loads(ingest_body(GOOD, "kb")) == {
        "integrationId": "bad",
        "knowledgeBaseId": "kb",
        "sourceType": "PAGE",
        "externalId": "a",
        "data": {"url": "/a", "title": "A", "content": "text", "sourceData": {"lang": "en"}},
    }


def test_a_search_keeps_what_has_no_other_name() -> None:
    body = search_body(b'{"query": "q", "top_k": -1, "filter": {"a": [1]}, "mode": 3}', "kb")
    assert json.loads(body) == {
        "knowledgeBaseId": "kb",
        "query": "q",
        "limit": -1,
        "filters": {"a": [1]},
        "mode": 3,
    }


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"id": "a\xff", "content": "b"}', b'"externalId": "a\xff"'),
        (b'{"id": "a\\u0000\\ud800"}', b'"externalId": "a\\u0000\\ud800"'),
        (b'{"id": "a\x01b"}', b'"externalId": "a\x01b"'),
        (b'{"id": "a", "id": "b"}', b'"externalId": "a", "externalId": "b"'),
        (b'{"content": ' + b"[" * 5000 + b"]" * 5000 + b"}", b"[" * 5000 + b"]" * 5000),
        (b"\xef\xbb\xbf" + GOOD, b"\xef\xbb\xbf{"),
        (GOOD + b"\n" + GOOD, b"}\n{"),
        ("\ufeff{}".encode("utf-16-le"), b"\xff\xfe{\0"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_wrong_with_a_body_stays_wrong(body: bytes, kept: bytes) -> None:
    assert kept in ingest_body(body, "kb")


@pytest.mark.parametrize("body", [b"", b'"abc"', b"[[[[", b'{"id": "a"', b'{"id" "a"}', b"{,}"])
def test_what_is_no_object_is_left_alone(body: bytes) -> None:
    assert ingest_body(body, "kb") == body
