"""The LlamaIndex face of the local model."""

import asyncio
import threading
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field, PrivateAttr

from llamaindex_reaktly.embeddings.minilm import MiniLM


class MiniLMEmbedding(BaseEmbedding):
    """all-MiniLM-L6-v2 as a LlamaIndex embedding; queries and texts are treated alike.

    The model is loaded when it is first needed, so the object can be made, copied,
    pickled and serialised where the model isn't installed. Async calls run in a thread
    and leave the event loop free. `sharing` wraps a model that somebody else owns.
    """

    model_name: str = Field(default="all-MiniLM-L6-v2", description="Name of the model.")
    embed_batch_size: int = Field(
        default=64, description="Texts a call; their vectors don't depend on it.", gt=0, le=2048
    )
    model_path: str | None = Field(
        default=None,
        description="Directory the model was installed into, else the reaktly-minilm distribution.",
    )
    threads: int = Field(default=1, description="Texts embedded at a time.", ge=1)

    _model: "_LazyModel" = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Remembers how to load the model."""
        super().model_post_init(context)
        self._model = _LazyModel(self.model_path, self.threads)

    @classmethod
    def sharing(cls, model: MiniLM) -> Self:
        """An embedding that runs on `model`, and leaves closing it to its owner."""
        embedding = cls()
        embedding._model.lend(model)
        return embedding

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex serialises this class under."""
        return "MiniLMEmbedding"

    def close(self) -> None:
        """Ends the model's threads if this object loaded it; a later call loads it again."""
        self._model.close()

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.get().embed_query(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_query_embedding(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.get().embed_documents(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class _LazyModel:
    """A model to be loaded once, by whichever thread comes first. Copies load their own."""

    def __init__(self, path: str | None, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._lock = threading.Lock()
        self._model: MiniLM | None = None
        self._owned = False

    def __reduce__(self) -> tuple[type["_LazyModel"], tuple[str | None, int]]:
        return (_LazyModel, (self._path, self._threads))

    def lend(self, model: MiniLM) -> None:
        self._model = model

    def get(self) -> MiniLM:
        with self._lock:
            if self._model is None:
                path = None if self._path is None else Path(self._path)
                self._model = MiniLM.load(path, threads=self._threads)
                self._owned = True
            return self._model

    def close(self) -> None:
        with self._lock:
            if self._owned and self._model is not None:
                self._model.close()
                self._model = None
                self._owned = False
