"""The tokenizer of all-MiniLM-L6-v2, and where its files are; free of onnxruntime.

Who cuts texts needs the model's own view of them, but not the model.
"""

import importlib.util
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from llamaindex_reaktly.errors import ModelMissing

DISTRIBUTION_PACKAGE = "reaktly_minilm"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

# As in `minilm_graph`, which can't be imported here: it needs onnx, the runtime doesn't.
MAX_TOKENS = 256
# A call on a whole megabyte takes 200 MB for its result; of parts this long, none to speak of.
_PART_CHARACTERS = 65_536

MISSING = (
    "The local model all-MiniLM-L6-v2 is not installed: run `reaktly model install`, "
    "or install the reaktly-minilm wheel that `make build` puts into dist/."
)


class MiniLMTokenizer:
    """Counts and finds the model's tokens; safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        # The published file pads and cuts to 128; cutting is done by us, at 256, so
        # that the same tokenizer also counts, and holds no state that calls share.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The tokenizer of the model that `require_model` finds; raises as that does."""
        return cls(require_model(path))

    @property
    def max_tokens(self) -> int:
        """256, special tokens included: what the model was made for, and 512 is worse."""
        return MAX_TOKENS

    def model_input(self, text: str) -> list[int]:
        """The tokens that the model is given of `text`, the last ones over its limit cut off."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` has, the two special ones included, uncut."""
        return len(self._tokenizer.encode(text).ids)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end, in characters, of each token of `text`; no special ones, uncut."""
        spans: list[tuple[int, int]] = []
        start = 0
        while start < len(text):
            end = _part_end(text, start)
            encoding = self._tokenizer.encode(text[start:end], add_special_tokens=False)
            spans.extend((first + start, last + start) for first, last in encoding.offsets)
            start = end
        return spans


def require_model(path: Path | None = None) -> Path:
    """The directory that `find_model` finds; raises ModelMissing, with what to do, for none."""
    folder = find_model(path)
    if folder is None:
        raise ModelMissing(MISSING)
    return folder


def find_model(path: Path | None = None) -> Path | None:
    """The directory that holds the model: `path` if it does, else the distribution's, else None."""
    candidates = [] if path is None else [path]
    spec = importlib.util.find_spec(DISTRIBUTION_PACKAGE)
    if spec is not None:
        candidates += [Path(place) for place in spec.submodule_search_locations or ()]
    for folder in candidates:
        if holds_model(folder):
            return folder
    return None


def holds_model(folder: Path) -> bool:
    """Whether both files of the model lie in `folder`."""
    return (folder / GRAPH_FILE).is_file() and (folder / TOKENIZER_FILE).is_file()


def _part_end(text: str, start: int) -> int:
    """Where a part may end: before white space, which no token spans, if there is any."""
    end = start + _PART_CHARACTERS
    if end >= len(text):
        return len(text)
    for position in range(end, start + _PART_CHARACTERS // 2, -1):
        if text[position].isspace():
            return position
    return end
