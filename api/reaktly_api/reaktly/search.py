"""Asking a knowledge base: `/search`."""

import time
from collections.abc import Mapping

from llamaindex_reaktly.domain import SearchRequest
from llamaindex_reaktly.filters import parse_filter
from reaktly_api.access import READ
from reaktly_api.operations import Call, Example, Link, Operation
from reaktly_api.reaktly.answers import SearchAnswer, found
from reaktly_api.reaktly.requests import SearchBody


def search(call: Call) -> Mapping[str, object]:
    """`POST /search`."""
    body = call.body(SearchBody)
    call.caller.require_reach(body.knowledge_base_id)
    request = SearchRequest(
        knowledge_base_id=body.knowledge_base_id,
        query=body.query,
        limit=body.limit,
        offset=body.offset,
        mode=body.mode,
        filters=parse_filter(body.filters),
        min_relevance=body.min_relevance,
    )
    started = time.perf_counter()
    result = call.knowledge_base.search(request)
    elapsed = time.perf_counter() - started
    return SearchAnswer(
        query=body.query,
        results=[found(hit) for hit in result.hits],
        timingMs=round(elapsed * 1000, 3),
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/search",
        name="search",
        tag="Search",
        summary="Search a knowledge base",
        description="One entry a document, best first, with its best passages. `relevance` "
        "is between 0 and 1 and means the same from query to query.",
        run=search,
        answer=SearchAnswer,
        scopes=frozenset({READ}),
        body=SearchBody,
        examples=(
            Example(
                "A question", {"knowledgeBaseId": "kb_xyz789", "query": "How do I use the product?"}
            ),
            Example(
                "With filters",
                {
                    "knowledgeBaseId": "kb_xyz789",
                    "query": "watering can",
                    "limit": 5,
                    "mode": "hybrid",
                    "filters": {
                        "sourceType": "PRODUCT",
                        "sourceData.price": {"lte": 50},
                        "or": [{"tags": {"any": ["garden"]}}, {"language": "en"}],
                    },
                    "minRelevance": 0.1,
                },
            ),
        ),
        errors=(404,),
        links=(
            Link("getDocument", "documentId", "/results/0/documentId"),
            Link("getPassages", "documentId", "/results/0/documentId"),
        ),
    ),
)
