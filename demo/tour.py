"""The tour: push, search, ask, update, push again, delete, each with what must hold."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence

from demo.client import DemoFailed, Hit, Job, KnowledgeBaseApi
from demo.content import DemoDocument, JsonObject, JsonValue
from demo.questions import ASKED, QUESTIONS, Asked, Question
from demo.terminal import Terminal

BATCH_SIZE = 25
RESULTS_SHOWN = 2
RANK_EXPECTED = 3
SEARCHABLE_WITHIN = 240.0
LOOK_EVERY = 0.1
SEARCH_EVERY = 0.02

UPDATED_ID = "carrier-65"
OLD_PRICE, NEW_PRICE = 469.0, 429.0
OLD_COLOUR, NEW_COLOUR = "olive green canvas", "slate blue canvas"
UPDATE_QUESTION = "Which colour is the cover of the Carrier 65's tub?"

DELETED_ID = "carrier-65-refurbished"
DELETE_QUESTION = "a used, refurbished trailer from the rental fleet"

PARSED = "reaktly_documents_parsed_total"
EMBEDDED = "reaktly_chunks_embedded_total"


class Tour:
    """One walk through a knowledge base that is empty at first.

    `failures` lists the expectations that did not hold, in sentences.
    """

    def __init__(
        self,
        api: KnowledgeBaseApi,
        terminal: Terminal,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._terminal = terminal
        self._pause = pause
        self.failures: list[str] = []

    def run(self, documents: Sequence[DemoDocument]) -> None:
        """Show everything; raise `DemoFailed` where going on makes no sense."""
        self._push_all(documents)
        self._search()
        self._ask()
        updated = self._update(documents)
        self._push_unchanged(updated)
        self._delete()

    def _push_all(self, documents: Sequence[DemoDocument]) -> None:
        kinds = Counter(document.source_type for document in documents)
        listing = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        self._terminal.heading("Push: POST /ingest/bulk")
        self._terminal.say(f"{len(documents)} documents ({listing}) in batches of {BATCH_SIZE}.")
        started = time.monotonic()
        self._push(documents)
        accepted = time.monotonic() - started
        self._wait_until_settled(len(documents))
        searchable = time.monotonic() - started
        counts = self._api.metrics()
        self._terminal.say(
            f"{len(documents)} documents accepted in {accepted:.1f} s, searchable in "
            f"{searchable:.1f} s ({counts.get(EMBEDDED, 0):.0f} passages embedded)."
        )
        self._expect(
            counts.get(PARSED) == len(documents),
            f"/metrics counts {len(documents)} documents as parsed",
        )

    def _search(self) -> None:
        self._terminal.heading("Search: POST /search")
        for question in QUESTIONS:
            self._seek(question)

    def _seek(self, question: Question) -> None:
        started = time.monotonic()
        hits = self._api.search(question.text, question.filters)
        took = (time.monotonic() - started) * 1000
        self._terminal.question(f"{question.kind} ({took:.0f} ms)", question.text)
        if question.condition:
            self._terminal.say(f"(filters: {question.condition})")
        found = [hit.external_id for hit in hits[:RANK_EXPECTED]]
        # The one that answers is shown, also where it comes last of those expected.
        last = found.index(question.answered_by) + 1 if question.answered_by in found else 0
        self._show(hits[: max(RESULTS_SHOWN, last)], question.text)
        self._expect(
            question.answered_by in found,
            f"{question.answered_by} is among the first {RANK_EXPECTED}",
        )
        if question.only is not None:
            self._expect(
                {hit.external_id for hit in hits} <= question.only,
                f"nothing but {question.condition} is found",
            )

    def _ask(self) -> None:
        self._terminal.heading("Ask: POST /answer")
        for question in ASKED:
            self._answer(question)

    def _answer(self, question: Asked) -> None:
        started = time.monotonic()
        reply = self._api.ask(question.text)
        took = (time.monotonic() - started) * 1000
        self._terminal.question(f"Asked ({took:.0f} ms)", question.text)
        self._terminal.say(reply.text)
        for _, title, url in reply.sources:
            self._terminal.say(f"Source: {title}, {url}")
        if question.answered_by is None:
            self._expect(not reply.answered, "it says that it does not know, and cites nothing")
            return
        self._expect(
            reply.answered and question.answered_by in [name for name, _, _ in reply.sources],
            f"{question.answered_by} is cited",
        )
        self._expect(question.phrase in reply.text, f"the answer says: {question.phrase}")

    def _update(self, documents: Sequence[DemoDocument]) -> list[DemoDocument]:
        """Push a new version of one document; return the documents as they are now."""
        updated = [
            new_version(document) if document.external_id == UPDATED_ID else document
            for document in documents
        ]
        [new] = [document for document in updated if document.external_id == UPDATED_ID]
        filters: JsonObject = {"externalId": UPDATED_ID}
        self._terminal.heading("Update: the same externalId again, with a new price and text")
        before = self._api.search(UPDATE_QUESTION, filters)
        self._terminal.question("Before", UPDATE_QUESTION)
        self._show_priced(before)
        embedded = self._api.metrics().get(EMBEDDED, 0)

        started = time.monotonic()
        self._push([new])
        seen: list[list[Hit]] = []
        while True:
            seen.append(self._api.search(UPDATE_QUESTION, filters))
            if NEW_PRICE in prices(seen[-1]):
                break
            self._check_patience(started)
            self._pause(SEARCH_EVERY)
        took = time.monotonic() - started
        self._wait_until_settled(len(documents))
        embedded = self._api.metrics().get(EMBEDDED, 0) - embedded
        self._terminal.question(f"After {took:.2f} s", UPDATE_QUESTION)
        self._show_priced(seen[-1])
        self._terminal.say(
            f"{embedded:.0f} passage(s) embedded: the others kept their vectors. "
            f"Asked {len(seen)} times meanwhile."
        )
        self._expect(
            all(is_one_version(hits) for hits in seen),
            "every answer on the way was one version, wholly the old or wholly the new",
        )
        self._expect(mentions(seen[-1], NEW_COLOUR), f"the new text is found: {NEW_COLOUR}")
        leftovers = self._api.search(OLD_COLOUR, filters, mode="text")
        self._expect(
            not mentions(leftovers, OLD_COLOUR), f"the old text is found no more: {OLD_COLOUR}"
        )
        return updated

    def _push_unchanged(self, documents: Sequence[DemoDocument]) -> None:
        self._terminal.heading("Push again: nothing has changed")
        before = self._api.metrics()
        started = time.monotonic()
        self._push(documents)
        jobs = self._wait_until_settled(len(documents))
        took = time.monotonic() - started
        after = self._api.metrics()
        parsed, embedded = (after.get(name, 0) - before.get(name, 0) for name in (PARSED, EMBEDDED))
        self._terminal.say(
            f"{len(documents)} documents pushed again in {took:.2f} s: "
            f"{parsed:.0f} parsed, {embedded:.0f} passages embedded."
        )
        self._expect(
            parsed == 0 and embedded == 0, "an unchanged push parses nothing and embeds nothing"
        )
        self._expect(
            all(job.last_outcome == "unchanged" for job in jobs), "every job says 'unchanged'"
        )

    def _delete(self) -> None:
        self._terminal.heading("Delete: DELETE /ingest")
        self._terminal.question("Before", DELETE_QUESTION)
        before = self._api.search(DELETE_QUESTION, {})
        self._show(before[:RESULTS_SHOWN], DELETE_QUESTION)
        self._expect(
            DELETED_ID in [hit.external_id for hit in before], f"{DELETED_ID} is found before"
        )
        started = time.monotonic()
        deleted = self._api.delete(DELETED_ID)
        took = (time.monotonic() - started) * 1000
        after = self._api.search(DELETE_QUESTION, {})
        self._terminal.question(f"At once after the delete ({took:.0f} ms)", DELETE_QUESTION)
        self._show(after[:RESULTS_SHOWN], DELETE_QUESTION)
        self._expect(deleted == 1, "one document was deleted")
        self._expect(
            DELETED_ID not in [hit.external_id for hit in after], f"{DELETED_ID} is gone at once"
        )

    def _push(self, documents: Sequence[DemoDocument]) -> None:
        for start in range(0, len(documents), BATCH_SIZE):
            self._api.push(documents[start : start + BATCH_SIZE])

    def _wait_until_settled(self, total: int) -> list[Job]:
        """Return the jobs when all are completed; raise `DemoFailed` when one has failed."""
        started = time.monotonic()
        while True:
            jobs = self._api.jobs()
            if failed := [job for job in jobs if job.status == "failed"]:
                examples = "; ".join(f"{job.external_id}: {job.error}" for job in failed[:3])
                raise DemoFailed(f"{len(failed)} of {total} documents failed, such as {examples}")
            done = sum(job.status == "completed" for job in jobs)
            if done == total:
                return jobs
            self._terminal.progress(f"{done} of {total} searchable")
            self._check_patience(started)
            self._pause(LOOK_EVERY)

    def _check_patience(self, started: float) -> None:
        if time.monotonic() - started > SEARCHABLE_WITHIN:
            raise DemoFailed(f"pushed documents are not searchable after {SEARCHABLE_WITHIN:.0f} s")

    def _show(self, hits: Sequence[Hit], query: str) -> None:
        if not hits:
            self._terminal.say("(no results)")
        for rank, hit in enumerate(hits, start=1):
            self._terminal.result(rank, hit, query)

    def _show_priced(self, hits: Sequence[Hit]) -> None:
        self._show(hits, UPDATE_QUESTION)
        for hit in hits:
            self._terminal.say(f"sourceData.price: {hit.source_data.get('price')}")

    def _expect(self, holds: bool, text: str) -> None:
        self._terminal.check(holds=holds, text=text)
        if not holds:
            self.failures.append(text)


def new_version(document: DemoDocument) -> DemoDocument:
    """Return the document with its price lowered and the cover's colour changed."""
    content = document.content.replace(f"£{OLD_PRICE:.2f}", f"£{NEW_PRICE:.2f}")
    return dataclasses.replace(
        document,
        content=content.replace(OLD_COLOUR, NEW_COLOUR),
        source_data=document.source_data | {"price": NEW_PRICE},
    )


def is_one_version(hits: Sequence[Hit]) -> bool:
    """Whether the updated document was found once, with price and text of the same version."""
    if prices(hits) == [OLD_PRICE]:
        return not mentions(hits, NEW_COLOUR)
    return prices(hits) == [NEW_PRICE] and not mentions(hits, OLD_COLOUR)


def prices(hits: Sequence[Hit]) -> list[JsonValue]:
    """Return the price in each hit's metadata."""
    return [hit.source_data.get("price") for hit in hits]


def mentions(hits: Sequence[Hit], phrase: str) -> bool:
    """Whether a passage of the hits holds the phrase."""
    return any(phrase in passage for hit in hits for passage in hit.passages)
