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

# Provisional weights; `score` says what they weigh.
LEXICAL_WEIGHT = 0.5


def score(candidate: Candidate, mode: SearchMode) -> float:
    """The evidence as one number: cosine + weight · BM25 / (sum of the query terms' idf)."""
    lexical = candidate.bm25 / candidate.query_idf if candidate.query_idf else 0.0
    if mode is SearchMode.VECTOR:
        return candidate.cosine
    if mode is SearchMode.TEXT:
        return lexical
    return candidate.cosine + LEXICAL_WEIGHT * lexical


def relevance(candidate: Candidate, mode: SearchMode) -> float:
    """The score on a scale of 0 to 1, rising with it."""
    return 1.0 / (1.0 + math.exp(-8.0 * (score(candidate, mode) - 0.6)))


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
