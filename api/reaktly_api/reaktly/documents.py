"""Reading what was accepted: `/documents`."""

from collections.abc import Mapping

from llamaindex_reaktly.domain import DocumentState, DocumentStatus
from llamaindex_reaktly.errors import NotFound
from reaktly_api.access import READ
from reaktly_api.operations import Call, Link, Operation
from reaktly_api.reaktly.answers import (
    Document,
    Documents,
    Passages,
    document,
    document_entry,
    passage,
)
from reaktly_api.reaktly.ingest import require_knowledge_base
from reaktly_api.reaktly.requests import DocumentsQuery

TAG = "Documents"


def list_documents(call: Call) -> Mapping[str, object]:
    """`GET /documents`."""
    query = call.query(DocumentsQuery)
    if query.knowledge_base_id is not None:
        call.caller.require_reach(query.knowledge_base_id)
        require_knowledge_base(call, query.knowledge_base_id)
    page = call.knowledge_base.list_documents(
        query.knowledge_base_id,
        knowledge_base_ids=call.caller.reach,
        cursor=query.cursor,
        limit=query.limit,
    )
    return Documents(
        documents=[document_entry(status) for status in page.items], nextCursor=page.next_cursor
    )


def get_document(call: Call) -> Mapping[str, object]:
    """`GET /documents/{documentId}`."""
    document_id = call.path_parameters["documentId"]
    stored = call.knowledge_base.fetch(document_id)
    _require_visible(call, None if stored is None else stored.status)
    assert stored is not None, "what is visible was fetched"
    return document(stored)


def get_passages(call: Call) -> Mapping[str, object]:
    """`GET /documents/{documentId}/passages`."""
    document_id = call.path_parameters["documentId"]
    _require_visible(call, call.knowledge_base.status(document_id))
    return Passages(
        documentId=document_id,
        passages=[passage(p) for p in call.knowledge_base.passages(document_id)],
    )


def _require_visible(call: Call, status: DocumentStatus | None) -> None:
    """Raise `NotFound` alike for what is not there, is deleted, or is out of reach."""
    if (
        status is None
        or status.state is DocumentState.DELETED
        or not call.caller.reaches(status.key.knowledge_base_id)
    ):
        raise NotFound("there is no such document")


_READ = frozenset({READ})

OPERATIONS = (
    Operation(
        method="GET",
        path="/documents",
        name="listDocuments",
        tag=TAG,
        summary="List documents",
        description="Every document within reach that is not deleted.",
        run=list_documents,
        answer=Documents,
        scopes=_READ,
        query=DocumentsQuery,
        errors=(404,),
        links=(
            Link("getDocument", "documentId", "/documents/0/documentId"),
            Link("getPassages", "documentId", "/documents/0/documentId"),
        ),
    ),
    Operation(
        method="GET",
        path="/documents/{documentId}",
        name="getDocument",
        tag=TAG,
        summary="Read a document",
        description="Its content and metadata as they were accepted, and where it stands.",
        run=get_document,
        answer=Document,
        scopes=_READ,
    ),
    Operation(
        method="GET",
        path="/documents/{documentId}/passages",
        name="getPassages",
        tag=TAG,
        summary="Read a document's passages",
        description="The passages that are searched, in reading order.",
        run=get_passages,
        answer=Passages,
        scopes=_READ,
    ),
)
