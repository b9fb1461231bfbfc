"""BM25 over the core's terms: FTS5 brings candidates up, the evidence is counted exactly.

A term is named by 64 bits of a digest, in FTS5 and in the counts kept of each node: it
matches as it is, whatever characters it holds, and no text stays behind in an index that
forgets slowly. With 15 query terms against 100,000 nodes of 200 terms, the chance that
one term is taken for another is below one in 10^10.

FTS5 ranks with k1 1.2 and b .75 and knows nothing of languages, so its order only
decides which nodes are looked at. For those, BM25 is computed from each node's own term
counts with the parameters that were measured to be good (k1 .9, b .4).
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.errors import IndexDamaged
from llamaindex_reaktly.stores import checksums
from llamaindex_reaktly.stores.filter_sql import Condition
from llamaindex_reaktly.stores.sqlite import sqlite3
from llamaindex_reaktly.stores.vector_view import Rows

K1 = 0.9
B = 0.4

# FTS5 multiplies a term's frequency by its column's weight before it saturates it with
# its own k1 of 1.2: weighted by 1.2 / .9, it saturates as with .9.
_COLUMN_WEIGHT = 1.2 / K1
# FTS5 orders by another length normalisation than ours: so many times more are looked at.
_OVERSAMPLING = 2
# A term in a large share of the nodes tells little and costs its whole posting list.
_COMMON_SHARE = 0.4
_SMALL_BASE = 2_000
_MOST_RANKED_TERMS = 64

_PROFILE = np.dtype([("term", "<u8"), ("count", "<u2")])


def split_terms(terms: str) -> list[str]:
    """The terms of a node's `terms`."""
    return terms.split(" ") if terms else []


def profile(terms: Sequence[str]) -> bytes:
    """How often each term occurs, in a form that is counted without decoding text."""
    counts = Counter(terms)
    # Column by column: rows of tuples take numpy three times as long.
    entries = np.empty(len(counts), dtype=_PROFILE)
    entries["term"] = [_term_number(term) for term in counts]
    entries["count"] = [min(count, 0xFFFF) for count in counts.values()]
    return entries.tobytes()


@functools.lru_cache(maxsize=65_536)
def _term_number(term: str) -> int:
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


@functools.lru_cache(maxsize=65_536)
def _token(term: str) -> str:
    return f"{_term_number(term):016x}"


def index_tokens(terms: Sequence[str]) -> str:
    """What FTS5 is given to index, and later to delete, for a node's terms."""
    return " ".join(map(_token, terms))


