"""`reaktly delete`, `status`, `retry` and `rebuild`: documents after they were accepted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.knowledge_bases import STATE_NAMES
from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.output import (
    print_json,
    print_line,
    print_table,
    shorten,
    show_duration,
)
from llamaindex_reaktly.cli.parameters import (
    AsJson,
    KnowledgeBaseId,
    OptionalKnowledgeBaseId,
    opaque_id,
    opaque_ids,
)
from llamaindex_reaktly.domain import DocumentKey, DocumentState, DocumentStatus
from llamaindex_reaktly.errors import NotFound

if TYPE_CHECKING:
    from llamaindex_reaktly.knowledge_base import KnowledgeBase

PAGE = 500
# Failures that a person is shown; `--json` has all of them.
FAILURES_SHOWN = 20
NEEDS_WORKER = "done when a worker has got to it: one of `reaktly serve`, or `reaktly worker`"


def delete(
    knowledge_base_id: KnowledgeBaseId,
    source: Annotated[str, typer.Option(help="Integration id.", callback=opaque_id)],
    external_id: Annotated[
        list[str] | None,
        typer.Option(
            "--id",
            help="External id of a document, may be repeated; without it, all of the source.",
            callback=opaque_ids,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents; no search finds them from then on."""
    with open_knowledge_base() as knowledge_base:
        from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

        knowledge_base.registry.knowledge_bases.get(knowledge_base_id)
        place = INTEGRATION_PREFIX + source
        if external_id:
            keys = [DocumentKey(knowledge_base_id, place, one) for one in external_id]
            deleted = knowledge_base.delete(keys)
        else:
            deleted = knowledge_base.delete_source(knowledge_base_id, place)
    if as_json:
        print_json({"status": "deleted", "deleted": deleted})
    else:
        print_line(f"{deleted} deleted")


def status(knowledge_base_id: OptionalKnowledgeBaseId = None, as_json: AsJson = False) -> None:
    """Count documents by state; show what failed and why, and what waits and for what."""
    with open_knowledge_base() as knowledge_base:
        registry = knowledge_base.registry
        if knowledge_base_id is None:
            ids = [info.knowledge_base_id for info in registry.knowledge_bases.all()]
        else:
            ids = [registry.knowledge_bases.get(knowledge_base_id).knowledge_base_id]
        states = {one: registry.queue.state(one) for one in ids}
        failed = list(_all(knowledge_base, knowledge_base_id, DocumentState.FAILED))
        # A queued document carries a reason while the store or the model is away.
        queued = knowledge_base.list_documents(
            knowledge_base_id, state=DocumentState.QUEUED, limit=PAGE
        ).items
        reasons = sorted({document.error for document in queued if document.error})
    if as_json:
        print_json(
            {
                "knowledgeBases": [
                    {
                        "knowledgeBaseId": one,
                        "documents": {state.value: it.documents[state] for state in DocumentState},
                        "oldestWaitingSeconds": round(it.oldest_seconds, 1),
                    }
                    for one, it in states.items()
                ],
                "failed": [_failure_as_json(document) for document in failed],
                "waitingBecause": reasons,
            }
        )
        return
    if not states:
        print_line("There is no knowledge base yet; `reaktly kb create ID` makes one.")
        return
    print_table(
        ("KNOWLEDGE BASE", *(name.upper() for name in STATE_NAMES.values())),
        [(one, *(it.documents[state] for state in STATE_NAMES)) for one, it in states.items()],
    )
    oldest = max(it.oldest_seconds for it in states.values())
    if oldest:
        print_line(f"The oldest waiting document has waited for {show_duration(oldest)}.")
    for reason in reasons:
        print_line(f"Waiting because: {reason}")
    _print_failures(failed)


def retry(
    knowledge_base_id: OptionalKnowledgeBaseId = None,
    document_id: Annotated[
        list[str] | None,
        typer.Option("--id", help="Id (doc_…) of a failed document; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try failed documents again: all of them, or those named."""
    with open_knowledge_base() as knowledge_base:
        if knowledge_base_id is not None:
            knowledge_base.registry.knowledge_bases.get(knowledge_base_id)
        for one in document_id or ():
            status = knowledge_base.status(one)
            if status is None or knowledge_base_id not in (None, status.key.knowledge_base_id):
                raise NotFound(f"there is no document {one!r}")
        if document_id:
            for one in document_id:
                knowledge_base.retry(one)
            retried = len(document_id)
        else:
            retried = knowledge_base.retry_failed(knowledge_base_id)
    if as_json:
        print_json({"queued": retried})
    else:
        print_line(f"{retried} queued again" + (f"; {NEEDS_WORKER}" if retried else ""))


def rebuild(knowledge_base_id: OptionalKnowledgeBaseId = None, as_json: AsJson = False) -> None:
    """Drop the index and make it again from what was accepted."""
    with open_knowledge_base() as knowledge_base:
        if knowledge_base_id is None:
            bases = knowledge_base.registry.knowledge_bases.all()
            ids = [info.knowledge_base_id for info in bases]
        else:
            ids = [knowledge_base_id]
        queued = {one: knowledge_base.rebuild(one) for one in ids}
    if as_json:
        print_json(
            {
                "knowledgeBases": [
                    {"knowledgeBaseId": one, "queued": number} for one, number in queued.items()
                ]
            }
        )
        return
    for one, number in queued.items():
        print_line(f"{one}: {number} queued; {NEEDS_WORKER}")


def _all(
    knowledge_base: "KnowledgeBase", knowledge_base_id: str | None, state: DocumentState
) -> Iterator[DocumentStatus]:
    cursor: str | None = None
    while True:
        page = knowledge_base.list_documents(
            knowledge_base_id, state=state, cursor=cursor, limit=PAGE
        )
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _print_failures(failed: list[DocumentStatus]) -> None:
    if not failed:
        return
    print_line("")
    print_line("Failed (`reaktly retry` tries them again):")
    for document in failed[:FAILURES_SHOWN]:
        name = f"{document.key.knowledge_base_id}  {document.key.external_id}"
        print_line(f"  {document.document_id}  {name}  {shorten(document.title, 60)}")
        print_line(f"      {document.error}")
    if len(failed) > FAILURES_SHOWN:
        print_line(f"  and {len(failed) - FAILURES_SHOWN} more; --json lists all")


def _failure_as_json(document: DocumentStatus) -> dict[str, object]:
    from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

    return {
        "documentId": document.document_id,
        "knowledgeBaseId": document.key.knowledge_base_id,
        "integrationId": document.key.source.removeprefix(INTEGRATION_PREFIX),
        "externalId": document.key.external_id,
        "title": document.title,
        "error": document.error,
        "attempts": document.attempts,
        "finishedAt": document.finished_at,
    }
