"""An embedding model that crashes its process over certain texts; imported, it takes effect."""

import os

from llama_index.core.base.embeddings.base import BaseEmbedding

from tests.end_to_end.poison import WORKER_CRASH, Poison

_embed = BaseEmbedding.get_text_embedding_batch


def _poisoned(self: BaseEmbedding, texts: list[str]) -> list[list[float]]:
    if any(WORKER_CRASH in text for text in texts):
        os.abort()
    return _embed(self, texts)


BaseEmbedding.get_text_embedding_batch = _poisoned  # type: ignore[method-assign]

# What the chain is given, so that this module is imported.
component = Poison()
