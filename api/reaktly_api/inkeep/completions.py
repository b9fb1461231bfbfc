"""`POST /v1/chat/completions`: OpenAI's chat completions, plain and streamed."""

import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from reaktly_api.inkeep import models
from reaktly_api.inkeep.conversation import Prompt, Said, ToolCall
from reaktly_api.inkeep.requests import ChatCompletionBody
from reaktly_api.operations import Call, Example, Operation, Stream, dump

FinishReason = Literal["stop", "tool_calls"]


class CalledFunction(TypedDict):
    """The function to call; `arguments` is a JSON object as text."""

    name: str
    arguments: str


class CalledTool(TypedDict):
    """A call that the client is asked to make."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(TypedDict):
    """What the model says; of `inkeep-rag`, JSON as text: `{"content": [document, ...]}`."""

    role: Literal["assistant"]
    content: str
    tool_calls: NotRequired[list[CalledTool]]


class Choice(TypedDict):
    """The one answer."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason


class Usage(TypedDict):
    """Estimates, four bytes of UTF-8 a token."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(TypedDict):
    """An answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


def complete(call: Call) -> Mapping[str, object] | Stream:
    """`POST /v1/chat/completions`."""
    body = call.body(ChatCompletionBody)
    prompt = body.prompt
    said = models.answer(call, body.model, prompt)
    completion_id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    usage = _usage(prompt, said)
    if body.stream:
        options = body.stream_options
        told = usage if options is not None and options.include_usage else None
        head = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": body.model,
        }
        return Stream(_events(head, said, told))
    message = AssistantMessage(role="assistant", content=said.text)
    if said.tool_calls:
        message["tool_calls"] = [_called(one) for one in said.tool_calls]
    return ChatCompletion(
        id=completion_id,
        object="chat.completion",
        created=created,
        model=body.model,
        choices=[Choice(index=0, message=message, finish_reason=_finish_reason(said))],
        usage=usage,
    )


def _events(
    head: Mapping[str, object], said: Said, usage: Usage | None
) -> Generator[bytes, None, None]:
    """The chunks: the role first, the answer in pieces, why it ended, and the end's mark."""

    def chunk(delta: Mapping[str, object], finish_reason: FinishReason | None = None) -> bytes:
        return _event(head, [{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    yield chunk({"role": "assistant", "content": ""})
    calls = 0
    for one in said.output:
        if isinstance(one, str):
            yield chunk({"content": one})
        else:
            yield chunk({"tool_calls": [{"index": calls, **_called(one)}]})
            calls += 1
    yield chunk({}, _finish_reason(said))
    if usage is not None:
        yield _event({**head, "usage": usage}, [])
    yield b"data: [DONE]\n\n"


def _event(head: Mapping[str, object], choices: Sequence[Mapping[str, object]]) -> bytes:
    return b"data: %b\n\n" % dump({**head, "choices": choices})


def _called(call: ToolCall) -> CalledTool:
    return CalledTool(
        id=f"call_{secrets.token_hex(12)}",
        type="function",
        function=CalledFunction(name=call.name, arguments=call.arguments),
    )


def _finish_reason(said: Said) -> FinishReason:
    return "tool_calls" if said.tool_calls else "stop"


def _usage(prompt: Prompt, said: Said) -> Usage:
    completion_tokens = said.tokens
    return Usage(
        prompt_tokens=prompt.tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt.tokens + completion_tokens,
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/chat/completions",
        name="createChatCompletion",
        tag="Inkeep",
        summary="Ask a model",
        description="As OpenAI's SDKs ask. `inkeep-rag` answers with documents as JSON, whatever "
        "`response_format` says; `inkeep-qa-expert` with prose and citations, and with calls "
        "of the vendor's tools where they are offered. Header `x-knowledge-base` names the "
        "knowledge base where the key does not say which, as `@ID` behind the model's name does. "
        "`stream` answers with `chat.completion.chunk` events.",
        run=complete,
        answer=ChatCompletion,
        scopes=models.SCOPES,
        body=ChatCompletionBody,
        examples=(
            Example(
                "Documents for a question",
                {
                    "model": "inkeep-rag",
                    "messages": [{"role": "user", "content": "How do I get started?"}],
                    "response_format": {"type": "json_object"},
                },
            ),
            Example(
                "As a stream, from a named knowledge base",
                {
                    "model": "inkeep-rag@kb_xyz789",
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "text", "text": "How do I get started?"}],
                        }
                    ],
                    "stream": True,
                },
            ),
            Example(
                "An answer with the links that it rests on",
                {
                    "model": "inkeep-qa-expert",
                    "messages": [{"role": "user", "content": "How do I get started?"}],
                    "tools": [{"type": "function", "function": {"name": "provideLinks"}}],
                },
            ),
        ),
        errors=(404,),
        streams=True,
    ),
)
