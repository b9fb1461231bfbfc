"""What a tenant knows of its terms, asked in a few cheap questions.

A filtered count reads every object that it counts (100 ms for 6,000, measured), so none is
asked for. The best match of a single term is had at once, whatever its number of matches,
and its BM25 score tells that number: the score is idf · saturation, the saturation follows
from the term's frequency in the object and the object's length, both told with it, and the
idf is that of n among N objects. Counts over all objects come from the index of a number.
"""

import asyncio
import math
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from weaviate.classes.aggregate import Metrics
from weaviate.classes.query import Filter, MetadataQuery
from weaviate.collections.classes.aggregate import AggregateInteger
from weaviate.collections.classes.types import WeaviateProperties
from weaviate.collections.collection.async_ import CollectionAsync

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores import weaviate_filters
from llamaindex_reaktly.stores.lexical import K1, B, index_tokens
from llamaindex_reaktly.stores.weaviate_objects import LANGUAGE_MARK, language_token

Tenant = CollectionAsync[WeaviateProperties, None]

# In either order, as it comes.
_FREQUENCY, _LENGTH = re.compile(r"_frequency:([\d.]+)"), re.compile(r"_propLength:([\d.]+)")
# A term's share of the nodes is remembered for so long, by processes that do not write.
_FREQUENCIES_LAST_S = 60.0
_COUNTS_LAST_S = 0.25
_LANGUAGES_LAST_S = 30.0
_MOST_FREQUENCIES = 20_000
_MOST_LANGUAGES = 200


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """`objects` of any kind, `nodes`, the `terms` of all nodes, `documents`."""

    objects: int
    nodes: int
    terms: float
    documents: int


@dataclass(slots=True)
class Known:
    """What was asked of a tenant lately; a writer forgets it. `share` is n / N of a term."""

    counts: TenantCounts | None = None
    counted_at: float = -math.inf
    shares: dict[str, tuple[float, float]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    languages_at: float = -math.inf
    languages_objects: int = -1


async def counts(tenant: Tenant, known: Known) -> TenantCounts:
    """How much the tenant holds."""
    now = time.monotonic()
    if known.counts is None or now - known.counted_at > _COUNTS_LAST_S:
        answer = await tenant.aggregate.over_all(
            total_count=True,
            return_metrics=[
                Metrics("length").integer(count=True, sum_=True),
                Metrics("nodes").integer(count=True),
            ],
        )
        length, nodes = answer.properties.get("length"), answer.properties.get("nodes")
        assert isinstance(length, AggregateInteger | None)
        assert isinstance(nodes, AggregateInteger | None)
        known.counts = TenantCounts(
            objects=answer.total_count or 0,
            nodes=(length and length.count) or 0,
            terms=(length and length.sum_) or 0.0,
            documents=(nodes and nodes.count) or 0,
        )
        known.counted_at = now
    return known.counts


async def term_frequencies(tenant: Tenant, known: Known, terms: Collection[str]) -> dict[str, int]:
    """How many nodes have each of these terms."""
    of_tenant = await counts(tenant, known)
    now = time.monotonic()
    unknown = []
    for term in terms:
        asked_at, _ = known.shares.get(term, (-math.inf, 0.0))
        if now - asked_at > _FREQUENCIES_LAST_S:
            unknown.append(term)
    mean = of_tenant.terms / of_tenant.nodes if of_tenant.nodes else 1.0
    found = await asyncio.gather(
        *(_matches(tenant, "tokens", index_tokens([term]), of_tenant, mean) for term in unknown)
    )
    if len(known.shares) > _MOST_FREQUENCIES:
        known.shares.clear()
    of_objects = max(of_tenant.objects, 1)
    frequencies = {}
    for term, number in zip(unknown, found, strict=True):
        known.shares[term] = (now, number / of_objects)
        frequencies[term] = min(number, of_tenant.nodes)
    for term in terms:
        if term not in frequencies:
            share = known.shares[term][1] if term in known.shares else 0.0
            frequencies[term] = min(round(share * of_objects), of_tenant.nodes)
    return frequencies


async def languages(tenant: Tenant, known: Known) -> tuple[str, ...]:
    """The languages of the documents, most frequent first.

    A document in a new language brings an object that names it, so as long as the number
    of objects stays, so do the languages.
    """
    of_tenant = await counts(tenant, known)
    now = time.monotonic()
    if known.languages_objects != of_tenant.objects or now - known.languages_at > _LANGUAGES_LAST_S:
        named = await tenant.query.fetch_objects(
            filters=Filter.by_property(weaviate_filters.PROPERTY).equal(LANGUAGE_MARK),
            limit=_MOST_LANGUAGES,
            return_properties=["payload"],
        )
        names = sorted(str(found.properties["payload"]) for found in named.objects)
        numbers = await asyncio.gather(
            *(_matches(tenant, "language", language_token(name), of_tenant, 1.0) for name in names)
        )
        ranked = sorted(zip(numbers, names, strict=True), key=lambda pair: (-pair[0], pair[1]))
        known.languages = tuple(name for number, name in ranked if number)
        known.languages_at, known.languages_objects = now, of_tenant.objects
    return known.languages


async def _matches(
    tenant: Tenant, name: str, token: str, of_tenant: TenantCounts, mean_length: float
) -> int:
    """How many objects have this one token in a property."""
    answer = await tenant.query.bm25(
        token,
        query_properties=[name],
        limit=1,
        return_properties=[],
        return_metadata=MetadataQuery(score=True, explain_score=True),
    )
    if not answer.objects:
        return 0
    metadata = answer.objects[0].metadata
    explained = metadata.explain_score or ""
    frequency_of, length_of = _FREQUENCY.search(explained), _LENGTH.search(explained)
    if frequency_of is None or length_of is None or metadata.score is None:
        raise Unavailable("Weaviate does not explain its scores; is it older than 1.39?")
    frequency, length = float(frequency_of[1]), float(length_of[1])
    saturation = frequency / (frequency + K1 * (1 - B + B * length / max(mean_length, 1.0)))
    idf = metadata.score / saturation
    return max(round((of_tenant.objects + 1) / math.exp(idf) - 0.5), 1)
