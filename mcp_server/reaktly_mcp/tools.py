"""The tools. Each blocks in a thread of its own, but `ingest`, which waits and reports.

Docstrings are what a model reads: a first sentence that says when to use the tool.
"""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp_types import CallToolResult
from pydantic import BaseModel, Field

from llamaindex_reaktly.content.detection import detect_content_type
from llamaindex_reaktly.domain import (
    AnswerRequest,
    ContentType,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    SearchRequest,
    StoredContent,
)
from llamaindex_reaktly.errors import NotFound
from llamaindex_reaktly.filters import parse_filter
from reaktly_mcp import results
from reaktly_mcp.access import Access
from reaktly_mcp.documents import NO_CONTROLS, NOT_BLANK, DocumentInput
from reaktly_mcp.facade import Facade
from reaktly_mcp.untrusted import TITLES_NOTICE, Quotes, cut

# What a result of `search` may take of a model's context, and a snippet at most.
SEARCH_TOKENS = 5_000
SNIPPET_TOKENS = 500
FETCH_TOKENS = 6_000
MAX_DOCUMENTS = 100
MAX_QUERY_LENGTH = 10_000
# An ingestion waits so long for its documents, and tells how far it is so often.
WAIT_SECONDS = 60.0
REPORT_SECONDS = 1.0

# From this protocol on, a server asks by its result, and any transport will do.
FIRST_STATELESS_VERSION = "2026-07-28"

NO_FILTERS: dict[str, object] = {}  # pydantic copies it

SETTLED = frozenset({DocumentState.COMPLETED, DocumentState.FAILED, DocumentState.DELETED})

KnowledgeBaseName = Annotated[
    str,
    Field(
        max_length=256,
        pattern=NO_CONTROLS,
        description="Id of the knowledge base, as `list_knowledge_bases` shows it. "
        "May be left out where there is one, or a default.",
    ),
]
DocumentId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=NO_CONTROLS,
        description="The document's id (`doc_…`), as `search` or `list_documents` shows it.",
    ),
]
Query = Annotated[
    str,
    Field(
        max_length=MAX_QUERY_LENGTH,
        pattern=NOT_BLANK,
        description="A question or words, in the documents' language.",
    ),
]
Filters = Annotated[
    dict[str, object],
    Field(
        description='Only documents that match, such as {"tags": {"any": ["garden"]}} or '
        '{"sourceData.price": {"lte": 50}}. Fields: tags, url, language, sourceType, updatedAt, '
        "sourceData.NAME; operators: eq, ne, gt, gte, lt, lte, in, nin, contains, any, all, "
        "exists; and, or, not combine."
    ),
]
AnyContext = Context[object, object]


class Confirmation(BaseModel):
    """What a user is asked before a document is deleted."""

    delete: bool = Field(description="Delete it?", default=True)


