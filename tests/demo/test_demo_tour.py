import io
from collections.abc import Iterable, Sequence

import pytest

from demo.client import DemoFailed, Hit, Job, Reply
from demo.content import DemoDocument, JsonObject, load_documents
from demo.questions import ASKED, QUESTIONS
from demo.terminal import Terminal
from demo.tour import DELETED_ID, EMBEDDED, PARSED, UPDATED_ID, Tour

ANSWERS = {question.text: question.answered_by for question in QUESTIONS}
DOCUMENTS = load_documents()


class FaithfulServer:
    """Keeps the promises of the HTTP API in memory; it knows the answers by heart."""

    def __init__(self) -> None:
        self.documents: dict[str, DemoDocument] = {}
        self.outcomes: dict[str, str] = {}
        self.counters = {PARSED: 0.0, EMBEDDED: 0.0}

    def push(self, documents: Iterable[DemoDocument]) -> str:
        for document in documents:
            known = self.documents.get(document.external_id)
            self.outcomes[document.external_id] = "unchanged" if known == document else "indexed"
            if known != document:
                self.counters[PARSED] += 1
                self.counters[EMBEDDED] += 3
            self.documents[document.external_id] = document
        return "1s"

    def jobs(self) -> list[Job]:
        return [Job(name, "completed", outcome, None) for name, outcome in self.outcomes.items()]

    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        wanted = filters.get("externalId") or ANSWERS.get(query, DELETED_ID)
        found = [document for name, document in self.documents.items() if name == wanted]
        return [
            Hit(
                document.external_id,
                document.source_type,
                document.title,
                document.url,
                0.5,
                (document.title,),
                (document.content,),
                document.source_data,
            )
            for document in found
        ]

    def ask(self, question: str) -> Reply:
        [asked] = [asked for asked in ASKED if asked.text == question]
        if asked.answered_by is None:
            return Reply("That is not known here.", False, ())
        document = self.documents[asked.answered_by]
        source = (document.external_id, document.title, document.url)
        return Reply(document.content, True, (source,))

    def delete(self, external_id: str) -> int:
        return 1 if self.documents.pop(external_id, None) else 0

    def metrics(self) -> dict[str, float]:
        return dict(self.counters)


class FindsTheWrongPerson(FaithfulServer):
    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        hits = super().search(query, filters, mode=mode)
        return [hit for hit in hits if hit.external_id != "rosalind-achterberg"]


class IgnoresFilters(FaithfulServer):
    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        hits = super().search(query, filters, mode=mode)
        return hits + super().search(query, {"externalId": "flatbed-90"}) * bool(filters)


class CitesAnother(FaithfulServer):
    def ask(self, question: str) -> Reply:
        return Reply("At most 30 kg; closed.", True, (("flatbed-90", "Flatbed 90", "/f"),))


class AnswersBesideThePoint(FaithfulServer):
    def ask(self, question: str) -> Reply:
        reply = super().ask(question)
        return Reply("A trailer is a trailer.", reply.answered, reply.sources)


class EmbedsUnchangedDocuments(FaithfulServer):
    def push(self, documents: Iterable[DemoDocument]) -> str:
        self.counters[EMBEDDED] += 1
        return super().push(documents)


class ForgetsToDelete(FaithfulServer):
    def delete(self, external_id: str) -> int:
        return 1


class LosesTheDocumentWhileReplacing(FaithfulServer):
    misses = 1

    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        hits = super().search(query, filters, mode=mode)
        replaced = any(hit.source_data.get("price") == 429.0 for hit in hits)
        if replaced and self.misses:
            self.misses -= 1
            return []
        return hits


class KeepsTheOldText(FaithfulServer):
    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        if mode == "text":
            return [
                Hit("carrier-65", "PRODUCT", "", "", 0.5, (), ("an olive green canvas",), {}),
            ]
        return super().search(query, filters, mode=mode)


