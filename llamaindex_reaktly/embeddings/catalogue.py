"""Which embedders there are, by the names that settings and knowledge bases use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from llamaindex_reaktly.embeddings.protocol import BudgetedTokenizer, TextEmbedder
from llamaindex_reaktly.errors import ConfigurationError

Loader = TypeVar("Loader")


def embedder_names() -> tuple[str, ...]:
    """The names `load_embedder` knows, sorted."""
    return tuple(sorted(_LOADERS))


def load_embedder(name: str, *, models_dir: Path | None = None, threads: int = 1) -> TextEmbedder:
    """The embedder called `name`, embedding up to `threads` texts at a time.

    `models_dir` holds a directory `name` for each model installed without a
    distribution. Raises ConfigurationError for an unknown name, ModelMissing when the
    model isn't installed.
    """
    return _of(_LOADERS, name)(_model_directory(models_dir, name), threads)


def load_tokenizer(name: str, *, models_dir: Path | None = None) -> BudgetedTokenizer:
    """The tokenizer of the embedder called `name`; `models_dir` and errors as above."""
    return _of(_TOKENIZER_LOADERS, name)(_model_directory(models_dir, name))


def _of(loaders: Mapping[str, Loader], name: str) -> Loader:
    loader = loaders.get(name)
    if loader is None:
        raise ConfigurationError(
            f"There is no embedder called {name!r}; there is: {', '.join(embedder_names())}."
        )
    return loader


def _model_directory(models_dir: Path | None, name: str) -> Path | None:
    return None if models_dir is None else models_dir / name


# Imported when asked for: the names must be known without loading onnxruntime.


def _load_minilm(path: Path | None, threads: int) -> TextEmbedder:
    from llamaindex_reaktly.embeddings.minilm import MiniLM

    return MiniLM.load(path, threads=threads)


def _load_minilm_tokenizer(path: Path | None) -> BudgetedTokenizer:
    from llamaindex_reaktly.embeddings.minilm_tokenizer import MiniLMTokenizer

    return MiniLMTokenizer.load(path)


_LOADERS: Mapping[str, Callable[[Path | None, int], TextEmbedder]] = {"minilm": _load_minilm}
_TOKENIZER_LOADERS: Mapping[str, Callable[[Path | None], BudgetedTokenizer]] = {
    "minilm": _load_minilm_tokenizer
}
