"""What the Inkeep dialect reads: OpenAI's requests, generously.

Real clients send the same question in many shapes (text or a list of parts, ids and names in
messages, tools, any `response_format`). Only what decides the answer is looked at.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.errors import InvalidRequest
from reaktly_api.inkeep.conversation import Prompt, estimate_tokens
from reaktly_api.numbers import WHOLE
from reaktly_api.patterns import NO_CONTROLS, NOT_BLANK

MAX_MODEL_LENGTH = 300
# Of a longer question this is searched for; a pasted log is no reason to refuse a chat.
MAX_QUESTION_LENGTH = 10_000
_TEXT_PARTS = ("text", "input_text", "output_text", None)  # a type may be no text at all
USER = "user"
# What a client answers to a tool call, in the two endpoints' words.
_OF_TOOLS = frozenset({"tool", "function", "function_call_output"})


class TextPart(TypedDict, total=False):
    """A part of a message. Others than text are passed over."""

    type: str
    text: str | None


def _as_text(content: object) -> object:
    """A message's text: as it is, or that of its parts, a line each."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        text = part
        if isinstance(part, dict):
            text = part.get("text") if part.get("type") in _TEXT_PARTS else None
        elif not isinstance(part, str):
            msg = "must be text, or a list of parts that are objects"
            raise ValueError(msg)
        if isinstance(text, str):
            texts.append(text)
    return "\n".join(texts)


def _as_items(given: object) -> object:
    return [{"role": USER, "content": given}] if isinstance(given, str) else given


Content = Annotated[
    str, BeforeValidator(_as_text, json_schema_input_type=str | list[TextPart | str] | None)
]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_MODEL_LENGTH, pattern=NO_CONTROLS)]


# What the code below demands of a conversation, in JSON Schema's words.
_SAID: dict[str, JsonValue] = {"type": "string", "pattern": NOT_BLANK}
_SAID_IN_PARTS: dict[str, JsonValue] = {
    "type": "array",
    "contains": {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": [*filter(None, _TEXT_PARTS)]}, "text": _SAID},
    },
}
_WITH_A_QUESTION: dict[str, JsonValue] = {
    "contains": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"const": USER}, "content": {"anyOf": [_SAID, _SAID_IN_PARTS]}},
    }
}


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Message(_Body):
    """A turn of the conversation; of the responses endpoint, any item of it."""

    role: str | None = None
    type: str | None = None
    content: Content = ""

    @property
    def answers_tool(self) -> bool:
        """Whether it holds what a tool that was called gave."""
        return self.role in _OF_TOOLS or self.type in _OF_TOOLS


class NamedFunction(_Body):
    """A function that the client has."""

    name: str


class Tool(_Body):
    """A tool that the client has; the two endpoints have the name in different places."""

    function: NamedFunction | None = None
    name: str | None = None


class StreamOptions(_Body):
    """What a stream holds beside the answer."""

    include_usage: bool | None = Field(default=None, description="A last chunk tells the usage.")


class _Asking(_Body):
    model: ModelName = Field(
        description="`inkeep-rag`, `inkeep-qa-expert` or a pinned name of theirs; followed by "
        "`@` and the id of a knowledge base where the key alone does not say which."
    )
    stream: bool | None = Field(default=None, description="Answer with server-sent events.")
    tools: list[Tool] | None = Field(
        default=None,
        description="`inkeep-qa-expert` calls `provideRecordsConsidered`, `provideLinks` and "
        "`provideAIAnnotations` when they are among them.",
    )
    tool_choice: object = Field(default=None, description="`none` keeps tools from being called.")

    def _prompt(
        self, field: str, turns: Sequence[Message], *, max_tokens: int | None, system: str = ""
    ) -> Prompt:
        question = asked = -1
        for place, turn in enumerate(turns):
            if turn.role == USER and turn.content.strip():
                question = place
            if turn.role == USER or turn.answers_tool:
                asked = place
        if question < 0:
            raise InvalidRequest(f"{field}: a user's message with text is needed", field=field)
        # Who answers a tool's call is not asked to make it again: that would go on for ever.
        may_call = self.tool_choice != "none" and not turns[asked].answers_tool
        return Prompt(
            question=turns[question].content.strip()[:MAX_QUESTION_LENGTH],
            tokens=estimate_tokens(system, *(turn.content for turn in turns)),
            tools=frozenset(_names(self.tools or ())) if may_call else frozenset(),
            max_tokens=max_tokens,
        )


class ChatCompletionBody(_Asking):
    """`POST /v1/chat/completions`. Other fields of OpenAI's, `response_format` too, are ignored."""

    messages: Annotated[list[Message], Field(min_length=1)] = Field(
        description="The conversation; the last user's message with text is the question.",
        json_schema_extra=_WITH_A_QUESTION,
    )
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Bounds the prose of `inkeep-qa-expert`."
    )

    @property
    def prompt(self) -> Prompt:
        """What is asked. Raises `InvalidRequest` when nothing is."""
        return self._prompt(
            "messages", self.messages, max_tokens=self.max_completion_tokens or self.max_tokens
        )


class ResponsesBody(_Asking):
    """`POST /v1/responses`. Other fields of OpenAI's, `text.format` too, are ignored."""

    input: Annotated[
        list[Message],
        Field(min_length=1),
        BeforeValidator(
            _as_items,
            json_schema_input_type=Annotated[str, Field(pattern=NOT_BLANK)]
            | Annotated[list[Message], Field(min_length=1, json_schema_extra=_WITH_A_QUESTION)],
        ),
    ] = Field(description="The question, or the conversation with it as its last user's message.")
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Bounds the prose of `inkeep-qa-expert`."
    )

    @property
    def prompt(self) -> Prompt:
        """What is asked. Raises `InvalidRequest` when nothing is."""
        return self._prompt(
            "input",
            self.input,
            max_tokens=self.max_output_tokens,
            system=self.instructions or "",
        )


def _names(tools: Iterable[Tool]) -> Iterable[str]:
    for tool in tools:
        name = tool.function.name if tool.function is not None else tool.name
        if name is not None:
            yield name