@dataclass(frozen=True, slots=True)
class Evidence:
    """BM25 of nodes, each array in their order; see `Candidate`."""

    bm25: NDArray[np.float64]
    matched_idf: NDArray[np.float64]
    query_idf: NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> "Evidence":
        """That of some of the nodes."""
        return Evidence(self.bm25[chosen], self.matched_idf[chosen], self.query_idf[chosen])


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A query's terms with what the index knows of them.

    `weights` maps a language to how often it repeats each of `terms` (q,); `idf` is (q,),
    `frequencies` (q,) the number of nodes with each term.
    """

    terms: tuple[str, ...]
    weights: Mapping[str, NDArray[np.float64]]
    frequencies: NDArray[np.int64]
    idf: NDArray[np.float64]
    mean_length: float

    def match_expression(self, nodes: int) -> str | None:
        """An FTS5 expression for the terms worth ranking by; None if no node has one."""
        order = sorted(
            (int(frequency), index)
            for index, frequency in enumerate(self.frequencies.tolist())
            if frequency
        )
        if not order:
            return None
        common = max(_COMMON_SHARE * nodes, _SMALL_BASE)
        chosen = [index for frequency, index in order if frequency <= common] or [order[0][1]]
        repeats = np.max(list(self.weights.values()), axis=0)
        return " OR ".join(
            _token(self.terms[index])
            for index in chosen[:_MOST_RANKED_TERMS]
            for _ in range(min(int(repeats[index]), 4))
        )

    def evidence(self, connection: sqlite3.Connection, nodes: Rows) -> Evidence:
        """BM25 of these nodes (ascending), by the query's terms in each one's language."""
        found = connection.execute(
            "SELECT node, language, length, counts, checksum FROM profiles"
            " WHERE node IN (SELECT value FROM json_each(?)) ORDER BY node",
            (json.dumps(nodes.tolist()),),
        ).fetchall()
        if len(found) != len(nodes):
            raise IndexDamaged("the index has lost nodes that it still knows")
        for _, language, length, of_node, checksum in found:
            checksums.require(checksums.of_profile(language, length, of_node), checksum)
        return self.evidence_of(
            [row[1] for row in found], [row[2] for row in found], [row[3] for row in found]
        )

    def evidence_of(
        self, languages: Sequence[str], lengths: Sequence[int], profiles: Sequence[bytes]
    ) -> Evidence:
        """BM25 of nodes by their languages, their numbers of terms and their profiles."""
        counts = self._counts(profiles)
        absent = np.zeros(len(self.terms))
        weights = np.array([self.weights.get(language, absent) for language in languages]).reshape(
            len(languages), len(self.terms)
        )
        weighted = weights * self.idf
        saturation = K1 * (1 - B + B * np.array(lengths, dtype=np.float64) / self.mean_length)
        return Evidence(
            bm25=(weighted * counts / (counts + saturation[:, None])).sum(axis=1),
            matched_idf=(weighted * (counts > 0)).sum(axis=1),
            query_idf=weighted.sum(axis=1),
        )

    def _counts(self, profiles: Sequence[bytes]) -> NDArray[np.float64]:
        """(profiles, q): how often each profile has each term."""
        counts = np.zeros((len(profiles), len(self.terms)))
        entries = np.frombuffer(b"".join(profiles), dtype=_PROFILE)
        numbers = np.array([_term_number(term) for term in self.terms], dtype=np.uint64)
        # A table over 16 bits of the digest drops nearly every entry before the search.
        named = np.zeros(1 << 16, dtype=np.bool_)
        named[numbers & np.uint64(0xFFFF)] = True
        hits = np.flatnonzero(named[entries["term"] & np.uint64(0xFFFF)])
        order = np.argsort(numbers)
        places = np.searchsorted(numbers[order], entries["term"][hits])
        columns = order[np.minimum(places, len(order) - 1)]
        exact = numbers[columns] == entries["term"][hits]
        ends = np.cumsum([len(blob) // _PROFILE.itemsize for blob in profiles])
        owners = np.searchsorted(ends, hits[exact], side="right")
        counts[owners, columns[exact]] = entries["count"][hits[exact]]
        return counts


def lexical_query(
    terms: Mapping[str, Sequence[str]],
    frequencies: Mapping[str, int],
    *,
    nodes: int,
    total_terms: float,
) -> LexicalQuery:
    """Prepare a query; `frequencies` tells how many of the `nodes` have each of its terms."""
    distinct = tuple(dict.fromkeys(term for of_one in terms.values() for term in of_one))
    place = {term: index for index, term in enumerate(distinct)}
    weights: dict[str, NDArray[np.float64]] = {}
    for language, of_one in terms.items():
        weights[language] = np.zeros(len(distinct))
        for term in of_one:
            weights[language][place[term]] += 1
    counts = np.array([frequencies[term] for term in distinct], dtype=np.int64)
    return LexicalQuery(
        terms=distinct,
        weights=weights,
        frequencies=counts,
        idf=np.log1p((nodes - counts + 0.5) / (counts + 0.5)),
        mean_length=max(total_terms / nodes, 1.0) if nodes else 1.0,
    )


def distinct_terms(terms: Mapping[str, Sequence[str]]) -> set[str]:
    """The query's terms over all languages."""
    return {term for of_one in terms.values() for term in of_one}


def term_frequency(connection: sqlite3.Connection, term: str) -> int:
    """How many nodes have the term."""
    row = connection.execute(
        "SELECT doc FROM term_frequency WHERE term = ?", (_token(term),)
    ).fetchone()
    return int(row[0]) if row else 0


def matching_nodes(
    connection: sqlite3.Connection, expression: str, restriction: Condition | None, candidates: int
) -> list[int]:
    """The nodes that FTS5 ranks highest, more of them than asked for."""
    where = ""
    parameters: list[str | int | float] = [expression]
    if restriction is not None:
        # The `+` keeps SQLite from asking FTS5 for one rowid at a time.
        allowed = f"SELECT id FROM documents WHERE {restriction.sql}"  # noqa: S608 (fixed names; values are bound)
        where = f" AND +rowid IN (SELECT id FROM nodes WHERE document IN ({allowed}))"  # noqa: S608 (fixed names; values are bound)
        parameters.extend(restriction.parameters)
    parameters.append(candidates * _OVERSAMPLING)
    rows = connection.execute(
        f"SELECT rowid FROM term_index WHERE term_index MATCH ?{where}"  # noqa: S608 (fixed names; values are bound)
        f" ORDER BY bm25(term_index, {_COLUMN_WEIGHT}), rowid LIMIT ?",
        parameters,
    )
    return [row[0] for row in rows]
