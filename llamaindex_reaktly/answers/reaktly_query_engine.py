"""Asking a knowledge base as LlamaIndex queries."""

import asyncio
from collections.abc import Mapping

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import Response
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from llamaindex_reaktly.domain import Answer, AnswerRequest
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.retrieval.reaktly_retriever import filter_of, node_of


class ReaktlyQueryEngine(BaseQueryEngine):
    """Answers with sentences of a knowledge base, word for word; no language model is needed.

    The response is the answer with markers (`[1]`) behind what they stand for. Its
    `source_nodes` are the passages that are cited, in the order of the answer. Its metadata
    has `answered` and `citations`, a list of `marker`, `documentId`, `title`, `url`, `quote`,
    `nodeId`, `start` and `end`: the quote is `text[start:end]` of the source node of that id.
    Where the base holds no answer the response says so, `answered` is false, and nothing is
    cited.

    `filters` and what is raised: as for `ReaktlyRetriever`.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        knowledge_base_id: str,
        *,
        filters: MetadataFilters | Mapping[str, object] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager)
        self._knowledge_base = knowledge_base
        self._knowledge_base_id = knowledge_base_id
        self._filter = filter_of(filters)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _query(self, query_bundle: QueryBundle) -> Response:
        return _response(
            self._knowledge_base.answer(
                AnswerRequest(self._knowledge_base_id, query_bundle.query_str, self._filter)
            )
        )

    async def _aquery(self, query_bundle: QueryBundle) -> Response:
        return await asyncio.to_thread(self._query, query_bundle)


def _response(answer: Answer) -> Response:
    cited = {one.passage.node_id: node_of(one.hit, one.passage) for one in answer.citations}
    return Response(
        answer.marked_text,
        source_nodes=list(cited.values()),
        metadata={
            "answered": answer.answered,
            "citations": [
                {
                    "marker": one.marker,
                    "documentId": one.hit.document_id,
                    "title": one.hit.title,
                    "url": one.hit.url,
                    "quote": one.quote,
                    "nodeId": one.passage.node_id,
                    "start": one.start,
                    "end": one.end,
                }
                for one in answer.citations
            ],
        },
    )
