"""`inkeep-qa-expert`: prose with citations, and the vendor's tools."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import Answer, AnswerRequest, Citation, SearchHit, Statement
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from tests.api.inkeep_answers import CHAT, GUIDE, QUESTION, RESPONSES, SHOP, chat, events


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


def cited(marker: str, hit: SearchHit, passage: int = 0) -> Citation:
    return Citation(marker, hit, hit.passages[passage], 0, 4)


NAMELESS = dataclasses.replace(SHOP, url=None)
KNOWN = Answer(
    True,
    (
        Statement("Add the script.", (cited("[1]", GUIDE),)),
        Statement("We sell cans.", (cited("[2]", NAMELESS),)),
        Statement("Then open the page.", (cited("[1]", GUIDE, 1),)),
    ),
    (GUIDE, NAMELESS),
)
PROSE = (
    "Add the script. [(1)](https://docs.test/guide) We sell cans. (2) "
    "Then open the page. [(1)](https://docs.test/guide)"
)
UNKNOWN = Answer(False, (Statement("Nobody knows."),), (SHOP,))
TOOLS = ("provideLinks", "provideRecordsConsidered", "provideAIAnnotations", "ours")
LINKS = {
    "links": [
        {
            "label": "1",
            "type": "documentation",
            "url": "https://docs.test/guide",
            "title": "Guide",
            "breadcrumbs": ["Guide", "Quick start"],
        }
    ]
}
CONSIDERED = {
    "recordsConsidered": [
        {
            "type": "documentation",
            "url": "https://docs.test/guide",
            "title": "Guide",
            "breadcrumbs": ["Guide", "Quick start"],
        },
        {"type": "site", "url": "", "title": "Shop", "breadcrumbs": []},
    ]
}


@pytest.fixture(autouse=True)
def questions(
    knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> list[AnswerRequest]:
    """What the core was asked; it knows of one question only."""
    requests: list[AnswerRequest] = []

    def answer(request: AnswerRequest) -> Answer:
        requests.append(request)
        return KNOWN if request.question == QUESTION else UNKNOWN

    monkeypatch.setattr(knowledge_base, "answer", answer)
    return requests


def ask(content: str = QUESTION, **fields: Any) -> dict[str, Any]:
    return chat(content) | {"model": "inkeep-qa-expert"} | fields


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name}} for name in names or TOOLS]


async def test_it_answers_in_prose_with_links_to_what_it_cites(
    client: httpx.AsyncClient, questions: list[AnswerRequest]
) -> None:
    (choice,) = (await client.post(CHAT, json=ask(max_tokens=99))).json()["choices"]
    assert choice["message"] == {"role": "assistant", "content": PROSE}
    assert choice["finish_reason"] == "stop"
    assert questions == [AnswerRequest("kb", QUESTION, max_tokens=99)]


async def test_it_says_that_it_does_not_know(client: httpx.AsyncClient) -> None:
    body = ask("Why?", tools=tools())
    (choice,) = (await client.post(CHAT, json=body)).json()["choices"]
    assert choice["message"]["content"] == "Nobody knows."
    calls = [call["function"] for call in choice["message"]["tool_calls"]]
    told = {call["name"]: json.loads(call["arguments"]) for call in calls}
    assert told["provideLinks"] == {"links": []}
    assert told["provideAIAnnotations"] == {"aiAnnotations": {"answerConfidence": "no_sources"}}
    (considered,) = told["provideRecordsConsidered"]["recordsConsidered"]
    assert considered["title"] == "Shop"


async def test_the_vendors_tools_are_called_when_they_are_offered(
    client: httpx.AsyncClient,
) -> None:
    (choice,) = (await client.post(CHAT, json=ask(tools=tools()))).json()["choices"]
    assert choice["message"]["content"] == PROSE
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == len(calls)
    assert [call["type"] for call in calls] == ["function"] * 3
    told = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
    assert told == [
        ("provideRecordsConsidered", CONSIDERED),
        ("provideLinks", LINKS),
        ("provideAIAnnotations", {"aiAnnotations": {"answerConfidence": "very_confident"}}),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [{"type": "function", "function": {"name": "ours"}}]},
        {
            "tools": [{"type": "function", "function": {"name": "provideLinks"}}],
            "tool_choice": "none",
        },
        {
            "tools": [{"type": "function", "function": {"name": "provideLinks"}}],
            "messages": [
                {"role": "user", "content": QUESTION},
                {"role": "assistant", "content": PROSE, "tool_calls": []},
                {"role": "tool", "tool_call_id": "x", "content": "shown"},
            ],
        },
    ],
)
async def test_nothing_is_called_that_is_not_offered_or_was_answered(
    client: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    (choice,) = (await client.post(CHAT, json=ask(**fields))).json()["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": PROSE},
        "finish_reason": "stop",
    }


async def test_a_tool_that_was_answered_earlier_is_called_for_a_new_question(
    client: httpx.AsyncClient,
) -> None:
    messages = [
        {"role": "user", "content": "What is this?"},
        {"role": "assistant", "content": "", "tool_calls": []},
        {"role": "tool", "tool_call_id": "x", "content": "shown"},
        {"role": "user", "content": QUESTION},
    ]
    body = ask(messages=messages, tools=tools("provideLinks"))
    (choice,) = (await client.post(CHAT, json=body)).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"


async def test_a_stream_tells_of_the_records_first_and_of_the_links_last(
    client: httpx.AsyncClient,
) -> None:
    body = ask(tools=tools(), stream=True)
    *lines, _ = events(await client.post(CHAT, json=body))
    choices = [json.loads(line)["choices"][0] for line in lines]
    deltas = [choice["delta"] for choice in choices]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [
        (0, "provideRecordsConsidered"),
        (1, "provideLinks"),
        (2, "provideAIAnnotations"),
    ]
    pieces = [delta["content"] for delta in deltas if "content" in delta]
    assert "".join(pieces) == PROSE
    assert len(pieces) == 1 + len(KNOWN.statements)
    assert "tool_calls" in deltas[1]
    assert choices[-1]["finish_reason"] == "tool_calls"


async def test_a_response_holds_calls_and_message_as_items(client: httpx.AsyncClient) -> None:
    tools = [{"type": "function", "name": name} for name in TOOLS]
    body = {"model": "inkeep-qa-expert", "input": QUESTION, "tools": tools}
    answer = (await client.post(RESPONSES, json=body)).json()
    told = [
        json.loads(line)
        for line in events(await client.post(RESPONSES, json=body | {"stream": True}))
    ]
    for output in (answer["output"], told[-1]["response"]["output"]):
        assert [item["type"] for item in output] == [
            "function_call",
            "message",
            "function_call",
            "function_call",
        ]
        assert output[1]["content"][0]["text"] == PROSE
        assert json.loads(output[2]["arguments"]) == LINKS
    done = [event for event in told if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in done] == [0, 1, 2, 3]
    assert [event["item"] for event in done] == told[-1]["response"]["output"]


async def test_a_tool_that_was_answered_is_not_called_again_in_a_response(
    client: httpx.AsyncClient,
) -> None:
    given = [
        {"role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "c", "name": "provideLinks", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "shown"},
    ]
    tools = [{"type": "function", "name": "provideLinks"}]
    body = {"model": "inkeep-qa-expert", "input": given, "tools": tools}
    (item,) = (await client.post(RESPONSES, json=body)).json()["output"]
    assert item["type"] == "message"


async def test_a_url_never_ends_its_link_early(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = dataclasses.replace(GUIDE, url="https://docs.test/a (b)")
    known = Answer(True, (Statement("Yes.", (cited("[1]", odd),)),), (odd,))
    monkeypatch.setattr(knowledge_base, "answer", lambda _: known)
    (choice,) = (await client.post(CHAT, json=ask())).json()["choices"]
    assert choice["message"]["content"] == "Yes. [(1)](https://docs.test/a%20%28b%29)"


@pytest.mark.parametrize("model", ["inkeep-qa-sonnet-3-5", "inkeep-qa-gpt-4.1"])
async def test_pinned_names_are_served(client: httpx.AsyncClient, model: str) -> None:
    answer = (await client.post(CHAT, json=ask(model=model))).json()
    assert answer["model"] == model
    assert answer["choices"][0]["message"]["content"] == PROSE


async def test_it_wants_the_scope_for_chat(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(scopes=["iq:read"]))
    answer = await client.post(CHAT, json=ask())
    assert answer.status_code == 403
    assert "iq:chat" in answer.json()["error"]["message"]
    listed = (await client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["inkeep-rag"]
