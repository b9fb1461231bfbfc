"""Putting items in and taking them out: `/ingest` and `/ingest/bulk`."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import ValidationError

from llamaindex_reaktly.domain import DocumentStatus, Receipt, SourceDocument
from llamaindex_reaktly.errors import InvalidRequest, QuotaExceeded, TooLarge, UnknownKnowledgeBase
from reaktly_api.access import IMPORT
from reaktly_api.batches import NO_ROOM, own_name
from reaktly_api.envelopes import EveryItemRefused, RefusedItem
from reaktly_api.operations import Call, Example, Link, Operation, Wait, describe
from reaktly_api.reaktly.answers import Deleted, Ingested, IngestedBatch, overall
from reaktly_api.reaktly.requests import (
    MAX_ID_LENGTH,
    DeleteBatch,
    DocumentReference,
    IngestBatch,
    IngestItem,
    WaitQuery,
)

TAG = "Ingestion"
R = TypeVar("R", bound=DocumentReference)


def ingest(call: Call) -> Mapping[str, object] | Wait:
    """`POST /ingest`."""
    wait = call.query(WaitQuery).wait
    item = call.body(IngestItem)
    call.caller.require_reach(item.knowledge_base_id)
    receipts = call.knowledge_base.submit([item.document()])
    job_id = item.job_id
    if not wait:
        return Ingested(status="queued", jobId=job_id)

    def finish(statuses: Sequence[DocumentStatus]) -> Ingested:
        if not statuses:
            return Ingested(status="queued", jobId=job_id)
        return Ingested(status=statuses[0].state.value, jobId=job_id, error=statuses[0].error)

    return Wait([receipts[0].document_id], finish)


def ingest_bulk(call: Call) -> Mapping[str, object] | Wait:
    """`POST /ingest/bulk`."""
    wait = call.query(WaitQuery).wait
    batch = _Batch(call, IngestItem)
    receipts = _submit(call, batch)
    accepted = batch.accepted_or_refuse()
    count = len(accepted)
    seconds = math.ceil(call.knowledge_base.estimate_seconds(count)) if count else 0
    answer = IngestedBatch(
        status="queued",
        jobCount=count,
        estimatedTime=f"{seconds}s",
        jobIds=[item.job_id for item in accepted],
    )
    if batch.refused:
        answer["errors"] = batch.refused
    if not wait or not receipts:
        return answer

    def finish(statuses: Sequence[DocumentStatus]) -> IngestedBatch:
        answer["status"] = overall(statuses)
        answer["completed"] = sum(status.state == "completed" for status in statuses)
        answer["failed"] = sum(status.state == "failed" for status in statuses)
        return answer

    return Wait([receipt.document_id for receipt in receipts], finish)


def delete(call: Call) -> Mapping[str, object]:
    """`DELETE /ingest`."""
    reference = call.body(DocumentReference)
    call.caller.require_reach(reference.knowledge_base_id)
    require_knowledge_base(call, reference.knowledge_base_id)
    return Deleted(status="deleted", deleted=call.knowledge_base.delete([reference.key]))


def delete_bulk(call: Call) -> Mapping[str, object]:
    """`DELETE /ingest/bulk`."""
    batch = _Batch(call, DocumentReference)
    exists = {
        base: call.knowledge_base.knowledge_base_exists(base)
        for base in {item.knowledge_base_id for item in batch.accepted.values()}
    }
    batch.refuse(lambda item: None if exists[item.knowledge_base_id] else _unknown(item))
    accepted = batch.accepted_or_refuse()
    deleted = call.knowledge_base.delete([item.key for item in accepted]) if accepted else 0
    answer = Deleted(status="deleted", deleted=deleted)
    if batch.refused:
        answer["errors"] = batch.refused
    return answer


def require_knowledge_base(call: Call, knowledge_base_id: str) -> None:
    """Raise `UnknownKnowledgeBase` for one that nobody made."""
    if not call.knowledge_base.knowledge_base_exists(knowledge_base_id):
        raise UnknownKnowledgeBase(knowledge_base_id)


def _unknown(item: DocumentReference) -> str:
    return f"knowledgeBaseId: there is no knowledge base {item.knowledge_base_id!r}"


def _submit(call: Call, batch: "_Batch[IngestItem]") -> Sequence[Receipt]:
    """One durable write for the batch, or one a knowledge base when some base is missing.

    Raises `QuotaExceeded` where nothing has room.
    """
    documents = {index: item.document() for index, item in batch.accepted.items()}
    if not documents:
        return []
    try:
        receipts = _submit_some(call, documents)
    except UnknownKnowledgeBase:
        receipts = _submit_by_base(call, batch, documents)
    for index, receipt in receipts.items():
        if receipt is None:
            batch.refuse_at(index, f"knowledgeBaseId: {NO_ROOM}")
    return [receipt for receipt in receipts.values() if receipt is not None]


def _submit_some(call: Call, documents: Mapping[int, SourceDocument]) -> dict[int, Receipt | None]:
    receipts = call.knowledge_base.submit_fitting(list(documents.values()))
    return dict(zip(documents, receipts, strict=True))


def _submit_by_base(
    call: Call, batch: "_Batch[IngestItem]", documents: Mapping[int, SourceDocument]
) -> dict[int, Receipt | None]:
    bases: dict[str, dict[int, SourceDocument]] = {}
    for index, document in documents.items():
        bases.setdefault(document.key.knowledge_base_id, {})[index] = document
    receipts: dict[int, Receipt | None] = {}
    missing: set[str] = set()
    for base, members in bases.items():
        try:
            receipts |= _submit_some(call, members)
        except UnknownKnowledgeBase:
            missing.add(base)
        except QuotaExceeded:
            receipts |= dict.fromkeys(members)
    batch.refuse(lambda item: _unknown(item) if item.knowledge_base_id in missing else None)
    return receipts


class _Batch(Generic[R]):
    """The items of a bulk request, each validated and authorised on its own."""

    def __init__(self, call: Call, model: type[R]) -> None:
        items = call.json().get("items")
        if not isinstance(items, list):
            raise InvalidRequest("items: must be a list", field="items")
        limit = call.house.settings.max_bulk_items
        if len(items) > limit:
            raise TooLarge(f"items: holds more than {limit} items")
        self.accepted: dict[int, R] = {}
        self.refused: list[RefusedItem] = []
        for index, raw in enumerate(items):
            items[index] = None  # given back one by one: 10,000 at once take their time
            try:
                self.accepted[index] = model.model_validate(raw)
            except ValidationError as error:
                self._refuse(index, own_name(raw, "externalId", MAX_ID_LENGTH), describe(error)[1])
        reaches = functools.cache(call.caller.reaches)
        self.refuse(
            lambda item: (
                None
                if reaches(item.knowledge_base_id)
                else "knowledgeBaseId: this API key does not reach the knowledge base"
            )
        )

    def refuse(self, reason: Callable[[R], str | None]) -> None:
        """Move the items that `reason` names a reason for to the refused ones."""
        for index, item in list(self.accepted.items()):
            why = reason(item)
            if why is not None:
                self.refuse_at(index, why)

    def refuse_at(self, index: int, why: str) -> None:
        """Move one accepted item to the refused ones."""
        self._refuse(index, self.accepted.pop(index).external_id, why)

    def accepted_or_refuse(self) -> list[R]:
        """The accepted items, in order. Raises `EveryItemRefused` when only refused ones exist."""
        self.refused.sort(key=lambda refused: refused["index"])
        if self.refused and not self.accepted:
            raise EveryItemRefused(self.refused)
        return list(self.accepted.values())

    def _refuse(self, index: int, external_id: str | None, message: str) -> None:
        self.refused.append({"index": index, "externalId": external_id, "message": message})


_REFERENCE = {
    "integrationId": "int_abc123",
    "knowledgeBaseId": "kb_xyz789",
    "externalId": "blog-post-42",
}
# Seed 000's own example.
_ARTICLE = {
    **_REFERENCE,
    "sourceType": "ARTICLE",
    "data": {
        "title": "How to Use Our Product",
        "content": "This comprehensive guide walks you through...",
        "url": "https://your-site.com/blog/how-to-use",
        "hash": "a1b2c3d4e5f6",
    },
}
_PRODUCT = {
    **_REFERENCE,
    "externalId": "sku-1001",
    "sourceType": "PRODUCT",
    "data": {
        "title": "Copper watering can",
        "content": "<p>Holds 1.5 litres. The long spout reaches the back row.</p>",
        "contentType": "text/html",
        "sourceData": {"price": 39.9, "currency": "EUR", "sku": "1001", "tags": ["garden"]},
    },
    "options": {"forceRefresh": True, "priority": "high"},
}

OPERATIONS = (
    Operation(
        method="POST",
        path="/ingest",
        name="ingest",
        tag=TAG,
        summary="Put one item into a knowledge base",
        description="The item is durable when the answer comes, and searchable soon after: see "
        "the job. An item with the same ids replaces the one before, without a moment in which "
        "neither is found.",
        run=ingest,
        answer=Ingested,
        scopes=frozenset({IMPORT}),
        body=IngestItem,
        query=WaitQuery,
        examples=(Example("An article", _ARTICLE), Example("A product, at once", _PRODUCT)),
        errors=(402, 404),
        links=(Link("getJob", "jobId", "/jobId"),),
    ),
    Operation(
        method="POST",
        path="/ingest/bulk",
        name="ingestBulk",
        tag=TAG,
        summary="Put many items into knowledge bases",
        description="At most 10,000 items. Good items are kept when others are refused; "
        "`errors` names those. When every item is refused the answer is 400 with that list. "
        "Of two items with the same ids the later one counts.",
        run=ingest_bulk,
        answer=IngestedBatch,
        scopes=frozenset({IMPORT}),
        body=IngestBatch,
        query=WaitQuery,
        examples=(Example("Two items", {"items": [_ARTICLE, _PRODUCT]}),),
        errors=(402,),
        links=(Link("getJob", "jobId", "/jobIds/0"),),
    ),
    Operation(
        method="DELETE",
        path="/ingest",
        name="delete",
        tag=TAG,
        summary="Delete one document",
        description="No search that starts after the answer finds it. Deleting what is not "
        "there is fine and counts 0.",
        run=delete,
        answer=Deleted,
        scopes=frozenset({IMPORT}),
        body=DocumentReference,
        examples=(Example("By its ids", _REFERENCE),),
        errors=(404,),
    ),
    Operation(
        method="DELETE",
        path="/ingest/bulk",
        name="deleteBulk",
        tag=TAG,
        summary="Delete many documents",
        description="At most 10,000. Refused items are named as in the bulk import.",
        run=delete_bulk,
        answer=Deleted,
        scopes=frozenset({IMPORT}),
        body=DeleteBatch,
        examples=(
            Example(
                "Two documents", {"items": [_REFERENCE, {**_REFERENCE, "externalId": "sku-1001"}]}
            ),
        ),
    ),
)
