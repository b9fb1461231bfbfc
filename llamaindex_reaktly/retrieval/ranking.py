"""From candidates with evidence to documents with relevance.

One number decides: a function of a node's own evidence (its cosine to the query, and
how well the query's terms are matched), the same whatever else was found. Documents
are ranked by it and show it, so that an order by relevance is the ranking.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from llamaindex_reaktly.domain import SearchMode
from llamaindex_reaktly.stores.protocol import Candidate

# What a full match of the query's terms weighs against a cosine of 1 (BM25 here is without
# its usual factor k1 + 1 = 1.9, so that a full match is near 1), and how much of the cosine
# is the document's, so that a passage about the question in a document about it goes before
# a chance likeness in one about something else (passage and document evidence interpolated:
# Callan, "Passage-level evidence in document retrieval", SIGIR 1994).
#
# Chosen with `python -m benchmarks.choose_weights` on questions of our own to long manuals and
# to short documents: from a plateau, and in a second round after figures on the judging sets
# were known (docs/adr/0007).
LEXICAL_WEIGHT = 0.7
DOCUMENT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Curve:
    """Relevance as a function of the score: a half at `midpoint`, rising with `slope`."""

    slope: float
    midpoint: float

    def __call__(self, value: float) -> float:
        """The logistic function of the score."""
        return 1.0 / (1.0 + math.exp(-self.slope * (value - self.midpoint)))


# How often hits of such a score answered the question, on questions of our own: fitted by
# `python -m benchmarks.calibrate_relevance`, to be fitted again when `score` changes.
CURVES = {
    SearchMode.HYBRID: Curve(7.501, 0.7401),
    SearchMode.VECTOR: Curve(8.370, 0.5966),
    SearchMode.TEXT: Curve(10.412, 0.3825),
}


def score(
    candidate: Candidate,
    mode: SearchMode,
    *,
    lexical_weight: float = LEXICAL_WEIGHT,
    document_share: float = DOCUMENT_SHARE,
) -> float:
    """The evidence as one number: cosine + weight · BM25 / (sum of the query terms' idf).

    The cosine is that of the passage, mixed with that of its document as a whole. It
    needs no pool of candidates and no ranks, so it means the same from query to query, and
    a node's score does not depend on what else is found.
    """
    cosine = (1 - document_share) * candidate.cosine + document_share * candidate.document_cosine
    lexical = candidate.bm25 / candidate.query_idf if candidate.query_idf else 0.0
    if mode is SearchMode.VECTOR:
        return cosine
    if mode is SearchMode.TEXT:
        return lexical
    return cosine + lexical_weight * lexical


def relevance(candidate: Candidate, mode: SearchMode) -> float:
    """The score on a scale of 0 to 1: the share of such hits that answered."""
    return CURVES[mode](score(candidate, mode))


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document's candidates, best first, each with its relevance."""

    nodes: tuple[tuple[float, Candidate], ...]

    @property
    def relevance(self) -> float:
        """That of the best node."""
        return self.nodes[0][0]


def rank(candidates: Iterable[Candidate], mode: SearchMode) -> list[RankedDocument]:
    """Group candidates by document and order both by relevance; ties by id and place."""
    grouped: dict[tuple[str, int], list[tuple[float, Candidate]]] = {}
    for candidate in candidates:
        key = (candidate.document.document_id, candidate.document.version)
        grouped.setdefault(key, []).append((relevance(candidate, mode), candidate))
    documents = [
        RankedDocument(tuple(sorted(nodes, key=lambda node: (-node[0], node[1].ordinal))))
        for nodes in grouped.values()
    ]
    return sorted(documents, key=lambda d: (-d.relevance, d.nodes[0][1].document.document_id))
