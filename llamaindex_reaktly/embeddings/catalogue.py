"""Which embedders there are, by the names that settings and knowledge bases use."""

from collections.abc import Callable, Mapping
from pathlib import Path

from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.errors import ConfigurationError


def embedder_names() -> tuple[str, ...]:
    """The names `load_embedder` knows, sorted."""
    return tuple(sorted(_LOADERS))


def load_embedder(name: str, *, models_dir: Path | None = None, threads: int = 1) -> TextEmbedder:
    """The embedder called `name`, embedding up to `threads` texts at a time.

    `models_dir` holds a directory `name` for each model installed without a
    distribution. Raises ConfigurationError for an unknown name, ModelMissing when the
    model isn't installed.
    """
    loader = _LOADERS.get(name)
    if loader is None:
        raise ConfigurationError(
            f"There is no embedder called {name!r}; there is: {', '.join(embedder_names())}."
        )
    return loader(None if models_dir is None else models_dir / name, threads)


def _load_minilm(path: Path | None, threads: int) -> TextEmbedder:
    # Imported when asked for: the names must be known without loading onnxruntime.
    from llamaindex_reaktly.embeddings.minilm import MiniLM

    return MiniLM.load(path, threads=threads)


_LOADERS: Mapping[str, Callable[[Path | None, int], TextEmbedder]] = {"minilm": _load_minilm}
