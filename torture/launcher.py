"""The command line with a model and a store that can be switched off from outside.

    TORTURE_SWITCHES=directory python -m torture.launcher serve --port 8000

The file `model-away` in that directory makes embedding fail as a hosted model does that
cannot be reached, `store-away` the same for the store; `model-slow` holds the seconds that
each call takes longer. With `model-stub` there when the process starts, vectors come from a
hash and not from the model: for runs in which only the bookkeeping matters.
"""

import contextlib
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly import cli
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.embedded import EmbeddedStore

SWITCHES = "TORTURE_SWITCHES"
MODEL_AWAY, MODEL_SLOW, MODEL_STUB, STORE_AWAY = (
    "model-away",
    "model-slow",
    "model-stub",
    "store-away",
)
COMMAND = ("-m", "torture.launcher")
_DIMENSION = 384
_STORE_CALLS = ("replace", "delete", "search", "known_vectors", "count", "nodes", "purge")

P = ParamSpec("P")
R = TypeVar("R")


class Switches:
    """The files of the directory, looked at when they are asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def require(self, name: str, words: str) -> None:
        """Raise `Unavailable` while something is switched off."""
        if (self._directory / name).exists():
            raise Unavailable(words)

    def model(self) -> None:
        """What happens before each call of the model."""
        self.require(MODEL_AWAY, "the model is away")
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float((self._directory / MODEL_SLOW).read_text()))

    def has(self, name: str) -> bool:
        """Whether a switch is set."""
        return (self._directory / name).exists()


def _after(before: Callable[[], None], call: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(call)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        before()
        return call(*arguments, **options)

    return called


def _stub_documents(_: MiniLM, texts: Sequence[str]) -> NDArray[np.float32]:
    rows = [
        np.frombuffer(hashlib.shake_128(text.encode()).digest(_DIMENSION), dtype=np.uint8)
        for text in texts
    ]
    vectors = np.array(rows, dtype=np.float32).reshape(len(texts), _DIMENSION) - 127.5
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _stub_query(model: MiniLM, text: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = _stub_documents(model, [text])[0]
    return vector


def main() -> None:
    """Run the command line with the switches in place."""
    switches = Switches(Path(os.environ[SWITCHES]))
    stub = switches.has(MODEL_STUB)
    calls: dict[str, Callable[..., NDArray[np.float32]]] = {
        "embed_documents": _stub_documents if stub else MiniLM.embed_documents,
        "embed_query": _stub_query if stub else MiniLM.embed_query,
    }
    for name, call in calls.items():
        setattr(MiniLM, name, _after(switches.model, call))
    away = functools.partial(switches.require, STORE_AWAY, "the store is away")
    for name in _STORE_CALLS:
        setattr(EmbeddedStore, name, _after(away, getattr(EmbeddedStore, name)))
    sys.argv[0] = "reaktly"
    cli.main()


if __name__ == "__main__":
    main()
