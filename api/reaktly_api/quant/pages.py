"""Putting pages in and taking them out."""

from collections.abc import Mapping, Sequence

from llamaindex_reaktly.domain import DocumentState, DocumentStatus, Receipt, SourceDocument
from llamaindex_reaktly.errors import (
    DocumentTooLarge,
    InvalidRequest,
    QuotaExceeded,
    ReaktlyError,
)
from reaktly_api.access import IMPORT
from reaktly_api.batches import NO_ROOM, own_name, read_document
from reaktly_api.envelopes import EveryItemRefused
from reaktly_api.operations import Call, Example, Operation, Wait, validate
from reaktly_api.quant.answers import DeletionAnswer, IngestAnswer, RefusedPage
from reaktly_api.quant.requests import (
    MAX_PAGES,
    DeletionBody,
    IngestedPage,
    PagesBody,
    PagesHead,
    WaitQuery,
)
from reaktly_api.quant.sites import OF_ORGANISATION, RATE_LIMIT, TAG, aliases, enter, site_of
from reaktly_api.reaktly.requests import MAX_URL_LENGTH

PROCESSING_FAILED = "processing_failed"


def ingest_pages(call: Call) -> Mapping[str, object] | Wait:
    """`POST …/pages`."""
    site = site_of(call)
    settings = call.house.settings
    wait = call.query(WaitQuery).wait
    head = validate(PagesHead, call.json())
    max_bytes = settings.max_document_bytes
    if len(head.pages) > MAX_PAGES:
        raise InvalidRequest(f"pages: holds more than {MAX_PAGES} pages", field="pages")
    accepted: list[SourceDocument] = []
    refused: list[RefusedPage] = []
    for index, raw in enumerate(head.pages):
        head.pages[index] = None  # given back one by one: 100 MB at once take their time
        try:
            page = read_document(IngestedPage, raw, f"pages[{index}]", max_bytes)
            accepted.append(page.document(site))
        except (InvalidRequest, DocumentTooLarge) as refusal:
            refused.append(_refusal(own_name(raw, "url", MAX_URL_LENGTH), refusal))
    if refused and not accepted:
        raise EveryItemRefused(refused, field="pages")
    enter(call, site, create=bool(accepted))
    answers = call.knowledge_base.submit_fitting(accepted) if accepted else ()
    receipts = [receipt for receipt in answers if receipt is not None]
    for document, receipt in zip(accepted, answers, strict=True):
        if receipt is None:
            refused.append(_refusal(document.url, QuotaExceeded(NO_ROOM)))
    changed = [receipt.document_id for receipt in receipts if not receipt.unchanged]

    def finish(statuses: Sequence[DocumentStatus]) -> IngestAnswer:
        return _answer(receipts, statuses, refused)

    if not changed:
        return finish(())
    return Wait(
        changed, finish, settings.quant_wait_seconds if wait else settings.quant_answer_seconds
    )


def delete_pages(call: Call) -> Mapping[str, object]:
    """`DELETE …/pages`."""
    site = site_of(call)
    body = call.body(DeletionBody)
    if body.names_nothing:
        raise InvalidRequest("body: needs url, urls or keys", field="body")
    enter(call, site)
    names = body.names(site)
    return DeletionAnswer(deleted=call.knowledge_base.delete(names) if names else 0)


def _refusal(url: str | None, error: ReaktlyError) -> RefusedPage:
    return RefusedPage(url=url, code=error.error_code.code, message=error.message)


def _answer(
    receipts: Sequence[Receipt],
    statuses: Sequence[DocumentStatus],
    refused: Sequence[RefusedPage],
) -> IngestAnswer:
    """Each page counted once, as its document stands; one sent twice counts twice."""
    by_id = {status.document_id: status for status in statuses}
    answer = IngestAnswer(processed=0, skipped=0, errors=list(refused), queued=0)
    for receipt in receipts:
        status = by_id.get(receipt.document_id)
        if receipt.unchanged:
            answer["skipped"] += 1
        elif status is None or status.state in (DocumentState.QUEUED, DocumentState.PROCESSING):
            answer["queued"] += 1
        elif status.state is DocumentState.FAILED:
            answer["errors"].append(
                RefusedPage(
                    url=receipt.key.external_id,
                    code=PROCESSING_FAILED,
                    message=status.error or "the page could not be processed",
                )
            )
        elif status.state is DocumentState.DELETED:  # meanwhile, by somebody
            answer["skipped"] += 1
        else:
            answer["processed"] += 1
    return answer


_PATH = "/sites/{siteId}/pages"
# The seed's own example.
_GUIDE = {
    "url": "https://example.com/docs/getting-started",
    "title": "Getting Started Guide",
    "content": "Welcome to our platform! This guide will help you get up and running...",
    "summary": "A beginner's guide to setting up and using the platform.",
    "tags": ["getting-started", "tutorial", "beginner"],
}

OPERATIONS = (
    Operation(
        method="POST",
        path=f"{OF_ORGANISATION}{_PATH}",
        aliases=aliases(_PATH),
        name="quantIngest",
        tag=TAG,
        summary="Ingest pages",
        description="At most 100 pages, each of 1 MB at most. A page that is known by its url "
        "replaces what was there, whatever its key; one that is known by its key alone moves to "
        "its new url. Neither leaves a moment in which no version is found. What is missing of "
        "title, summary and tags is taken from the page. Good pages are kept when others are "
        "refused; `errors` names those. When every page is refused the answer is 400 with that "
        "list. The first organisation that names a site has it.",
        run=ingest_pages,
        answer=IngestAnswer,
        scopes=frozenset({IMPORT}),
        body=PagesBody,
        query=WaitQuery,
        examples=(
            Example("A page with everything", {"pages": [_GUIDE]}),
            Example(
                "A page as a content management system sends it",
                {
                    "pages": [
                        {
                            "url": "/node/1",
                            "key": "node:1:en",
                            "content": "<h1>Opening hours</h1><p>From nine to six.</p>",
                            "contentType": "text/html",
                            "language": "en",
                            "metadata": {"section": "visit"},
                        }
                    ]
                },
            ),
        ),
        errors=(402, 404),
        rate_limit=RATE_LIMIT,
    ),
    Operation(
        method="DELETE",
        path=f"{OF_ORGANISATION}{_PATH}",
        aliases=aliases(_PATH),
        name="quantDelete",
        tag=TAG,
        summary="Delete pages",
        description="By `url`, `urls` or `keys`; each must match exactly. No search that starts "
        "after the answer finds them. Deleting what is not there is fine and counts 0.",
        run=delete_pages,
        answer=DeletionAnswer,
        scopes=frozenset({IMPORT}),
        body=DeletionBody,
        examples=(
            Example("By url", {"url": _GUIDE["url"]}),
            Example("By key", {"keys": ["node:1:en"]}),
        ),
        errors=(404,),
        rate_limit=RATE_LIMIT,
    ),
)
