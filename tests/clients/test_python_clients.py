"""Clients of OpenAI's endpoints in Python, as they come: a base URL and a key, nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import SecretStr

from tests.clients.conftest import QUESTION, Endpoint
from tests.clients.rag_schema import Rag

RAG, EXPERT = "inkeep-rag", "inkeep-qa-expert"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
PROVIDE_LINKS: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "provideLinks",
        "parameters": {"type": "object", "properties": {"links": {"type": "array"}}},
    },
}


def check(rag: Rag | None) -> None:
    """What each client must end up with, whatever the way."""
    assert rag is not None
    assert [document.title for document in rag.content] == ["Espresso machine", "Tents"]
    guide = rag.content[0]
    assert guide.url == "https://docs.test/espresso"
    assert guide.record_type == "documentation"
    assert guide.context == "Espresso machine > Setting up"
    assert "Fill the tank" in guide.source.content[0].text


def parsed(text: str | None) -> Rag:
    assert text is not None
    return Rag.model_validate_json(text)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[OpenAI]:
    with OpenAI(base_url=endpoint.base_url, api_key=endpoint.key, max_retries=0) as client:
        yield client


class TestOpenAI:
    def test_it_reads_an_answer_in_each_response_format(self, client: OpenAI) -> None:
        formats: list[Any] = [
            openai.omit,
            {"type": "text"},
            {"type": "json_object"},
            {
                "type": "json_schema",
                "json_schema": {"name": "rag", "schema": Rag.model_json_schema(), "strict": True},
            },
        ]
        for response_format in formats:
            completion = client.chat.completions.create(
                model=RAG, messages=MESSAGES, response_format=response_format
            )
            check(parsed(completion.choices[0].message.content))
            assert completion.usage is not None
            assert completion.usage.total_tokens > 0

    def test_it_parses_an_answer_into_a_model(self, client: OpenAI) -> None:
        completion = client.chat.completions.parse(
            model=RAG, messages=MESSAGES, response_format=Rag
        )
        check(completion.choices[0].message.parsed)

    def test_it_reads_a_stream(self, client: OpenAI) -> None:
        chunks = client.chat.completions.create(model=RAG, messages=MESSAGES, stream=True)
        pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        assert len(pieces) > 3
        check(parsed("".join(pieces)))

    def test_its_stream_helper_parses_too(self, client: OpenAI) -> None:
        with client.chat.completions.stream(
            model=RAG,
            messages=MESSAGES,
            response_format=Rag,
            stream_options={"include_usage": True},
        ) as stream:
            completion = stream.get_final_completion()
        check(completion.choices[0].message.parsed)
        assert completion.usage is not None

    def test_it_reads_responses_plain_parsed_and_streamed(self, client: OpenAI) -> None:
        check(parsed(client.responses.create(model=RAG, input=QUESTION).output_text))
        check(client.responses.parse(model=RAG, input=QUESTION, text_format=Rag).output_parsed)
        with client.responses.stream(model=RAG, input=QUESTION, text_format=Rag) as stream:
            kinds = [event.type for event in stream]
            check(stream.get_final_response().output_parsed)
        assert kinds.count("response.output_text.delta") > 3

    def test_it_is_told_the_links_of_an_answer(self, client: OpenAI) -> None:
        (choice,) = client.chat.completions.create(
            model=EXPERT, messages=MESSAGES, tools=[PROVIDE_LINKS], tool_choice="auto"
        ).choices
        assert choice.message.content is not None
        assert "Fill the tank" in choice.message.content
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        (link,) = json.loads(call.function.arguments)["links"]
        assert (link["label"], link["url"]) == ("1", "https://docs.test/espresso")

    def test_its_stream_helper_puts_tool_calls_together(self, client: OpenAI) -> None:
        with client.chat.completions.stream(
            model=EXPERT, messages=MESSAGES, tools=[PROVIDE_LINKS]
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        assert "Fill the tank" in (message.content or "")
        assert message.tool_calls is not None
        assert json.loads(message.tool_calls[0].function.arguments)["links"]

    def test_a_response_holds_the_links_as_a_call(self, client: OpenAI) -> None:
        tool: Any = {"type": "function", "name": "provideLinks", "parameters": {}, "strict": False}
        with client.responses.stream(model=EXPERT, input=QUESTION, tools=[tool]) as stream:
            response = stream.get_final_response()
        assert "Fill the tank" in response.output_text
        (call,) = [item for item in response.output if item.type == "function_call"]
        assert json.loads(call.arguments)["links"]

    def test_it_lists_models(self, client: OpenAI) -> None:
        assert {RAG, EXPERT} <= {model.id for model in client.models.list()}

    def test_it_raises_its_own_errors(self, client: OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as wrong:
            client.chat.completions.create(model=RAG, messages=[])
        assert wrong.value.param == "messages"
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model=f"{RAG}@elsewhere", messages=MESSAGES)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="rk_live_wrong").models.list()


async def test_openais_async_client_reads_all_of_it(endpoint: Endpoint) -> None:
    async with AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.key) as client:
        completion = await client.chat.completions.create(
            model=RAG, messages=MESSAGES, response_format={"type": "json_object"}
        )
        check(parsed(completion.choices[0].message.content))
        chosen = await client.chat.completions.parse(
            model=RAG, messages=MESSAGES, response_format=Rag
        )
        check(chosen.choices[0].message.parsed)
        chunks = await client.chat.completions.create(model=RAG, messages=MESSAGES, stream=True)
        pieces = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
        check(parsed("".join(pieces)))
        check(
            (await client.responses.parse(model=RAG, input=QUESTION, text_format=Rag)).output_parsed
        )


class TestLangChain:
    def chat(self, endpoint: Endpoint, model: str = RAG, **options: Any) -> ChatOpenAI:
        return ChatOpenAI(
            model=model, base_url=endpoint.base_url, api_key=SecretStr(endpoint.key), **options
        )

    @pytest.mark.parametrize("use_responses_api", [False, True])
    async def test_it_reads_answers_plain_and_streamed(
        self, endpoint: Endpoint, use_responses_api: bool
    ) -> None:
        chat = self.chat(endpoint, use_responses_api=use_responses_api)
        check(parsed(chat.invoke(QUESTION).text))
        check(parsed((await chat.ainvoke(QUESTION)).text))
        check(parsed("".join(chunk.text for chunk in chat.stream(QUESTION))))
        check(parsed("".join([chunk.text async for chunk in chat.astream(QUESTION)])))

    @pytest.mark.parametrize("method", ["json_schema", "json_mode"])
    def test_it_gives_structured_output(self, endpoint: Endpoint, method: Any) -> None:
        structured = self.chat(endpoint).with_structured_output(Rag, method=method)
        found = structured.invoke(QUESTION)
        assert isinstance(found, Rag)
        check(found)

    def test_it_is_told_the_links_of_an_answer(self, endpoint: Endpoint) -> None:
        answer = self.chat(endpoint, EXPERT).bind_tools([dict(PROVIDE_LINKS)]).invoke(QUESTION)
        assert "Fill the tank" in answer.text
        assert answer.tool_calls[0]["args"]["links"]


async def test_llamaindexs_openai_like_reads_answers_plain_and_streamed(
    endpoint: Endpoint,
) -> None:
    llm = OpenAILike(
        model=RAG, api_base=endpoint.base_url, api_key=endpoint.key, is_chat_model=True
    )
    messages = [ChatMessage(role="user", content=QUESTION)]
    check(parsed(llm.complete(QUESTION).text))
    check(parsed(llm.chat(messages).message.content))
    check(parsed("".join(part.delta or "" for part in llm.stream_chat(messages))))
    check(parsed((await llm.achat(messages)).message.content))
    stream = await llm.astream_chat(messages)
    check(parsed("".join([part.delta or "" async for part in stream])))
