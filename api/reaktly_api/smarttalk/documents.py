"""Putting documents in and taking them out: `/v1/documents`."""

from collections.abc import Mapping, Sequence

from llamaindex_reaktly.domain import Choice, DocumentKey, DocumentState, Receipt, SourceDocument
from llamaindex_reaktly.errors import (
    DocumentTooLarge,
    InvalidRequest,
    QuotaExceeded,
    ReaktlyError,
)
from reaktly_api.access import IMPORT
from reaktly_api.batches import NO_ROOM, own_name, read_document
from reaktly_api.envelopes import EveryItemRefused, smarttalk
from reaktly_api.operations import Call, Example, Link, Operation, validate
from reaktly_api.reaktly.ingest import require_knowledge_base
from reaktly_api.reaktly.requests import MAX_TITLE_LENGTH
from reaktly_api.smarttalk.answers import DocumentDeleteAnswer, ImportAnswer, Imported
from reaktly_api.smarttalk.requests import (
    MAX_DOCUMENTS,
    SOURCE,
    DocumentDeleteBody,
    ImportBody,
    ImportedDocument,
    ImportHead,
    own_id,
)

TAG = "AI SmartTalk"


def import_documents(call: Call) -> Mapping[str, object]:
    """`POST /v1/documents/import`."""
    head = validate(ImportHead, call.json())
    call.caller.require_reach(head.chat_model_id)
    if len(head.documents) > MAX_DOCUMENTS:
        raise InvalidRequest(
            f"documents: holds more than {MAX_DOCUMENTS} documents", field="documents"
        )
    max_bytes = call.house.settings.max_document_bytes
    entries: list[Imported] = []
    accepted: dict[int, SourceDocument] = {}
    refusals: list[ReaktlyError] = []
    for index, raw in enumerate(head.documents):
        head.documents[index] = None  # given back one by one: 100 MB at once take their time
        try:
            document = read_document(ImportedDocument, raw, f"documents[{index}]", max_bytes)
        except (InvalidRequest, DocumentTooLarge) as refusal:
            refusals.append(refusal)
            entries.append(
                Imported(
                    id=None,
                    title=own_name(raw, "title", MAX_TITLE_LENGTH),
                    status="failed",
                    error=smarttalk(refusal)["error"],
                )
            )
            continue
        accepted[index] = document.document(head.chat_model_id)
        entries.append(Imported(id=None, title=document.title, status="processing"))
    if refusals and not accepted:
        if all(isinstance(refusal, DocumentTooLarge) for refusal in refusals):
            raise refusals[0]
        raise EveryItemRefused(entries, field="documents")
    imported = 0
    if accepted:
        answers = call.knowledge_base.submit_fitting(list(accepted.values()))
        receipts = [receipt for receipt in answers if receipt is not None]
        settled = _completed(call, receipts)
        for index, receipt in zip(accepted, answers, strict=True):
            entry = entries[index]
            if receipt is None:
                entry["status"] = "failed"
                entry["error"] = smarttalk(QuotaExceeded(f"documents[{index}]: {NO_ROOM}"))["error"]
            else:
                entry["id"] = receipt.document_id
                if receipt.document_id in settled:
                    entry["status"] = "completed"
        imported = len(receipts)
    else:
        require_knowledge_base(call, head.chat_model_id)
    return ImportAnswer(success=True, imported=imported, documents=entries)


def delete_documents(call: Call) -> Mapping[str, object]:
    """`DELETE /v1/documents`."""
    body = call.body(DocumentDeleteBody)
    base = body.chat_model_id
    call.caller.require_reach(base)
    require_knowledge_base(call, base)
    ids = set(body.ids or ())
    own = {DocumentKey(base, SOURCE, own_id(name)).document_id for name in ids}
    deleted = call.knowledge_base.delete_chosen(
        Choice(
            base,
            document_ids=frozenset(ids | own),
            source=SOURCE,
            urls=frozenset(body.urls or ()),
            titles=frozenset(body.titles or ()),
        )
    )
    return DocumentDeleteAnswer(success=True, deleted=deleted)


def _completed(call: Call, receipts: Sequence[Receipt]) -> set[str]:
    """The documents that nothing was to be done for, and that can be found already."""
    unchanged = [receipt.document_id for receipt in receipts if receipt.unchanged]
    if not unchanged:
        return set()
    statuses = call.knowledge_base.wait_until_settled(unchanged, 0.0)
    return {s.document_id for s in statuses if s.state is DocumentState.COMPLETED}


_MODEL = {"chatModelId": "kb_xyz789"}
# The seed's own example.
_GUIDE = {
    "title": "Getting Started Guide",
    "content": "Welcome to our platform. Here is how to get started...",
    "url": "https://docs.example.com/getting-started",
}

OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/documents/import",
        name="smarttalkImport",
        tag=TAG,
        summary="Import documents",
        description="At most 100 documents, each of 1 MB at most. A document of the same title "
        "and url (or of the same `id`, where you send one) replaces the one before, without a "
        "moment in which neither is found. Good documents are kept when others are refused; "
        "those have the status `failed`. When every document is refused the answer is an error.",
        run=import_documents,
        answer=ImportAnswer,
        scopes=frozenset({IMPORT}),
        body=ImportBody,
        examples=(
            Example("One document", {**_MODEL, "documents": [_GUIDE]}),
            Example(
                "With metadata, and without a url",
                {
                    **_MODEL,
                    "documents": [
                        {
                            "title": "FAQ: Shipping",
                            "content": "We offer free shipping on orders over $50...",
                            "url": None,
                            "metadata": {"category": "documentation", "language": "en"},
                        }
                    ],
                },
            ),
        ),
        errors=(402, 404),
        links=(Link("getDocument", "documentId", "/documents/0/id"),),
        rate_limit="100/minute",
    ),
    Operation(
        method="DELETE",
        path="/v1/documents",
        name="smarttalkDelete",
        tag=TAG,
        summary="Delete documents",
        description="By `ids`, `urls` or `titles`. No search that starts after the answer finds "
        "them. Deleting what is not there is fine and counts 0.",
        run=delete_documents,
        answer=DocumentDeleteAnswer,
        scopes=frozenset({IMPORT}),
        body=DocumentDeleteBody,
        examples=(
            Example("By url", {**_MODEL, "urls": [_GUIDE["url"]]}),
            Example("By title", {**_MODEL, "titles": [_GUIDE["title"]]}),
        ),
        errors=(404,),
    ),
)
