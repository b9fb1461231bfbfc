"""all-MiniLM-L6-v2 on onnxruntime: the local default, without key, hub or torch."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from llamaindex_reaktly.embeddings.minilm_tokenizer import (
    GRAPH_FILE,
    MISSING,
    MiniLMTokenizer,
    holds_model,
    require_model,
)
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import ModelMissing

# As in `minilm_graph`, which can't be imported here: it needs onnx, the runtime doesn't.
_DIMENSION = 384
_BUILD_LENGTH = 12


class MiniLM:
    """Embeds texts into unit vectors of 384 dimensions; safe to share between threads.

    Every sequence is a run of its own: activations are quantised over the whole
    input of a run, so a vector made in a batch would depend on its neighbours
    (cosine down to .99). `threads` sequences are run at a time, each on one thread;
    threads inside a run cost more CPU for the same rate.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError("threads must be 1 or more")
        if not holds_model(folder):
            raise ModelMissing(MISSING)
        graph = folder / GRAPH_FILE
        with graph.open("rb") as file:
            build = hashlib.file_digest(file, "sha256").hexdigest()[:_BUILD_LENGTH]
        self._identity = EmbedderIdentity("minilm", build, _DIMENSION)
        self._session = _open_session(graph)
        self._tokenizer = MiniLMTokenizer(folder)
        # Of one thread too, so that `threads` holds however many callers there are.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reaktly-minilm")

    @classmethod
    def load(cls, path: Path | None = None, threads: int = 1) -> Self:
        """The model in the directory `path`, else that of the installed `reaktly-minilm`.

        `path` is where `install_model` puts it and may hold nothing yet. Raises
        ModelMissing, with what to do, when the model is in neither place.
        """
        return cls(require_model(path), threads=threads)

    @property
    def identity(self) -> EmbedderIdentity:
        """Name, digest of the graph file and dimension."""
        return self._identity

    @property
    def max_tokens(self) -> int:
        """256, special tokens included: what the model was made for, and 512 is worse."""
        return self._tokenizer.max_tokens

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The unit vector of one text, shape (384,); queries carry no prefix."""
        return self._run(self._model_input(text))

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), 384), each as if it had been embedded alone."""
        vectors = np.empty((len(texts), _DIMENSION), dtype=np.float32)
        inputs = [self._model_input(text) for text in texts]
        # Longest first: a long text begun last would be waited for by idle threads.
        order = sorted(range(len(inputs)), key=lambda row: inputs[row].size, reverse=True)
        results = self._pool.map(self._run, [inputs[row] for row in order])
        for row, vector in zip(order, results, strict=True):
            vectors[row] = vector
        return vectors

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` has, the two special ones included, uncut."""
        return self._tokenizer.count_tokens(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end, in characters, of each token of `text`; no special ones, uncut."""
        return self._tokenizer.token_spans(text)

    def close(self) -> None:
        """Ends the threads, after what they are at; `embed_documents` is an error from then on."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _model_input(self, text: str) -> NDArray[np.int64]:
        return np.array([self._tokenizer.model_input(text)], dtype=np.int64)

    def _run(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        output = self._session.run(None, {"input_ids": ids})[0]
        assert isinstance(output, np.ndarray)
        vector: NDArray[np.float32] = output[0]
        return vector


def _open_session(graph: Path) -> onnxruntime.InferenceSession:
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads took 68 CPU-ms a passage under load against 37.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
