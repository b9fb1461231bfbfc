"""Searching and asking: `/v1/documents/search` and `/v1/chat/query`."""

from collections.abc import Mapping

from llamaindex_reaktly.domain import AnswerRequest, SearchRequest
from llamaindex_reaktly.filters import parse_filter
from reaktly_api.access import CHAT, READ
from reaktly_api.operations import Call, Example, Link, Operation
from reaktly_api.smarttalk.answers import DocumentSearchAnswer, QueryAnswer, answered, found
from reaktly_api.smarttalk.documents import TAG
from reaktly_api.smarttalk.requests import DocumentSearchBody, QueryBody

DEFAULT_LIMIT = 10


def search_documents(call: Call) -> Mapping[str, object]:
    """`POST /v1/documents/search`."""
    body = call.body(DocumentSearchBody)
    call.caller.require_reach(body.chat_model_id)
    result = call.knowledge_base.search(
        SearchRequest(
            body.chat_model_id,
            body.query,
            limit=body.limit or DEFAULT_LIMIT,
            filters=parse_filter(body.filters),
        )
    )
    return DocumentSearchAnswer(success=True, documents=[found(hit) for hit in result.hits])


def query(call: Call) -> Mapping[str, object]:
    """`POST /v1/chat/query`."""
    body = call.body(QueryBody)
    call.caller.require_reach(body.chat_model_id)
    return answered(
        call.knowledge_base.answer(
            AnswerRequest(
                body.chat_model_id,
                body.query,
                filters=parse_filter(body.filters),
                max_tokens=body.options.max_tokens if body.options else None,
            )
        )
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/documents/search",
        name="smarttalkSearch",
        tag=TAG,
        summary="Retrieve documents",
        description="Documents that match, best first, with their best passages. `relevance` is "
        "the number of `POST /search`.",
        run=search_documents,
        answer=DocumentSearchAnswer,
        scopes=frozenset({READ}),
        body=DocumentSearchBody,
        examples=(
            Example(
                "The best ten",
                {"chatModelId": "kb_xyz789", "query": "password security", "limit": 10},
            ),
        ),
        errors=(404,),
        links=(Link("getDocument", "documentId", "/documents/0/id"),),
        rate_limit="60/minute",
    ),
    Operation(
        method="POST",
        path="/v1/chat/query",
        name="smarttalkQuery",
        tag=TAG,
        summary="Ask the knowledge base",
        description="Up to three sentences of the best documents, word for word, with the "
        "documents that they stand in; or a sentence that says that the base does not know, and "
        "no sources.",
        run=query,
        answer=QueryAnswer,
        scopes=frozenset({CHAT}),
        body=QueryBody,
        examples=(
            Example(
                "With options",
                {
                    "chatModelId": "kb_xyz789",
                    "query": "How do I reset my password?",
                    "options": {"maxTokens": 500, "temperature": 0.7},
                },
            ),
        ),
        errors=(404,),
        links=(Link("getDocument", "documentId", "/sources/0/documentId"),),
        rate_limit="60/minute",
    ),
)
