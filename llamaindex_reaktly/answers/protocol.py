"""What an answerer is, whether it quotes or writes."""

from collections.abc import Sequence
from typing import Protocol

from llamaindex_reaktly.domain import Answer, AnswerRequest, SearchHit
from llamaindex_reaktly.embeddings.protocol import TextEmbedder


class Answerer(Protocol):
    """Answers a question from the documents that a search for it found."""

    def answer(
        self, request: AnswerRequest, hits: Sequence[SearchHit], embedder: TextEmbedder
    ) -> Answer:
        """The answer, or that these documents hold none.

        `hits` are in order of relevance; `embedder` is the knowledge base's. Each citation
        quotes one of the hits' passages word for word.
        """
        ...
