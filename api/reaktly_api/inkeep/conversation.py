"""What is asked of a model and what it says, whichever of the two endpoints carries it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

# An estimate; OpenAI's own tokenizers come to about this for European text and for CJK.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, as far as the models take notice of it."""

    question: str
    tokens: int
    """Of the whole conversation, estimated."""
    tools: frozenset[str] = frozenset()
    """Names of the tools that may be called."""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the client is asked to make; `arguments` is a JSON object as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Said:
    """A model's answer: pieces of text, and calls, in the order in which they are streamed."""

    output: Sequence[str | ToolCall]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(_of_kind(self.output, str))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls alone."""
        return _of_kind(self.output, ToolCall)

    @property
    def tokens(self) -> int:
        """Of everything that was said, estimated."""
        return estimate_tokens(self.text, *(call.arguments for call in self.tool_calls))


def estimate_tokens(*texts: str) -> int:
    """How many tokens the texts have together, as nearly as their length tells."""
    size = 0
    for text in texts:  # a generator is most of the cost, for thirty passages a search
        size += len(text) if text.isascii() else len(text.encode())
    return -(-size // BYTES_PER_TOKEN)


T = TypeVar("T")


def _of_kind(output: Sequence[object], kind: type[T]) -> list[T]:
    return [one for one in output if isinstance(one, kind)]
