"""`POST /v1/responses`: the same answers for SDKs that speak OpenAI's newer endpoint."""

import itertools
import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from reaktly_api.inkeep import models
from reaktly_api.inkeep.conversation import Prompt, Said, ToolCall
from reaktly_api.inkeep.requests import ResponsesBody
from reaktly_api.operations import Call, Example, Operation, Stream, dump

Status = Literal["in_progress", "completed"]


class OutputText(TypedDict):
    """The text of a message; of `inkeep-rag`, JSON: `{"content": [document, ...]}`."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, str]]


class OutputMessage(TypedDict):
    """What the model says."""

    type: Literal["message"]
    id: str
    status: Status
    role: Literal["assistant"]
    content: list[OutputText]


class FunctionCall(TypedDict):
    """A call that the client is asked to make; `arguments` is a JSON object as text."""

    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status


class TokenDetails(TypedDict):
    """None of the tokens were cached or spent on reasoning."""

    cached_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]


class ResponseUsage(TypedDict):
    """Estimates, four bytes of UTF-8 a token."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    output_tokens_details: TokenDetails
    total_tokens: int


class Response(TypedDict):
    """An answer. What a client asked for and we ignore is told as OpenAI's defaults."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Status
    error: None
    incomplete_details: None
    instructions: str | None
    model: str
    output: list[OutputMessage | FunctionCall]
    parallel_tool_calls: bool
    previous_response_id: None
    store: bool
    temperature: float
    text: dict[str, dict[str, str]]
    tool_choice: str
    tools: list[dict[str, str]]
    top_p: float
    truncation: str
    usage: ResponseUsage | None
    metadata: dict[str, str]


def respond(call: Call) -> Mapping[str, object] | Stream:
    """`POST /v1/responses`."""
    body = call.body(ResponsesBody)
    prompt = body.prompt
    said = models.answer(call, body.model, prompt)
    begun = Response(
        id=_new_id("resp"),
        object="response",
        created_at=int(time.time()),
        status="in_progress",
        error=None,
        incomplete_details=None,
        instructions=body.instructions,
        model=body.model,
        output=[],
        parallel_tool_calls=True,
        previous_response_id=None,
        store=False,
        temperature=1.0,
        text={"format": {"type": "text"}},
        tool_choice="auto",
        tools=[],
        top_p=1.0,
        truncation="disabled",
        usage=None,
        metadata={},
    )
    if body.stream:
        return Stream(_events(begun, prompt, said))
    output: list[OutputMessage | FunctionCall] = []
    for item in _items(said):
        if isinstance(item, ToolCall):
            output.append(_function_call(item))
        else:
            output.append(_message(_new_id("msg"), "".join(item)))
    return _completed(begun, output, prompt, said)


def _events(begun: Response, prompt: Prompt, said: Said) -> Generator[bytes, None, None]:
    """The events of a response's life, numbered."""
    numbers = itertools.count()

    def event(kind: str, **fields: object) -> bytes:
        data = dump({"type": kind, "sequence_number": next(numbers), **fields})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    output: list[OutputMessage | FunctionCall] = []
    for index, item in enumerate(_items(said)):
        place: dict[str, object] = {"output_index": index}
        if isinstance(item, ToolCall):
            call = _function_call(item)
            output.append(call)
            of_call = {"item_id": call["id"], **place}
            opened: FunctionCall = {**call, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", item=opened, **place)
            yield event("response.function_call_arguments.delta", delta=item.arguments, **of_call)
            yield event(
                "response.function_call_arguments.done",
                arguments=item.arguments,
                name=item.name,
                **of_call,
            )
            yield event("response.output_item.done", item=call, **place)
            continue
        message = _message(_new_id("msg"), "".join(item))
        output.append(message)
        part = message["content"][0]
        of_part = {"item_id": message["id"], **place, "content_index": 0}
        empty: OutputMessage = {**message, "status": "in_progress", "content": []}
        yield event("response.output_item.added", item=empty, **place)
        yield event("response.content_part.added", part={**part, "text": ""}, **of_part)
        for piece in item:
            yield event("response.output_text.delta", delta=piece, logprobs=[], **of_part)
        yield event("response.output_text.done", text=part["text"], logprobs=[], **of_part)
        yield event("response.content_part.done", part=part, **of_part)
        yield event("response.output_item.done", item=message, **place)
    yield event("response.completed", response=_completed(begun, output, prompt, said))


def _items(said: Said) -> Iterator[ToolCall | list[str]]:
    """What was said as the endpoint's items: calls, and messages of pieces of text."""
    for is_text, group in itertools.groupby(said.output, lambda one: isinstance(one, str)):
        if is_text:
            yield [piece for piece in group if isinstance(piece, str)]
        else:
            yield from (call for call in group if isinstance(call, ToolCall))


def _message(message_id: str, text: str) -> OutputMessage:
    return OutputMessage(
        type="message",
        id=message_id,
        status="completed",
        role="assistant",
        content=[OutputText(type="output_text", text=text, annotations=[])],
    )


def _function_call(call: ToolCall) -> FunctionCall:
    return FunctionCall(
        type="function_call",
        id=_new_id("fc"),
        call_id=_new_id("call"),
        name=call.name,
        arguments=call.arguments,
        status="completed",
    )


def _completed(
    begun: Response, output: list[OutputMessage | FunctionCall], prompt: Prompt, said: Said
) -> Response:
    usage = ResponseUsage(
        input_tokens=prompt.tokens,
        input_tokens_details={"cached_tokens": 0},
        output_tokens=said.tokens,
        output_tokens_details={"reasoning_tokens": 0},
        total_tokens=prompt.tokens + said.tokens,
    )
    return {**begun, "status": "completed", "output": output, "usage": usage}


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/responses",
        name="createResponse",
        tag="Inkeep",
        summary="Ask a model, by the responses endpoint",
        description="The answers of `/v1/chat/completions` for SDKs that speak OpenAI's responses "
        "endpoint. Nothing is stored: `previous_response_id` is ignored.",
        run=respond,
        answer=Response,
        scopes=models.SCOPES,
        body=ResponsesBody,
        examples=(
            Example(
                "Documents for a question",
                {"model": "inkeep-rag", "input": "How do I get started?"},
            ),
        ),
        errors=(404,),
        streams=True,
    ),
)