class Tools:
    """The tools on one core, for whoever `access` says is calling."""

    def __init__(
        self, facade: Facade, access: Callable[[], Access], on_accepted: Callable[[], None]
    ) -> None:
        self._facade = facade
        self._access = access
        self._on_accepted = on_accepted

    # -- reading ---------------------------------------------------------------------

    def search(
        self,
        query: Query,
        knowledge_base: KnowledgeBaseName = "",
        limit: Annotated[int, Field(ge=1, le=50, description="Most documents.")] = 8,
        filters: Filters = NO_FILTERS,
        min_relevance: Annotated[
            float, Field(ge=0, le=1, description="Leave out what is less relevant.")
        ] = 0.0,
    ) -> Annotated[CallToolResult, results.SearchResults]:
        """Search the knowledge base. Gives titles, links and short passages, best first.

        Call `fetch` with an id to read the whole of a document.
        """
        request = SearchRequest(
            knowledge_base_id=self._access().choose(knowledge_base, self._facade),
            query=query,
            limit=limit,
            filters=parse_filter(filters),
            min_relevance=min_relevance,
        )
        hits = self._facade.search(request).hits
        quotes = Quotes()
        budget = min(SNIPPET_TOKENS, SEARCH_TOKENS // max(len(hits), 1))
        found = [
            results.found(
                hit, quotes.quote(cut(hit.passages[0].text, budget)) if hit.passages else ""
            )
            for hit in hits
        ]
        return results.result(results.SearchResults(notice=quotes.notice, results=found))

    def fetch(
        self,
        id: DocumentId,  # noqa: A002 - the name that ChatGPT's connectors prescribe
        offset: Annotated[
            int, Field(ge=0, description="Where to go on: `next_offset` of the part before.")
        ] = 0,
        max_tokens: Annotated[
            int, Field(ge=100, le=50_000, description="About how much of it to read.")
        ] = FETCH_TOKENS,
    ) -> Annotated[CallToolResult, results.Fetched]:
        """Read a document that a search found: its text, link and metadata.

        A long one comes in parts; `next_offset` says where the next begins, 0 that none does.
        """
        stored = self.document(id)
        text = self._readable(stored)
        part = cut(text[offset:], max_tokens)
        end = offset + len(part)
        document, status, quotes = stored.shown, stored.status, Quotes()
        return results.result(
            results.Fetched(
                id=id,
                title=document.title,
                text=quotes.quote(part),
                url=results.link(id, document.url),
                metadata={
                    "knowledge_base": document.key.knowledge_base_id,
                    "external_id": document.key.external_id,
                    "source_type": document.source_type.value,
                    "status": status.state.value,
                    "updated_at": status.updated_at.isoformat(timespec="seconds"),
                    "characters": len(text),
                    "summary": document.summary or "",
                    "tags": list(document.tags),
                    "sourceData": dict(document.attributes),
                },
                notice=quotes.notice,
                next_offset=end if end < len(text) else 0,
            )
        )

    def ask(
        self, question: Query, knowledge_base: KnowledgeBaseName = "", filters: Filters = NO_FILTERS
    ) -> Annotated[CallToolResult, results.Answered]:
        """Answer a question in the documents' own words, each cited; or say that they do not know.

        For anything that takes more than some sentences, `search` and `fetch`.
        """
        answer = self._facade.answer(
            AnswerRequest(
                knowledge_base_id=self._access().choose(knowledge_base, self._facade),
                question=question,
                filters=parse_filter(filters),
            )
        )
        quotes = Quotes()
        return results.result(
            results.Answered(
                answered=answer.answered,
                answer=quotes.quote(answer.marked_text),
                citations=[results.cited(one, quotes.quote(one.quote)) for one in answer.citations],
                notice=quotes.notice,
            )
        )

    def list_documents(
        self,
        knowledge_base: KnowledgeBaseName = "",
        cursor: Annotated[
            str, Field(max_length=2_048, description="`next_cursor` of the page before.")
        ] = "",
        limit: Annotated[int, Field(ge=1, le=100, description="Documents a page.")] = 25,
    ) -> Annotated[CallToolResult, results.Documents]:
        """List the documents of a knowledge base, with where each stands."""
        chosen = self._access().choose(knowledge_base, self._facade)
        known = {base.knowledge_base_id for base in self._facade.list_knowledge_bases()}
        if chosen not in known:
            raise NotFound(f"there is no knowledge base {chosen!r}")
        page = self._facade.list_documents(chosen, cursor=cursor or None, limit=limit)
        return results.result(
            results.Documents(
                notice=TITLES_NOTICE,
                documents=[results.listed(status) for status in page.items],
                next_cursor=page.next_cursor or "",
            )
        )

    def list_knowledge_bases(self) -> Annotated[CallToolResult, results.Bases]:
        """List the knowledge bases that can be searched."""
        return results.result(self.knowledge_bases())

    # -- writing ---------------------------------------------------------------------

    async def ingest(
        self,
        context: AnyContext,
        documents: Annotated[
            list[DocumentInput],
            Field(min_length=1, max_length=MAX_DOCUMENTS, description="One document, or many."),
        ],
        knowledge_base: KnowledgeBaseName = "",
        wait: Annotated[
            bool, Field(description="Wait until they are searchable, for a minute at most.")
        ] = True,
    ) -> Annotated[CallToolResult, results.Statuses]:
        """Put documents into the knowledge base, or replace them by newer versions.

        What is accepted is kept, whatever happens next, and searchable some seconds later.
        A document replaces the one with the same external_id, else url, else title.
        """
        access = self._access()
        chosen = await anyio.to_thread.run_sync(access.choose, knowledge_base, self._facade)
        ids = await anyio.to_thread.run_sync(self._submit, chosen, documents)
        statuses = await self._settle(context, ids, WAIT_SECONDS if wait else 0.0)
        return results.result(_report(statuses))

    def ingest_status(
        self,
        ids: Annotated[
            list[DocumentId],
            Field(min_length=1, max_length=MAX_DOCUMENTS, description="Ids that `ingest` gave."),
        ],
    ) -> Annotated[CallToolResult, results.Statuses]:
        """Tell whether ingested documents are searchable yet, or why they failed."""
        return results.result(_report([self.visible(one, deleted=True) for one in ids]))

    # -- what they share -------------------------------------------------------------

    def document(self, document_id: str) -> StoredContent:
        """A document within reach as it was accepted; `NotFound` if there is none."""
        self.visible(document_id)
        stored = self._facade.fetch(document_id)
        if stored is None:
            raise _unknown(document_id)
        return stored

    def visible(self, document_id: str, *, deleted: bool = False) -> DocumentStatus:
        """Where a document within reach stands; alike `NotFound` for others and for none."""
        status = self._facade.status(document_id)
        if (
            status is None
            or not self._access().reaches(status.key.knowledge_base_id)
            or (status.state is DocumentState.DELETED and not deleted)
        ):
            raise _unknown(document_id)
        return status

    def delete(self, document_id: str) -> None:
        """Delete a document within reach; `NotFound` if there is none."""
        self._facade.delete([self.visible(document_id).key])

    def knowledge_bases(self) -> results.Bases:
        """The knowledge bases within reach."""
        bases = self._access().visible(self._facade)
        return {
            "knowledge_bases": [{"id": one.knowledge_base_id, "name": one.name} for one in bases]
        }

    def _readable(self, stored: StoredContent) -> str:
        """A document's text: HTML as it was read, the rest as it was sent."""
        document = stored.document
        content_type = detect_content_type(document.content, document.content_type)
        if content_type is ContentType.HTML:
            passages = self._facade.passages(stored.status.document_id)
            if passages:
                return results.reading(passages)
        return document.content

    def _submit(self, chosen: str, documents: Sequence[DocumentInput]) -> list[str]:
        keyed = [(one, self._key(one, chosen)) for one in documents]
        receipts = self._facade.submit([one.document(key) for one, key in keyed])
        self._on_accepted()
        # The same document twice: the last wins, and is told of once.
        return list(dict.fromkeys(receipt.document_id for receipt in receipts))

    def _key(self, document: DocumentInput, chosen: str) -> DocumentKey:
        if document.document_id:
            return self.visible(document.document_id).key
        return document.key(chosen)

    async def _settle(
        self, context: AnyContext, ids: Sequence[str], seconds: float
    ) -> Sequence[DocumentStatus]:
        """Wait for documents, and tell how many are done, until all are or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, min(REPORT_SECONDS, deadline - time.monotonic()))
            begun = time.monotonic()
            statuses = await anyio.to_thread.run_sync(self._facade.wait_until_settled, ids, left)
            done = sum(status.state in SETTLED for status in statuses)
            await context.report_progress(done, len(ids), f"{done} of {len(ids)} are searchable")
            # One that comes back early has been let go: the server is about to stop.
            was_let_go = time.monotonic() - begun < left / 2
            if done == len(ids) or was_let_go or time.monotonic() >= deadline:
                return statuses


def deletion(tools: Tools) -> Callable[..., CallToolResult]:
    """The tool that deletes. It asks the user first, where the client can be asked."""

    def ask(context: AnyContext, id: str) -> Elicit[Confirmation] | Confirmation:  # noqa: A002
        status = tools.visible(id)
        if not _can_ask(context):
            return Confirmation()
        base = status.key.knowledge_base_id
        return Elicit(f"Delete {status.title!r} from the knowledge base {base!r}?", Confirmation)

    def delete_document(
        id: DocumentId,  # noqa: A002 - as `fetch` has it
        confirmation: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    ) -> Annotated[CallToolResult, results.Deleted]:
        """Delete a document for good; no search finds it from then on."""
        wanted = isinstance(confirmation, AcceptedElicitation) and confirmation.data.delete
        if wanted:
            tools.delete(id)
        return results.result(results.Deleted(id=id, deleted=wanted))

    return delete_document


def _can_ask(context: AnyContext) -> bool:
    """Whether the client shows forms, and the transport has a way for the question."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    version = context.protocol_version or ""
    return version >= FIRST_STATELESS_VERSION or context.session.can_send_request


def _report(statuses: Sequence[DocumentStatus]) -> results.Statuses:
    states = {status.state for status in statuses}
    if DocumentState.FAILED in states:
        advice = "Correct what failed, for the reason given, and ingest it again."
    elif states - SETTLED:
        advice = "All are kept. Ask `ingest_status` in a while whether they are searchable."
    else:
        advice = "Nothing is left to do."
    return {"documents": [results.stored(status) for status in statuses], "advice": advice}


def _unknown(document_id: str) -> NotFound:
    return NotFound(f"there is no document {document_id!r}; `search` and `list_documents` give ids")
