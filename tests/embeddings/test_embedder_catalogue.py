import subprocess
import sys
from pathlib import Path

import pytest

from llamaindex_reaktly.embeddings.catalogue import embedder_names, load_embedder
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.errors import ConfigurationError


def test_minilm_is_loaded_by_its_name(minilm: MiniLM, tmp_path: Path) -> None:
    embedder = load_embedder("minilm", models_dir=tmp_path, threads=2)
    assert isinstance(embedder, MiniLM)
    assert embedder.identity == minilm.identity
    embedder.close()


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"'bert'.*minilm"):
        load_embedder("bert")
    assert embedder_names() == ("minilm",)


def test_the_names_are_known_without_loading_a_runtime_or_llama_index() -> None:
    program = (
        "import sys, llamaindex_reaktly.embeddings.catalogue as c; c.embedder_names();"
        "assert not {'onnxruntime', 'tokenizers', 'llama_index'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_model_runs_without_llama_index_or_onnx() -> None:
    program = (
        "import sys, llamaindex_reaktly.embeddings.minilm, llamaindex_reaktly.embeddings.install;"
        "assert not {'llama_index', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tokens_are_counted_without_loading_the_model() -> None:
    program = (
        "import sys; from llamaindex_reaktly.embeddings.catalogue import load_tokenizer;"
        "assert load_tokenizer('minilm').count_tokens('two words') == 4;"
        "assert not {'llama_index', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
