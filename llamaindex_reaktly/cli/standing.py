"""`reaktly status`: what is searchable, what waits and for what, what failed and what to do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamaindex_reaktly.cli.knowledge_bases import STATE_NAMES
from llamaindex_reaktly.cli.opening import open_registry
from llamaindex_reaktly.cli.output import (
    print_json,
    print_line,
    print_table,
    shorten,
    show_duration,
    show_time,
)
from llamaindex_reaktly.cli.parameters import AsJson, OptionalKnowledgeBaseId
from llamaindex_reaktly.domain import DocumentState, DocumentStatus

if TYPE_CHECKING:
    from llamaindex_reaktly.registry.registry import Registry
    from llamaindex_reaktly.registry.standing import BaseStanding, Reason
    from llamaindex_reaktly.registry.workers import WorkerSign

# By how a failure's reason begins.
ADVICE = (
    (
        "the content could not be processed",
        "the log says where (document_refused); correct the content and post it again",
    ),
    (
        "parsing did not end within",
        "post it in smaller parts, or raise REAKTLY_PARSE_SECONDS and run `reaktly retry`",
    ),
    (
        "parsing needed more",
        "post it in smaller parts, or raise REAKTLY_PARSE_MEMORY_BYTES and run `reaktly retry`",
    ),
    (
        "the parser crashed",
        "post it as text/plain or text/markdown; the page that crashes is worth a bug report",
    ),
    (
        "processing did not end in",
        "its worker died each time: look for worker_died in the log, then run `reaktly retry`",
    ),
    ("there is no knowledge base", "make it again with `reaktly kb create`, then `reaktly retry`"),
)
OTHER_ADVICE = "see to the cause, then run `reaktly retry`, or post the document again"
NO_WORKER = "no worker runs; start `reaktly serve` or `reaktly worker`"


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: "Reason"
    example: DocumentStatus | None

    @property
    def advice(self) -> str:
        begins = (advice for start, advice in ADVICE if self.reason.text.startswith(start))
        return next(begins, OTHER_ADVICE)


@dataclass(frozen=True, slots=True)
class _Report:
    """All that is to be told."""

    bases: "list[BaseStanding]"
    waiting_reasons: "list[Reason]"
    failures: list[_Failure]
    workers: "list[WorkerSign]"
    seconds_per_document: float

    @property
    def waiting(self) -> int:
        return sum(base.waiting for base in self.bases)

    @property
    def oldest_seconds(self) -> float:
        return max((base.oldest_seconds for base in self.bases), default=0.0)

    @property
    def running(self) -> int:
        return sum(sign.is_alive and sign.paused_for is None for sign in self.workers)

    @property
    def seconds_to_catch_up(self) -> float | None:
        """By the measured pace of one worker; None when none is at it."""
        if not self.running:
            return None if self.waiting else 0.0
        return self.waiting * self.seconds_per_document / self.running

    @property
    def causes(self) -> list[str]:
        """Why what waits is not being worked off, if it is not."""
        if not self.waiting:
            return []
        causes = [] if any(sign.is_alive for sign in self.workers) else [NO_WORKER]
        causes += [
            f"a worker has paused for {show_duration(sign.paused_for)}: {sign.pause_reason}"
            for sign in self.workers
            if sign.is_alive and sign.paused_for is not None
        ]
        return causes + [f"{_count(r.documents)}: {r.text}" for r in self.waiting_reasons]


def status(knowledge_base_id: OptionalKnowledgeBaseId = None, as_json: AsJson = False) -> None:
    """Tell what is searchable, what waits and for what, what failed and what to do about it."""
    # The registry alone: this is asked most when the store or the model is away.
    with open_registry() as registry:
        if knowledge_base_id is not None:
            registry.knowledge_bases.get(knowledge_base_id)
        report = _report(registry, knowledge_base_id)
    if as_json:
        print_json(_as_json(report))
    elif report.bases:
        _print(report)
    else:
        print_line("There is no knowledge base yet; `reaktly kb create ID` makes one.")


def _report(registry: "Registry", knowledge_base_id: str | None) -> _Report:
    reasons = registry.standing.reasons(DocumentState.FAILED, knowledge_base_id)
    examples = {
        document.document_id: document
        for document in registry.documents.statuses([reason.example_id for reason in reasons])
    }
    return _Report(
        bases=registry.standing.of_bases(knowledge_base_id),
        waiting_reasons=registry.standing.reasons(DocumentState.QUEUED, knowledge_base_id),
        failures=[_Failure(reason, examples.get(reason.example_id)) for reason in reasons],
        workers=registry.workers.all(),
        seconds_per_document=registry.queue.seconds_per_document(),
    )


def _print(report: _Report) -> None:
    print_table(
        ("KNOWLEDGE BASE", *(name.upper() for name in STATE_NAMES.values()), "LAST INDEXED"),
        [
            (
                base.knowledge_base_id,
                *(base.documents[state] for state in STATE_NAMES),
                show_time(base.last_indexed_at),
            )
            for base in report.bases
        ],
    )
    print_line("")
    if report.waiting:
        oldest = show_duration(report.oldest_seconds)
        print_line(f"{_count(report.waiting)} to be made searchable, the oldest for {oldest}.")
        for cause in report.causes:
            print_line(f"  {cause}")
        if (left := report.seconds_to_catch_up) is not None:
            print_line(f"  Done in about {show_duration(left)} at the pace measured so far.")
    else:
        print_line("Nothing waits.")
    _print_pace(report)
    for failure in report.failures:
        _print_failure(failure)


def _print_pace(report: _Report) -> None:
    from llamaindex_reaktly.registry.standing import LATELY_SECONDS

    lately = sum(base.indexed_lately for base in report.bases)
    if lately:
        print_line(f"{_count(lately)} made searchable in the last {show_duration(LATELY_SECONDS)}.")
    for sign in report.workers:
        name = f"Worker {sign.pid} on {sign.host}"
        if not sign.is_alive:
            silent = show_duration(sign.silent_for)
            print_line(f"{name}: silent for {silent}, so it is dead or stuck.")
        elif sign.paused_for is not None:
            print_line(f"{name}: paused.")
        else:
            print_line(f"{name}: has run for {show_duration(sign.age)}.")


def _print_failure(failure: _Failure) -> None:
    print_line("")
    print_line(f"{_count(failure.reason.documents)} failed: {failure.reason.text}")
    if (example := failure.example) is not None:
        name = f"{example.key.knowledge_base_id}  {example.key.external_id}"
        title = shorten(example.title, 60)
        print_line(f"  for example {example.document_id}  {name}  {title}")
    print_line(f"  → {failure.advice}")


def _count(documents: int) -> str:
    return "1 document" if documents == 1 else f"{documents} documents"


def _as_json(report: _Report) -> dict[str, object]:
    """The shape that docs/how-to/monitor.md states."""
    from llamaindex_reaktly.registry.standing import LATELY_SECONDS

    left = report.seconds_to_catch_up
    return {
        "knowledgeBases": [
            {
                "knowledgeBaseId": base.knowledge_base_id,
                "documents": {state.value: base.documents[state] for state in DocumentState},
                "oldestWaitingSeconds": round(base.oldest_seconds, 1),
                "lastIndexedAt": base.last_indexed_at,
            }
            for base in report.bases
        ],
        "waiting": {
            "documents": report.waiting,
            "oldestSeconds": round(report.oldest_seconds, 1),
            "because": report.causes,
            "secondsToCatchUp": None if left is None else round(left, 1),
        },
        "indexedLately": {
            "documents": sum(base.indexed_lately for base in report.bases),
            "seconds": LATELY_SECONDS,
        },
        "workers": [
            {
                "host": sign.host,
                "pid": sign.pid,
                "state": "silent"
                if not sign.is_alive
                else "running"
                if sign.paused_for is None
                else "paused",
                "silentSeconds": round(sign.silent_for, 1),
                "pausedSeconds": None if sign.paused_for is None else round(sign.paused_for, 1),
                "pauseReason": sign.pause_reason,
            }
            for sign in report.workers
        ],
        "failures": [
            {
                "reason": failure.reason.text,
                "documents": failure.reason.documents,
                "example": None if failure.example is None else _example_as_json(failure.example),
                "advice": failure.advice,
            }
            for failure in report.failures
        ],
    }


def _example_as_json(document: DocumentStatus) -> dict[str, object]:
    from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

    return {
        "documentId": document.document_id,
        "knowledgeBaseId": document.key.knowledge_base_id,
        "integrationId": document.key.source.removeprefix(INTEGRATION_PREFIX),
        "externalId": document.key.external_id,
        "title": document.title,
        "attempts": document.attempts,
        "finishedAt": document.finished_at,
    }
