"""What the core asks of an embedder, without LlamaIndex in sight.

The API embeds queries through this; the worker embeds documents through the
LlamaIndex `BaseEmbedding` of the same model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """Which vectors these are: two bases embedded by unequal identities are never mixed."""

    name: str
    build: str
    dimension: int


class TextEmbedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Model, build and dimension of the vectors."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads; the rest it would cut silently."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """One vector of shape (dimension,), unit length."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dimension); none depends on its neighbours."""
        ...

    def count_tokens(self, text: str) -> int:
        """The model's tokens in a text, special ones included."""
        ...


class BudgetedTokenizer(Protocol):
    """A model's own view of a text, for those who cut to its limit without embedding."""

    @property
    def max_tokens(self) -> int:
        """As that of the `TextEmbedder`."""
        ...

    def count_tokens(self, text: str) -> int:
        """As that of the `TextEmbedder`."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token; no special tokens, nothing cut off."""
        ...
