"""`reaktly delete`, `retry` and `rebuild`: documents after they were accepted."""

from typing import Annotated

import typer

from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.output import (
    print_json,
    print_line,
)
from llamaindex_reaktly.cli.parameters import (
    AsJson,
    KnowledgeBaseId,
    OptionalKnowledgeBaseId,
    opaque_id,
    opaque_ids,
)
from llamaindex_reaktly.domain import DocumentKey
from llamaindex_reaktly.errors import NotFound

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


def rebuild(
    knowledge_base_id: OptionalKnowledgeBaseId = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over", help="Also where all of it was indexed elsewhere, which is given up."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the index and make it again from what was accepted."""
    if take_over and knowledge_base_id is not None:
        raise typer.BadParameter("goes with all knowledge bases, not with one")
    with open_knowledge_base(take_over=take_over) as knowledge_base:
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
