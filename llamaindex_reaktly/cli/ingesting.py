"""`reaktly ingest`: files and folders into a knowledge base."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.files import FoundFile, find_files, read_document
from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.output import print_json, print_line, progress_bar
from llamaindex_reaktly.cli.parameters import AsJson, KnowledgeBaseId, opaque_id
from llamaindex_reaktly.domain import (
    DocumentState,
    DocumentStatus,
    Receipt,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.errors import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from llamaindex_reaktly.knowledge_base import KnowledgeBase

# One commit takes so many files, or so many characters, whichever comes first.
BATCH_DOCUMENTS = 100
BATCH_CHARACTERS = 8_000_000
# How often a waiter looks whether anything new is to be said.
LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Report:
    receipts: list[Receipt] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def ingest(
    knowledge_base_id: KnowledgeBaseId,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files (.md, .txt, .html, .htm) and folders."),
    ],
    source: Annotated[
        str,
        typer.Option(help="Integration id that the files go under.", callback=opaque_id),
    ] = "files",
    source_type: Annotated[
        SourceType, typer.Option(help="What the files describe.", case_sensitive=False)
    ] = SourceType.PAGE,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when all of them are searchable.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put files into a knowledge base; a file's id is its path in the folder given."""
    try:
        files = find_files(paths)
    except InvalidRequest as error:
        raise typer.BadParameter(error.message, param_hint="PATH") from None
    with open_knowledge_base() as knowledge_base:
        if wait:
            _require_embedder(knowledge_base, knowledge_base_id)
        report = _Report()
        with progress_bar("reading", len(files)) as show:
            for batch in _batches(
                knowledge_base, knowledge_base_id, files, report, source, source_type
            ):
                receipts = knowledge_base.submit(batch)
                report.receipts.extend(receipts)
                if not as_json:
                    for receipt in receipts:
                        print_line(f"{_word(receipt):10} {receipt.key.external_id}")
                show(len(report.receipts))
        for place, reason in report.refused:
            print_line(f"refused    {place}: {reason}", err=True)
        ids = [receipt.document_id for receipt in report.receipts]
        statuses = _wait_until_searchable(knowledge_base, ids) if wait and ids else None
    failed = [s for s in statuses or () if s.state is DocumentState.FAILED]
    for status in failed:
        print_line(f"failed     {status.key.external_id}: {status.error}", err=True)
    if as_json:
        print_json(_as_json(knowledge_base_id, report, statuses))
    else:
        print_line(_summary(report, statuses))
    if report.refused or failed:
        raise typer.Exit(1)


def _batches(
    knowledge_base: "KnowledgeBase",
    knowledge_base_id: str,
    files: list[FoundFile],
    report: _Report,
    source: str,
    source_type: SourceType,
) -> Iterator[list[SourceDocument]]:
    from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

    batch: list[SourceDocument] = []
    characters = 0
    for file in files:
        try:
            document = read_document(
                file,
                knowledge_base_id=knowledge_base_id,
                source=INTEGRATION_PREFIX + source,
                source_type=source_type,
                max_bytes=knowledge_base.settings.max_body_bytes,
            )
        except InvalidRequest as error:
            report.refused.append((str(file.path), error.message))
            continue
        except OSError as error:
            report.refused.append((str(file.path), error.strerror or type(error).__name__))
            continue
        if document is None:
            report.empty.append(file.external_id)
            continue
        batch.append(document)
        characters += len(document.content)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _require_embedder(knowledge_base: "KnowledgeBase", knowledge_base_id: str) -> None:
    """Fail now rather than wait for what cannot happen: a base without its model."""
    info = knowledge_base.registry.knowledge_bases.find(knowledge_base_id)
    knowledge_base.embedder(knowledge_base.settings.embedder if info is None else info.embedder)


def _wait_until_searchable(
    knowledge_base: "KnowledgeBase", document_ids: list[str]
) -> list[DocumentStatus]:
    from llamaindex_reaktly.knowledge_base import SETTLED_STATES

    said: str | None = None
    with (
        _somebody_working(knowledge_base) as is_hopeless,
        progress_bar("indexing", len(document_ids)) as show,
    ):
        while True:
            statuses = knowledge_base.wait_until_settled(document_ids, LOOK_SECONDS)
            waiting = [s for s in statuses if s.state not in SETTLED_STATES]
            show(len(statuses) - len(waiting))
            if not waiting:
                return statuses
            if is_hopeless():
                raise Unavailable(
                    f"{len(waiting)} documents are queued, but the worker keeps ending; "
                    "run `reaktly doctor`"
                )
            reason = next((status.error for status in waiting if status.error), None)
            if reason is not None and reason != said:
                said = reason
                print_line(f"waiting: {reason}", err=True)


@contextmanager
def _somebody_working(knowledge_base: "KnowledgeBase") -> Iterator[Callable[[], bool]]:
    """A worker of our own for as long as we wait, unless one is at work already.

    Gives a function that tells whether to wait on is in vain.
    """
    # Ringing forgets the listeners that are dead; those left are alive.
    knowledge_base.work_bell.ring()
    if knowledge_base.work_bell.has_listeners():
        yield lambda: False
        return
    from llamaindex_reaktly.cli.supervision import RestartPolicy, WorkerSupervisor

    supervisor = WorkerSupervisor(1, policy=RestartPolicy(most_deaths=3))
    supervisor.start()
    try:
        yield supervisor.has_given_up
    finally:
        supervisor.stop(timeout=10.0)


def _word(receipt: Receipt) -> str:
    return "unchanged" if receipt.unchanged else "queued"


def _summary(report: _Report, statuses: list[DocumentStatus] | None) -> str:
    unchanged = sum(receipt.unchanged for receipt in report.receipts)
    counts = [(len(report.receipts) - unchanged, "queued"), (unchanged, "unchanged")]
    if statuses is not None:
        done = sum(status.state is DocumentState.COMPLETED for status in statuses)
        failed = sum(status.state is DocumentState.FAILED for status in statuses)
        counts += [(done, "searchable"), (failed, "failed")]
    counts += [(len(report.empty), "empty"), (len(report.refused), "refused")]
    return ", ".join(f"{number} {word}" for number, word in counts if number) or "no files found"


def _as_json(
    knowledge_base_id: str, report: _Report, statuses: list[DocumentStatus] | None
) -> dict[str, object]:
    by_id = {status.document_id: status for status in statuses or ()}
    documents: list[dict[str, object]] = []
    for receipt in report.receipts:
        entry: dict[str, object] = {
            "documentId": receipt.document_id,
            "externalId": receipt.key.external_id,
            "status": _word(receipt),
        }
        status = by_id.get(receipt.document_id)
        if status is not None:
            entry |= {"status": status.state.value, "error": status.error}
        documents.append(entry)
    return {
        "knowledgeBaseId": knowledge_base_id,
        "documents": documents,
        "empty": report.empty,
        "refused": [{"path": path, "message": reason} for path, reason in report.refused],
    }