def tour_of(server: FaithfulServer, pauses: list[float] | None = None) -> tuple[Tour, io.StringIO]:
    output = io.StringIO()
    pause = (lambda _: None) if pauses is None else pauses.append
    return Tour(server, Terminal(output, width=80), pause=pause), output


def test_a_faithful_server_meets_every_expectation() -> None:
    tour, output = tour_of(FaithfulServer())
    tour.run(DOCUMENTS)
    assert tour.failures == []
    assert "NOT MET" not in output.getvalue()


def test_every_question_is_shown_with_its_answer() -> None:
    tour, output = tour_of(FaithfulServer())
    tour.run(DOCUMENTS)
    text = output.getvalue()
    for question in QUESTIONS:
        [document] = [d for d in DOCUMENTS if d.external_id == question.answered_by]
        assert document.url in text
        assert question.text[:30] in text


@pytest.mark.parametrize(
    ("server", "failure"),
    [
        (FindsTheWrongPerson(), "rosalind-achterberg is among the first 3"),
        (IgnoresFilters(), "nothing but trailers under 400, in stock is found"),
        (CitesAnother(), "opening-hours is cited"),
        (CitesAnother(), "it says that it does not know, and cites nothing"),
        (AnswersBesideThePoint(), "the answer says: 30 kg"),
        (EmbedsUnchangedDocuments(), "an unchanged push parses nothing and embeds nothing"),
        (ForgetsToDelete(), f"{DELETED_ID} is gone at once"),
        (
            LosesTheDocumentWhileReplacing(),
            "every answer on the way was one version, wholly the old or wholly the new",
        ),
        (KeepsTheOldText(), "the old text is found no more: olive green canvas"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FaithfulServer) else "",
)
def test_a_broken_promise_is_named(server: FaithfulServer, failure: str) -> None:
    tour, output = tour_of(server)
    tour.run(DOCUMENTS)
    assert failure in tour.failures
    assert "NOT MET" in output.getvalue()


def test_a_failed_document_ends_the_tour_with_its_reason() -> None:
    class FailsOne(FaithfulServer):
        def jobs(self) -> list[Job]:
            return [*super().jobs()[1:], Job("carrier-40", "failed", "failed", "no text in it")]

    tour, _ = tour_of(FailsOne())
    with pytest.raises(DemoFailed, match="carrier-40: no text in it"):
        tour.run(DOCUMENTS)


def test_it_waits_until_every_document_is_completed() -> None:
    class TakesItsTime(FaithfulServer):
        looks = 0

        def jobs(self) -> list[Job]:
            self.looks += 1
            jobs = super().jobs()
            if self.looks < 4:
                return [Job(jobs[0].external_id, "processing", None, None), *jobs[1:]]
            return jobs

    pauses: list[float] = []
    tour, _ = tour_of(TakesItsTime(), pauses)
    tour.run(DOCUMENTS)
    assert len(pauses) == 3


def test_the_update_is_pushed_alone() -> None:
    pushed: list[list[str]] = []

    class Listens(FaithfulServer):
        def push(self, documents: Iterable[DemoDocument]) -> str:
            batch: Sequence[DemoDocument] = list(documents)
            pushed.append([document.external_id for document in batch])
            return super().push(batch)

    tour, _ = tour_of(Listens())
    tour.run(DOCUMENTS)
    assert pushed.count([UPDATED_ID]) == 1


def test_an_answer_in_the_third_place_is_shown() -> None:
    class RanksTheAnswerThird(FaithfulServer):
        def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
            hits = super().search(query, filters, mode=mode)
            if query not in ANSWERS or filters:
                return hits
            return [*super().search(query, {"externalId": "about-us"}) * 2, *hits]

    tour, output = tour_of(RanksTheAnswerThird())
    tour.run(DOCUMENTS)
    assert tour.failures == []
    assert "3. Rosalind Achterberg" in output.getvalue()
