"""Answers without a language model: the sentences that say it, word for word."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.answers.quotable import quotable_spans
from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    Citation,
    Passage,
    SearchHit,
    Statement,
)
from llamaindex_reaktly.embeddings.protocol import TextEmbedder

MAX_SENTENCES = 3
# Below this relevance of the best document, the base does not know. Chosen with
# `python -m benchmarks.calibrate_answers`: it refuses one in ten questions of our own that have
# an answer, and nine in ten about another world.
KNOWS_FROM = 0.10
# The passages whose sentences are looked at, and how many of these are embedded: those that
# share most of the question's words. To embed a sentence takes about as long as the question.
PASSAGES = 4
EMBEDDED_SENTENCES = 8
# What a full match of the question's words weighs against a cosine of 1.
OVERLAP_WEIGHT = 0.6
# A further sentence must score at least this share of the best one.
FURTHER_SHARE = 0.6
# Longer parts (tables in one line, code without end) are no sentences.
MAX_CHARACTERS = 1_000

DOES_NOT_KNOW = "The knowledge base does not hold an answer to this question."


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A part of a passage; `overlap` is the share of the question's words (by idf) in it."""

    hit: SearchHit
    passage: Passage
    start: int
    end: int
    overlap: float

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]


class ExtractiveAnswerer:
    """Answers with up to three sentences of the best passages; it invents nothing.

    Sentences are chosen by cosine to the question + 0.6 · the share of the question's idf
    that they match. The idf is that among the sentences at hand: what all of them share tells
    none from another.
    """

    def __init__(self, analyzer: Analyzer, *, knows_from: float = KNOWS_FROM) -> None:
        self._analyzer = analyzer
        self._knows_from = knows_from

    def answer(
        self, request: AnswerRequest, hits: Sequence[SearchHit], embedder: TextEmbedder
    ) -> Answer:
        """The best sentences of the best passages; see `Answerer`."""
        chosen: list[_Sentence] = []
        if hits and hits[0].relevance >= self._knows_from:
            chosen = self._choose(request, hits, embedder)
        if not chosen:
            return Answer(False, (Statement(DOES_NOT_KNOW),), tuple(hits))
        markers: dict[str, str] = {}
        statements = []
        for one in _in_reading_order(chosen):
            marker = markers.setdefault(one.hit.document_id, f"[{len(markers) + 1}]")
            citation = Citation(marker, one.hit, one.passage, one.start, one.end)
            statements.append(Statement(one.text, (citation,)))
        return Answer(True, tuple(statements), tuple(hits))

    def _choose(
        self, request: AnswerRequest, hits: Sequence[SearchHit], embedder: TextEmbedder
    ) -> list[_Sentence]:
        sentences = self._sentences(request.question, hits)
        sentences.sort(key=lambda one: -(one.overlap + one.passage.relevance))
        embedded = sentences[:EMBEDDED_SENTENCES]
        if not embedded:
            return []
        question = embedder.embed_query(request.question)
        cosines = embedder.embed_documents([one.text for one in embedded]) @ question
        scores = [
            float(cosine) + OVERLAP_WEIGHT * one.overlap
            for cosine, one in zip(cosines, embedded, strict=True)
        ]
        order = sorted(range(len(embedded)), key=lambda place: -scores[place])
        floor = FURTHER_SHARE * scores[order[0]]
        best = [embedded[place] for place in order if scores[place] >= floor] or embedded[:1]
        if request.max_tokens is None:
            return best[:MAX_SENTENCES]
        return _within(best, request.max_tokens, embedder)

    def _sentences(self, question: str, hits: Sequence[SearchHit]) -> list[_Sentence]:
        passages = sorted(
            ((hit, passage) for hit in hits for passage in hit.passages),
            key=lambda pair: -pair[1].relevance,
        )[:PASSAGES]
        found: dict[str, tuple[SearchHit, Passage, int, int]] = {}
        for hit, passage in passages:
            for start, end in quotable_spans(passage.text, hit.language):
                text = passage.text[start:end]
                # What several documents say in the same words is said once.
                if end - start <= MAX_CHARACTERS:
                    found.setdefault(" ".join(text.split()), (hit, passage, start, end))
        languages = {hit.language or "en" for hit, _ in passages}
        wanted = self._analyzer.query_terms(question, languages)
        held = [
            Counter(self._analyzer.terms(passage.text[start:end], hit.language or "en"))
            for hit, passage, start, end in found.values()
        ]
        weights = _weights(wanted, held)
        return [
            _Sentence(*place, _overlap(wanted[place[0].language or "en"], terms, weights))
            for place, terms in zip(found.values(), held, strict=True)
        ]


def _weights(
    wanted: Mapping[str, Sequence[str]], held: Sequence[Mapping[str, int]]
) -> dict[str, float]:
    """The idf of the question's terms among the sentences."""
    weights = {}
    for term in {term for terms in wanted.values() for term in terms}:
        holders = sum(term in terms for terms in held)
        weights[term] = math.log1p((len(held) - holders + 0.5) / (holders + 0.5))
    return weights


def _overlap(
    wanted: Sequence[str], terms: Mapping[str, int], weights: Mapping[str, float]
) -> float:
    whole = sum(weights[term] for term in wanted)
    return sum(weights[term] for term in wanted if term in terms) / whole if whole else 0.0


def _in_reading_order(chosen: Sequence[_Sentence]) -> list[_Sentence]:
    """Passages in the order of their best sentence, each one's sentences as they stand."""
    ranks: dict[str, int] = {}
    for rank, one in enumerate(chosen):
        ranks.setdefault(one.passage.node_id, rank)
    return sorted(chosen, key=lambda one: (ranks[one.passage.node_id], one.start))


def _within(best: Sequence[_Sentence], max_tokens: int, embedder: TextEmbedder) -> list[_Sentence]:
    """The best sentences that fit into so many tokens; where none does, the best one's start.

    At least a word is left, whatever it takes.
    """
    special = embedder.count_tokens("")
    left = max_tokens
    chosen: list[_Sentence] = []
    for one in best:
        tokens = embedder.count_tokens(one.text) - special
        if tokens <= left:
            chosen.append(one)
            left -= tokens
        if len(chosen) == MAX_SENTENCES:
            break
    if chosen:
        return chosen
    first = best[0]
    every = range(first.start + 1, first.end + 1)
    # Scripts without spaces are cut at any character.
    ends = [place for place in every[:-1] if first.passage.text[place].isspace()] or every
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high + 1) // 2
        text = first.passage.text[first.start : ends[middle]]
        if embedder.count_tokens(text) - special <= max_tokens:
            low = middle
        else:
            high = middle - 1
    return [replace(first, end=ends[low])]
