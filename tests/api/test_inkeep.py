"""Inkeep's dialect: what a client reads, and what may be sent."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import Passage, SearchHit, SearchRequest, SearchResult
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api.inkeep.conversation import BYTES_PER_TOKEN
from tests.api.inkeep_answers import (
    CHAT,
    GUIDE,
    QUESTION,
    RESPONSES,
    SHOP,
    chat,
    documents,
    events,
    hit,
)

RECORD_TYPES = [
    "documentation",
    "site",
    "discourse_post",
    "github_issue",
    "github_discussion",
    "stackoverflow_question",
    "discord_forum_post",
    "discord_message",
    "custom_question_answer",
]


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


@pytest.fixture
def hits() -> list[SearchHit]:
    """What the search finds; a test may change it."""
    return [GUIDE, SHOP]


@pytest.fixture(autouse=True)
def asked(
    knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch, hits: list[SearchHit]
) -> list[SearchRequest]:
    """What the core was asked."""
    requests: list[SearchRequest] = []

    def search(request: SearchRequest) -> SearchResult:
        requests.append(request)
        return SearchResult(tuple(hits))

    monkeypatch.setattr(knowledge_base, "search", search)
    return requests


@pytest.mark.requirement("I-03", "I-04", "I-05", "I-06", "I-08", "I-09", "I-10", "I-11")
async def test_an_answer_has_the_documented_shape(
    client: httpx.AsyncClient, asked: list[SearchRequest]
) -> None:
    answer = (await client.post(CHAT, json=chat(response_format={"type": "json_object"}))).json()

    message = answer["choices"][0]["message"]
    content = json.loads(message.pop("content"))
    assert answer.pop("id").startswith("chatcmpl-")
    assert type(answer.pop("created")) is int
    usage = answer.pop("usage")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert answer == {
        "object": "chat.completion",
        "model": "inkeep-rag",
        "choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}],
    }
    assert content == {
        "content": [
            {
                "type": "document",
                "record_type": "documentation",
                "url": "https://docs.test/guide",
                "title": "Guide",
                "source": {
                    "type": "content",
                    "content": [
                        {"type": "text", "text": "## Quick start\n\nAdd the `<script>`."},
                        {"type": "text", "text": "Then öffne the page."},
                    ],
                },
                "context": "Guide > Quick start",
            },
            {
                "type": "document",
                "record_type": "site",
                "url": "https://docs.test/shop",
                "title": "Shop",
                "source": {
                    "type": "content",
                    "content": [{"type": "text", "text": "We sell cans."}],
                },
            },
        ]
    }
    assert asked == [SearchRequest("kb", QUESTION, limit=10)]


async def test_no_hits_are_an_empty_list_of_documents(
    client: httpx.AsyncClient, hits: list[SearchHit]
) -> None:
    hits.clear()
    answer = await client.post(CHAT, json=chat())
    assert answer.json()["choices"][0]["message"]["content"] == '{"content":[]}'


@pytest.mark.parametrize("record_type", [*RECORD_TYPES, "Forum"])
@pytest.mark.requirement("I-07", "I-13", "I-14")
async def test_metadata_may_say_the_record_type(
    client: httpx.AsyncClient, hits: list[SearchHit], record_type: str
) -> None:
    hits[:] = [dataclasses.replace(GUIDE, attributes={"recordType": record_type})]
    found = documents(await client.post(CHAT, json=chat()))
    assert [document["record_type"] for document in found] == [record_type]


@pytest.mark.parametrize("declared", [7, "", " ", None, ["site"]])
@pytest.mark.requirement("I-13")
async def test_a_record_type_that_is_no_word_counts_for_nothing(
    client: httpx.AsyncClient, hits: list[SearchHit], declared: Any
) -> None:
    hits[:] = [dataclasses.replace(SHOP, attributes={"recordType": declared})]
    found = documents(await client.post(CHAT, json=chat()))
    assert found[0]["record_type"] == "site"


async def test_a_document_without_a_url_has_an_empty_one_and_no_null(
    client: httpx.AsyncClient, hits: list[SearchHit]
) -> None:
    hits[:] = [dataclasses.replace(SHOP, url=None)]
    answer = await client.post(CHAT, json=chat())
    assert documents(answer)[0]["url"] == ""
    assert "null" not in answer.text


async def test_the_token_budget_keeps_the_best_passages_and_never_an_empty_document(
    open_client: Callable[..., Any], make_key: Callable[..., str], hits: list[SearchHit]
) -> None:
    def words(tokens: int) -> str:
        return "x" * (tokens * BYTES_PER_TOKEN)

    hits[:] = [
        hit("a", Passage("a1", words(6), (), 0.9), Passage("a2", words(5), (), 0.3)),
        hit("b", Passage("b1", words(5), (), 0.8)),
        hit("c", Passage("c1", words(1), (), 0.2)),
        hit("d", Passage("d1", words(1), (), 0.1)),
    ]
    client = await open_client(make_key(), rag_tokens=12)
    found = documents(await client.post(CHAT, json=chat()))
    blocks = {one["title"]: len(one["source"]["content"]) for one in found}
    assert blocks == {"A": 1, "B": 1, "C": 1}

    client = await open_client(make_key(), rag_tokens=1)
    assert [one["title"] for one in documents(await client.post(CHAT, json=chat()))] == ["A"]


async def test_the_number_of_documents_is_a_setting(
    open_client: Callable[..., Any], make_key: Callable[..., str], asked: list[SearchRequest]
) -> None:
    client = await open_client(make_key(), rag_documents=3)
    await client.post(CHAT, json=chat())
    assert asked[0].limit == 3


@pytest.mark.parametrize(
    "response_format",
    [
        None,
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "rag", "strict": True, "schema": {}}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {}}}},
        {"type": "json_schema", "schema": {}},
        "json_object",
    ],
)
@pytest.mark.requirement("I-02")
async def test_every_response_format_gets_the_same_answer(
    client: httpx.AsyncClient, response_format: object
) -> None:
    plain = documents(await client.post(CHAT, json=chat()))
    body = chat(response_format=response_format)
    assert documents(await client.post(CHAT, json=body)) == plain


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": QUESTION, "id": "m1", "name": "ada", "parts": []}],
        [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
        [{"role": "user", "content": [QUESTION]}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                    {"type": "text", "text": QUESTION},
                ],
            }
        ],
        [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "What is this?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {}}]},
            {"role": "tool", "tool_call_id": "c", "content": "[]"},
            {"role": "assistant", "content": "A shop."},
            {"role": "user", "content": f" {QUESTION}\n"},
            {"role": "user", "content": ""},
        ],
        [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Well,"}],
    ],
)
async def test_the_last_users_message_with_text_is_the_question(
    client: httpx.AsyncClient, asked: list[SearchRequest], messages: list[dict[str, Any]]
) -> None:
    ignored = {"user": "u", "tools": [], "tool_choice": 5, "seed": 1, "temperature": None}
    body = {"model": "inkeep-rag", "messages": messages, **ignored}
    documents(await client.post(CHAT, json=body))
    assert [request.query for request in asked] == [QUESTION]


async def test_a_question_without_end_is_searched_for_by_its_beginning(
    client: httpx.AsyncClient, asked: list[SearchRequest]
) -> None:
    documents(await client.post(CHAT, json=chat("ä" * 50_000)))
    assert asked[0].query == "ä" * 10_000


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}, "model"),
        (CHAT, {"model": 5, "messages": [{"role": "user", "content": "x"}]}, "model"),
        (CHAT, {"model": "inkeep-rag"}, "messages"),
        (CHAT, chat() | {"messages": []}, "messages"),
        (CHAT, chat() | {"messages": "x"}, "messages"),
        (CHAT, chat() | {"messages": ["x"]}, "messages[0]"),
        (CHAT, chat() | {"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (CHAT, chat(" \n"), "messages"),
        (CHAT, chat(None), "messages"),
        (CHAT, chat([]), "messages"),
        (CHAT, chat(5), "messages[0].content"),
        (CHAT, chat([5]), "messages[0].content"),
        (CHAT, chat({"text": "x"}), "messages[0].content"),
        (CHAT, chat(stream="yes"), "stream"),
        (CHAT, chat(tools={}), "tools"),
        (CHAT, chat(max_tokens=0), "max_tokens"),
        (CHAT, chat("a\u0000b"), "messages[0].content"),
        (RESPONSES, {"model": "inkeep-rag"}, "input"),
        (RESPONSES, {"model": "inkeep-rag", "input": ""}, "input"),
        (RESPONSES, {"model": "inkeep-rag", "input": []}, "input"),
        (RESPONSES, {"model": "inkeep-rag", "input": 5}, "input"),
        (RESPONSES, {"input": "x"}, "model"),
    ],
)
async def test_a_wrong_field_is_a_400_in_openais_envelope_that_names_it(
    client: httpx.AsyncClient, asked: list[SearchRequest], path: str, body: object, param: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert asked == []


@pytest.mark.parametrize(
    "model", ["gpt-4o", "inkeep-ragged", "inkeep-context-expert", "Inkeep-RAG", "inkeep-rag-1"]
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_an_unknown_model_is_a_404_in_openais_envelope(
    client: httpx.AsyncClient, path: str, model: str
) -> None:
    answer = await client.post(path, json=chat(model=model, input=QUESTION))
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")


async def test_a_dated_name_of_the_model_is_the_model(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=chat(model="inkeep-rag-20250310"))
    assert len(documents(answer)) == 2
    assert answer.json()["model"] == "inkeep-rag-20250310"


class TestChoosingTheKnowledgeBase:
    async def ask(
        self, client: httpx.AsyncClient, asked: list[SearchRequest], **options: Any
    ) -> str:
        asked.clear()
        body = chat(model=options.pop("model", "inkeep-rag"))
        answer = await client.post(CHAT, json=body, **options)
        assert answer.status_code == 200, answer.text
        return asked[0].knowledge_base_id

    async def test_a_key_for_one_means_that_one(
        self,
        open_client: Callable[..., Any],
        make_key: Callable[..., str],
        asked: list[SearchRequest],
    ) -> None:
        client = await open_client(make_key("other"))
        assert await self.ask(client, asked) == "other"

    async def test_a_key_for_several_means_its_default(
        self,
        open_client: Callable[..., Any],
        make_key: Callable[..., str],
        asked: list[SearchRequest],
    ) -> None:
        for bases in (("kb", "other"), ("*",)):
            client = await open_client(make_key(*bases, default_knowledge_base="other"))
            assert await self.ask(client, asked) == "other"

    async def test_the_request_may_name_one(
        self,
        open_client: Callable[..., Any],
        make_key: Callable[..., str],
        asked: list[SearchRequest],
    ) -> None:
        named = {"x-knowledge-base": "kb"}
        for key in (make_key("*"), make_key("kb", "other", default_knowledge_base="other")):
            client = await open_client(key)
            assert await self.ask(client, asked, headers=named) == "kb"
            assert await self.ask(client, asked, model="inkeep-rag@kb") == "kb"
            assert await self.ask(client, asked, model="inkeep-rag@kb", headers=named) == "kb"

    @pytest.mark.parametrize("path", [CHAT, RESPONSES])
    async def test_without_any_it_is_a_400_that_says_how(
        self, open_client: Callable[..., Any], make_key: Callable[..., str], path: str
    ) -> None:
        for bases in (("kb", "other"), ("*",)):
            client = await open_client(make_key(*bases))
            answer = await client.post(path, json=chat(input=QUESTION))
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert error["param"] == "x-knowledge-base"
            assert "inkeep-rag@" in error["message"]

    async def test_one_out_of_reach_is_a_403(
        self, client: httpx.AsyncClient, asked: list[SearchRequest]
    ) -> None:
        for options in ({"model": "inkeep-rag@other"}, {"model": "inkeep-rag@nowhere"}):
            answer = await client.post(CHAT, json=chat(**options))
            assert answer.status_code == 403
        answer = await client.post(CHAT, json=chat(), headers={"x-knowledge-base": "other"})
        assert answer.status_code == 403
        assert asked == []

    async def test_one_that_nobody_made_is_a_404(
        self,
        open_client: Callable[..., Any],
        make_key: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.undo()  # the core itself is to answer
        client = await open_client(make_key("*"))
        answer = await client.post(CHAT, json=chat(model="inkeep-rag@nowhere"))
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "knowledge_base_not_found"


async def test_a_key_without_the_models_scope_is_a_403(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(scopes=["iq:chat"]))
    for path in (CHAT, RESPONSES):
        answer = await client.post(path, json=chat(input=QUESTION))
        assert answer.status_code == 403
        assert "iq:read" in answer.json()["error"]["message"]


@pytest.mark.requirement("I-02")
async def test_a_wrong_key_is_a_401_in_openais_envelope(open_client: Callable[..., Any]) -> None:
    client = await open_client()
    answer = await client.post(CHAT, json=chat(), headers={"authorization": "Bearer rk_live_x"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_models_are_listed_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/models")).json()
    assert answer["object"] == "list"
    assert "inkeep-rag" in {model["id"] for model in answer["data"]}
    for model in answer["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert (model["object"], type(model["created"])) == ("model", int)


async def test_a_stream_begins_with_the_role_and_ends_with_its_mark(
    client: httpx.AsyncClient,
) -> None:
    plain = (await client.post(CHAT, json=chat())).json()
    *lines, last = events(await client.post(CHAT, json=chat(stream=True)))
    chunks = [json.loads(line) for line in lines]

    assert last == "[DONE]"
    assert len({(c["id"], c["created"], c["object"], c["model"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == plain["choices"][0]["message"]["content"]
    assert not any("usage" in chunk for chunk in chunks)


async def test_a_stream_tells_its_usage_when_asked_to(client: httpx.AsyncClient) -> None:
    usage = (await client.post(CHAT, json=chat())).json()["usage"]
    body = chat(stream=True, stream_options={"include_usage": True})
    *_, told, last = events(await client.post(CHAT, json=body))
    assert last == "[DONE]"
    assert json.loads(told)["choices"] == []
    assert json.loads(told)["usage"] == usage


async def test_what_a_stream_cannot_begin_with_is_an_error_with_its_status(
    client: httpx.AsyncClient,
) -> None:
    for body in (chat(stream=True, model="gpt-4o"), chat("", stream=True)):
        answer = await client.post(CHAT, json=body)
        assert answer.status_code in {400, 404}
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "given",
    [
        QUESTION,
        [{"role": "user", "content": QUESTION}],
        [
            {"type": "message", "role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
            {"type": "item_reference", "id": "x"},
            {"type": "reasoning", "summary": []},
        ],
    ],
)
async def test_a_response_holds_the_same_documents(
    client: httpx.AsyncClient, asked: list[SearchRequest], given: object
) -> None:
    plain = documents(await client.post(CHAT, json=chat()))
    body = {"model": "inkeep-rag", "input": given, "text": {"format": {"type": "json_object"}}}
    answer = (await client.post(RESPONSES, json=body)).json()

    assert (answer["object"], answer["status"]) == ("response", "completed")
    assert answer["id"].startswith("resp_")
    (message,) = answer["output"]
    assert (message["type"], message["role"]) == ("message", "assistant")
    (part,) = message["content"]
    assert part["type"] == "output_text"
    assert json.loads(part["text"])["content"] == plain
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert [request.query for request in asked] == [QUESTION] * 2


async def test_a_streamed_response_ends_with_what_the_plain_one_is(
    client: httpx.AsyncClient,
) -> None:
    body = {"model": "inkeep-rag", "input": QUESTION}
    plain = (await client.post(RESPONSES, json=body)).json()
    told = [
        json.loads(line)
        for line in events(await client.post(RESPONSES, json=body | {"stream": True}))
    ]

    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    kinds = [event["type"] for event in told]
    deltas = [event for event in told if event["type"] == "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *("response.output_text.delta" for _ in deltas),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    text = plain["output"][0]["content"][0]["text"]
    assert "".join(event["delta"] for event in deltas) == text
    last = told[-1]["response"]
    for volatile in ("id", "created_at"):
        del plain[volatile], last[volatile]
    del plain["output"][0]["id"], last["output"][0]["id"]
    assert last == plain


async def test_a_limit_counts_for_streams_and_is_told_with_them(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(rate_limits={"createChatCompletion": "2/hour"}))
    first = await client.post(CHAT, json=chat(stream=True))
    assert first.headers["ratelimit-remaining"] == "1"
    await client.post(CHAT, json=chat())
    third = await client.post(CHAT, json=chat(stream=True))
    assert third.status_code == 429
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(third.headers["retry-after"]) > 0
