"""What every store does, through the protocol alone."""

import math
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.domain import JsonValue, SourceType
from llamaindex_reaktly.errors import EmbedderMismatch, InvalidRequest, Unavailable
from llamaindex_reaktly.filters import And, Comparison, Filter, Not, Operator, Or, Scalar
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import (
    Candidate,
    IndexedDocument,
    IndexedNode,
    IndexedVersion,
    Replacement,
    Store,
    StoreCounts,
    StoreQuery,
    Vector,
)
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateServer
from tests.stores.faulty_store import FaultyStore

KB = "kb"
DIMENSION = 12
START = datetime(2026, 1, 1, tzinfo=UTC)


def open_store(kind: str, request: pytest.FixtureRequest, directory: Path) -> Store:
    """An empty store; those on the shared server have collections of their own."""
    if kind == "embedded":
        return EmbeddedStore(directory)
    if kind == "faulty":
        return cast("Store", FaultyStore(EmbeddedStore(directory)))
    server: WeaviateServer = request.getfixturevalue("weaviate_server")
    address = WeaviateAddress(server.url, server.grpc_url, server.key)
    return WeaviateStore(address, prefix=f"T{secrets.token_hex(6)}")


STORES = ("embedded", "faulty", "weaviate")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(request.param, request, tmp_path / "index")
    yield opened
    opened.close()


def unit(seed: int, dimension: int = DIMENSION) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    scaled: Vector = vector / np.linalg.norm(vector)
    return scaled


def document(
    name: str,
    version: int = 1,
    *,
    language: str = "en",
    tags: tuple[str, ...] = (),
    attributes: Mapping[str, JsonValue] | None = None,
    source: str = "integration:shop",
    updated_at: datetime = START,
) -> IndexedDocument:
    return IndexedDocument(
        document_id=f"doc_{name}",
        version=version,
        source=source,
        external_id=name,
        source_type=SourceType.ARTICLE,
        title=f"Title of {name}",
        url=f"https://example.com/{name}",
        summary=None,
        tags=tags,
        language=language,
        attributes=attributes or {},
        updated_at=updated_at,
    )


def node(name: str, ordinal: int = 0, terms: str = "", seed: int | None = None) -> IndexedNode:
    return IndexedNode(
        node_id=f"{name}-{ordinal}",
        ordinal=ordinal,
        text=f"Text {ordinal} of {name}: {terms}",
        headings=("Part", f"Über {ordinal}"),
        terms=terms,
        vector=unit(ordinal if seed is None else seed),
        content_digest=f"digest of {name} {ordinal} {terms}",
        extra='{"more":1}' if ordinal else None,
    )


def replacement(name: str, *terms: str, version: int = 1, language: str = "en") -> Replacement:
    return Replacement(
        document(name, version, language=language),
        [node(name, ordinal, text) for ordinal, text in enumerate(terms)],
    )


def found_nodes(store: Store, query: StoreQuery, kb: str = KB) -> set[str]:
    return {candidate.node_id for candidate in store.search(kb, query)}


def test_what_was_put_in_comes_back_whole(store: Store) -> None:
    given_document = document(
        "a", 7, tags=("x", "ÿ"), attributes={"price": 1.5, "deep": {"er": [1, None, True]}}
    )
    given_nodes = [node("a", 0, "one two two"), node("a", 1, "three")]
    store.replace(KB, [Replacement(given_document, given_nodes)])

    nodes = store.nodes(KB, "doc_a")

    assert [n.node_id for n in nodes] == ["a-0", "a-1"]
    for stored, original in zip(nodes, given_nodes, strict=True):
        assert np.array_equal(stored.vector, original.vector)
        assert (stored.text, stored.headings, stored.terms, stored.extra) == (
            original.text,
            original.headings,
            original.terms,
            original.extra,
        )
    [candidate, _] = sorted(
        store.search(KB, StoreQuery(vector=unit(0))), key=lambda found: found.ordinal
    )
    assert candidate.document == given_document
    assert (candidate.text, candidate.headings) == (given_nodes[0].text, given_nodes[0].headings)
    assert candidate.cosine == pytest.approx(1.0, abs=1e-6)
    assert store.count(KB) == StoreCounts(documents=1, nodes=2)
    assert store.versions(KB) == [IndexedVersion("doc_a", 7, 2)]


def test_a_newer_version_replaces_an_older_one(store: Store) -> None:
    store.replace(KB, [replacement("a", "old", "older"), replacement("b", "other")])
    store.replace(KB, [replacement("a", "new", version=2)])

    assert found_nodes(store, StoreQuery(terms={"en": ["old", "older"]})) == set()
    assert found_nodes(store, StoreQuery(terms={"en": ["new"]})) == {"a-0"}
    assert store.count(KB) == StoreCounts(documents=2, nodes=2)


def test_an_older_version_never_replaces_a_newer_one(store: Store) -> None:
    store.replace(KB, [replacement("a", "new", version=2)])
    store.replace(KB, [replacement("a", "old", version=1), replacement("b", "fresh")])

    assert found_nodes(store, StoreQuery(terms={"en": ["old", "new", "fresh"]})) == {"a-0", "b-0"}
    assert sorted(store.versions(KB), key=lambda v: v.document_id) == [
        IndexedVersion("doc_a", 2, 1),
        IndexedVersion("doc_b", 1, 1),
    ]


def test_the_highest_version_of_a_batch_stays(store: Store) -> None:
    store.replace(
        KB,
        [
            replacement("a", "first", version=1),
            replacement("a", "third", version=3),
            replacement("a", "second", version=2),
        ],
    )
    assert store.versions(KB) == [IndexedVersion("doc_a", 3, 1)]
    assert store.count(KB) == StoreCounts(documents=1, nodes=1)


def test_replacing_twice_is_as_good_as_once(store: Store) -> None:
    for _ in range(2):
        store.replace(KB, [replacement("a", "one", "two")])
    assert store.count(KB) == StoreCounts(documents=1, nodes=2)
    [candidate] = store.search(KB, StoreQuery(terms={"en": ["one"]}))
    assert candidate.query_idf == pytest.approx(math.log1p((2 - 1 + 0.5) / 1.5))


def test_a_document_without_nodes_is_counted_and_never_found(store: Store) -> None:
    store.replace(KB, [replacement("empty"), replacement("a", "one")])
    assert store.count(KB) == StoreCounts(documents=2, nodes=1)
    assert found_nodes(store, StoreQuery(vector=unit(1))) == {"a-0"}
    assert store.nodes(KB, "doc_empty") == []


def test_a_deleted_document_is_gone_and_the_others_stay(store: Store) -> None:
    store.replace(KB, [replacement("a", "one"), replacement("b", "one", "two")])

    assert store.delete(KB, ["doc_b", "doc_unknown"]) == 1
    assert store.delete(KB, ["doc_b"]) == 0

    assert found_nodes(store, StoreQuery(vector=unit(1), terms={"en": ["one", "two"]})) == {"a-0"}
    assert store.count(KB) == StoreCounts(documents=1, nodes=1)
    assert store.nodes(KB, "doc_b") == []


def test_nodes_of_an_older_version_than_asked_for_are_not_given(store: Store) -> None:
    store.replace(KB, [Replacement(document("a", 7), [node("a", 0, "one")])])

    assert [n.node_id for n in store.nodes(KB, "doc_a", from_version=7)] == ["a-0"]
    assert store.nodes(KB, "doc_a", from_version=8) == []
    assert [n.node_id for n in store.nodes(KB, "doc_a", to_version=7)] == ["a-0"]
    assert store.nodes(KB, "doc_a", to_version=6) == []


def test_nodes_of_a_version_that_is_kept_are_those_of_that_version(store: Store) -> None:
    store.replace(KB, [replacement("a", "one")])
    store.replace(KB, [replacement("a", "two", version=2)], keep_older=True)

    assert [n.terms for n in store.nodes(KB, "doc_a")] == ["two"]
    kept = [] if store.replaces_at_once else ["one"]
    assert [n.terms for n in store.nodes(KB, "doc_a", to_version=1)] == kept


def test_a_dropped_base_is_empty_and_takes_vectors_of_another_dimension(store: Store) -> None:
    store.replace(KB, [replacement("a", "one")])
    store.search(KB, StoreQuery(vector=unit(1)))
    store.drop(KB)
    assert store.count(KB) == StoreCounts(documents=0, nodes=0)
    assert store.search(KB, StoreQuery(vector=unit(1), terms={"en": ["one"]})) == []

    other = IndexedNode("n", 0, "text", (), "one", unit(3, 5), "digest")
    store.replace(KB, [Replacement(document("a"), [other])])
    assert found_nodes(store, StoreQuery(vector=unit(3, 5))) == {"n"}


def test_a_base_that_is_not_there_is_empty(store: Store) -> None:
    assert store.search("none", StoreQuery(vector=unit(0), terms={"en": ["a"]})) == []
    assert store.count("none") == StoreCounts(documents=0, nodes=0)
    assert store.delete("none", ["doc_a"]) == 0
    assert store.known_vectors("none", ["doc_a"]) == {}
    assert store.nodes("none", "doc_a") == []
    assert store.languages("none") == ()
    assert store.versions("none") == []
    store.drop("none")


def test_vectors_of_another_dimension_are_refused(store: Store) -> None:
    store.replace(KB, [replacement("a", "one")])
    wrong = IndexedNode("n", 0, "text", (), "one", unit(3, 5), "digest")
    with pytest.raises(EmbedderMismatch):
        store.replace(KB, [replacement("b", "two"), Replacement(document("c"), [wrong])])
    with pytest.raises(EmbedderMismatch):
        store.search(KB, StoreQuery(vector=unit(3, 5)))
    assert store.versions(KB) == [IndexedVersion("doc_a", 1, 1)]


def test_known_vectors_are_those_of_the_documents_asked_for(store: Store) -> None:
    store.replace(KB, [replacement("a", "one", "two"), replacement("b", "three")])
    known = store.known_vectors(KB, ["doc_a", "doc_unknown"])
    assert set(known) == {"digest of a 0 one", "digest of a 1 two"}
    assert np.array_equal(known["digest of a 1 two"], unit(1))


def test_languages_are_listed_most_frequent_first(store: Store) -> None:
    store.replace(
        KB, [replacement("a", "x", language="de"), replacement("b", "x"), replacement("c", "x")]
    )
    assert store.languages(KB) == ("en", "de")
    store.replace(KB, [replacement("b", "x", version=2, language="de")])
    assert store.languages(KB) == ("de", "en")


def test_a_document_matches_by_the_terms_of_its_own_language(store: Store) -> None:
    store.replace(
        KB, [replacement("e", "gift", language="en"), replacement("d", "gift", language="de")]
    )
    terms = {"en": ["gift"], "de": ["geschenk"]}
    assert found_nodes(store, StoreQuery(terms=terms)) == {"e-0"}
    assert found_nodes(store, StoreQuery(terms={"de": ["gift"]})) == {"d-0"}


ODD_TERMS = [
    "c++", "c#", ".net", "wal_sender_timeout", "'", '"', 'a"b', "数据", "🚀", "é", "and", "or",
    "not", "near", "*", "^", "a:b", "(", ")", "-", "v1.39.0", "ab-1234/x", "ab-1234", "c",
]  # fmt: skip


@pytest.mark.parametrize("term", ODD_TERMS)
def test_a_term_matches_exactly_whatever_it_holds(store: Store, term: str) -> None:
    others = [other for other in ODD_TERMS if other != term]
    store.replace(KB, [replacement("a", f"x {term} y"), replacement("b", *others)])
    assert found_nodes(store, StoreQuery(terms={"en": [term]})) == {"a-0"}


def bm25(terms: Sequence[str], query: Sequence[str], corpus: Sequence[Sequence[str]]) -> float:
    counts = Counter(terms)
    mean = sum(map(len, corpus)) / len(corpus)
    score = 0.0
    for term in query:
        having = sum(term in other for other in corpus)
        idf = math.log1p((len(corpus) - having + 0.5) / (having + 0.5))
        tf = counts[term]
        score += idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * len(terms) / mean))
    return score


def test_candidates_agree_with_a_plain_computation(store: Store) -> None:
    random = np.random.default_rng(5)
    words = [f"w{i}" for i in range(30)]
    texts = [random.choice(words, size=random.integers(1, 40)).tolist() for _ in range(120)]
    vectors = [unit(1000 + i) for i in range(120)]
    for first in range(0, 120, 4):
        nodes = [
            IndexedNode(str(i), i, "", (), " ".join(texts[i]), vectors[i], str(i))
            for i in range(first, first + 4)
        ]
        store.replace(KB, [Replacement(document(str(first)), nodes)])
    query = ["w1", "w2", "w2", "w3", "unknown"]
    target = unit(1)
    cosines = np.array(vectors) @ target
    scores = np.array([bm25(text, query, texts) for text in texts])

    found = store.search(KB, StoreQuery(vector=target, terms={"en": query}, candidates=10))

    nearest = np.argsort(-cosines)[:10].tolist()
    matching = np.argsort(-scores)[:10].tolist()
    assert {candidate.ordinal for candidate in found} == {*nearest, *matching}
    for candidate in found:
        assert candidate.cosine == pytest.approx(cosines[candidate.ordinal], abs=1e-5)
        first = candidate.ordinal // 4 * 4
        mean = np.mean(vectors[first : first + 4], axis=0)
        whole = mean @ target / np.linalg.norm(mean)
        assert candidate.document_cosine == pytest.approx(whole, abs=1e-5)
        assert candidate.bm25 == pytest.approx(scores[candidate.ordinal])
        own = [term for term in query if term in texts[candidate.ordinal]]
        assert candidate.matched_idf == pytest.approx(sum(idf(term, texts) for term in own))
        assert candidate.query_idf == pytest.approx(sum(idf(term, texts) for term in query))


def idf(term: str, corpus: Sequence[Sequence[str]]) -> float:
    having = sum(term in other for other in corpus)
    return math.log1p((len(corpus) - having + 0.5) / (having + 0.5))


def test_a_vector_that_is_still_on_its_way_finds_what_it_finds_when_it_is_there(
    store: Store,
) -> None:
    a, b = node("a", 0, "one", seed=1), node("b", 0, "two", seed=2)
    store.replace(KB, [Replacement(document("a"), [a]), Replacement(document("b"), [b])])
    late = StoreQuery(vector=lambda: unit(1), terms={"en": ["two"]}, candidates=1)
    there = StoreQuery(vector=unit(1), terms={"en": ["two"]}, candidates=1)
    assert store.search(KB, late) == store.search(KB, there) != []


def test_a_vector_that_never_comes_fails_its_search_alone(store: Store) -> None:
    store.replace(KB, [replacement("a", "one")])

    def fail() -> Vector:
        raise Unavailable("the model is away")

    with pytest.raises(Unavailable, match="the model is away"):
        store.search(KB, StoreQuery(vector=fail, terms={"en": ["one"]}))
    store.replace(KB, [replacement("b", "one")])
    assert len(found_nodes(store, StoreQuery(terms={"en": ["one"]}))) == 2


def test_evidence_that_was_not_asked_for_is_nought(store: Store) -> None:
    store.replace(KB, [replacement("a", "one")])
    [by_vector] = store.search(KB, StoreQuery(vector=unit(0)))
    [by_text] = store.search(KB, StoreQuery(terms={"en": ["one"]}))
    assert (by_vector.bm25, by_vector.matched_idf, by_vector.query_idf) == (0, 0, 0)
    assert (by_text.cosine, by_text.document_cosine) == (0, 0)
    assert by_text.bm25 > 0
    assert store.search(KB, StoreQuery()) == []
    assert store.search(KB, StoreQuery(terms={"en": []})) == []


def test_equal_nodes_are_chosen_in_the_same_order_every_time(store: Store) -> None:
    if isinstance(store, WeaviateStore):
        pytest.skip("its server breaks ties as its threads happen to run")
    same = [Replacement(document(str(i)), [node(str(i), 0, "same", seed=1)]) for i in range(20)]
    store.replace(KB, same)
    query = StoreQuery(vector=unit(1), terms={"en": ["same"]}, candidates=5)
    first = found_nodes(store, query)
    assert len(first) == 5
    assert all(found_nodes(store, query) == first for _ in range(3))


def test_a_filter_reaches_the_best_of_what_it_allows(store: Store) -> None:
    for i in range(60):
        rare = document(str(i), attributes={"kind": "rare" if i % 20 == 0 else "common"})
        store.replace(KB, [Replacement(rare, [node(str(i), 0, "word " * (i + 1), seed=i)])])
    only = Comparison("sourceData.kind", Operator.EQ, "rare")
    wanted = {"0-0", "20-0", "40-0"}
    assert found_nodes(store, StoreQuery(vector=unit(7), filter=only, candidates=3)) == wanted
    by_text = StoreQuery(terms={"en": ["word"]}, filter=only, candidates=3)
    assert found_nodes(store, by_text) == wanted


# Filters against a plain evaluation

VALUES: list[JsonValue] = [
    "a", "b", "ab", "", "5", "é", "Z", 5, 5.0, 5.5, -1, 0, 1, True, False, None,
    ["a", "b"], ["ab"], [], [5, "5"], {"nested": 1}, 2**80, 1e300,
]  # fmt: skip
OPERANDS: list[Scalar] = [
    "a", "b", "ab", "", "5", "é", "Z", 5, 5.0, 5.5, -1, 0, 1, True, False, 2**80,
]  # fmt: skip
TIMES = ["2026-01-01", "2026-01-03T00:00:00Z", "2026-01-03T02:00:00+02:00", "2026-01-09T12:00:00"]


def documents_to_filter() -> list[IndexedDocument]:
    random = np.random.default_rng(3)
    return [
        document(
            str(i),
            language=["en", "de"][i % 2],
            source=["integration:shop", "quant", "integration:a"][i % 3],
            tags=tuple(random.choice(["a", "b", "ab"], size=i % 3, replace=False).tolist()),
            attributes={
                name: VALUES[random.integers(len(VALUES))]
                for name in ("x", "y")
                if random.random() < 0.8
            },
            updated_at=START + timedelta(days=i % 10),
        )
        for i in range(60)
    ]


def values_of(of: IndexedDocument, field: str) -> tuple[list[Scalar], bool]:
    fixed: dict[str, JsonValue] = {
        "externalId": of.external_id,
        "language": of.language,
        "tags": list(of.tags),
        "integrationId": of.source.partition(":")[2] or None,
        "updatedAt": of.updated_at.timestamp(),
    }
    value = fixed[field] if field in fixed else of.attributes.get(field.partition(".")[2])
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str | int | float)], isinstance(value, list)


def kind(value: Scalar) -> type:
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def comparable(field: str, value: Scalar) -> Scalar:
    if field == "updatedAt":
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value


def same(one: Scalar, other: Scalar) -> bool:
    return kind(one) is kind(other) and one == other


def holds(condition: Filter, of: IndexedDocument) -> bool:
    match condition:
        case And(operands):
            return all(holds(operand, of) for operand in operands)
        case Or(operands):
            return any(holds(operand, of) for operand in operands)
        case Not(operand):
            return not holds(operand, of)
        case Comparison(field, operator, raw):
            have, in_list = values_of(of, field)
            listed = raw if isinstance(raw, tuple) else (raw,)
            want = [comparable(field, value) for value in listed] if operator != "exists" else []
            return _compares(operator, have, want, in_list=in_list, raw=raw)


def _compares(
    operator: Operator, have: list[Scalar], want: list[Scalar], *, in_list: bool, raw: object
) -> bool:
    def ordered(test: Callable[[float, float], bool], text: Callable[[str, str], bool]) -> bool:
        def one(value: Scalar) -> bool:
            if kind(value) is not kind(want[0]):
                return False
            if isinstance(value, str):
                return text(value, str(want[0]))
            return test(float(value), float(want[0]))

        return any(map(one, have))

    match operator:
        case Operator.EQ | Operator.IN | Operator.ANY:
            return any(same(value, other) for value in have for other in want)
        case Operator.NE | Operator.NIN:
            return not any(same(value, other) for value in have for other in want)
        case Operator.ALL:
            return all(any(same(value, other) for value in have) for other in want)
        case Operator.EXISTS:
            return bool(have) is raw
        case Operator.CONTAINS if in_list:
            return any(same(value, want[0]) for value in have)
        case Operator.CONTAINS:
            return any(
                isinstance(value, str) and isinstance(want[0], str) and want[0] in value
                for value in have
            )
        case Operator.GT:
            return ordered(lambda a, b: a > b, lambda a, b: a > b)
        case Operator.GTE:
            return ordered(lambda a, b: a >= b, lambda a, b: a >= b)
        case Operator.LT:
            return ordered(lambda a, b: a < b, lambda a, b: a < b)
        case Operator.LTE:
            return ordered(lambda a, b: a <= b, lambda a, b: a <= b)


LISTED = (Operator.IN, Operator.NIN, Operator.ANY, Operator.ALL)
ORDERED = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    field = draw(
        st.sampled_from(
            ["sourceData.x", "sourceData.y", "sourceData.missing", "tags", "language",
             "integrationId", "externalId", "updatedAt"]
        )
    )  # fmt: skip
    operator = draw(st.sampled_from(list(Operator)))
    operands: list[Scalar] = list(TIMES) if field == "updatedAt" else OPERANDS
    if field == "updatedAt" and operator is Operator.CONTAINS:
        operator = Operator.GTE
    if operator in LISTED:
        return Comparison(
            field, operator, tuple(draw(st.lists(st.sampled_from(operands), max_size=4)))
        )
    if operator is Operator.EXISTS:
        return Comparison(field, operator, draw(st.booleans()))
    if operator in ORDERED:
        operands = [value for value in operands if not isinstance(value, bool)]
    return Comparison(field, operator, draw(st.sampled_from(operands)))


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda operands: And(tuple(operands))),
        st.lists(inner, max_size=3).map(lambda operands: Or(tuple(operands))),
        inner.map(Not),
    ),
    max_leaves=6,
)


@pytest.fixture(params=STORES, scope="module")
def filtered_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    opened = open_store(request.param, request, tmp_path_factory.mktemp("filters"))
    opened.replace(
        KB, [Replacement(of, [node(of.external_id, 0, "word")]) for of in documents_to_filter()]
    )
    yield opened
    opened.close()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(condition=FILTERS)
def test_filters_agree_with_a_plain_evaluation(filtered_store: Store, condition: Filter) -> None:
    wanted = {of.document_id for of in documents_to_filter() if holds(condition, of)}
    for query in (
        StoreQuery(vector=unit(0), filter=condition),
        StoreQuery(terms={"en": ["word"], "de": ["word"]}, filter=condition),
    ):
        found = {c.document.document_id for c in filtered_store.search(KB, query)}
        assert found == wanted


def test_very_wide_filters_are_served(filtered_store: Store) -> None:
    names = tuple(str(i) for i in range(10_000))
    for condition in (
        Comparison("externalId", Operator.IN, names),
        Or(tuple(Comparison("externalId", Operator.EQ, name) for name in names[:2_000])),
        Not(Comparison("externalId", Operator.ALL, names)),
        And((And(()),) * 5_000),
    ):
        assert len(filtered_store.search(KB, StoreQuery(vector=unit(0), filter=condition))) == 60


def test_a_time_that_is_none_is_refused(filtered_store: Store) -> None:
    for value in ("yesterday", 5, True):
        wrong = Comparison("updatedAt", Operator.EQ, value)
        with pytest.raises(InvalidRequest):
            filtered_store.search(KB, StoreQuery(vector=unit(0), filter=wrong))


# Isolation

HOSTILE = [
    "",
    ".",
    "..",
    "../kb",
    "kb/",
    "KB",
    "kb\x00",
    "kb ",
    "数",
    "ｋｂ",
    "a" * 300,
    "%2e",
    "kb?x=1",
]


def test_knowledge_bases_never_see_each_other(store: Store) -> None:
    names = [KB, *HOSTILE]
    for i, name in enumerate(names):
        store.replace(name, [replacement("a", f"word{i}")])
    for i, name in enumerate(names):
        assert store.count(name) == StoreCounts(documents=1, nodes=1)
        every = StoreQuery(terms={"en": [f"word{j}" for j in range(len(names))]})
        [candidate] = store.search(name, every)
        assert candidate.text.endswith(f": word{i}")
    store.drop(KB)
    assert store.delete(names[1], ["doc_a"]) == 1
    assert all(store.count(name).documents == 1 for name in names[2:])


# Concurrency


def version_seen(candidates: Sequence[Candidate]) -> tuple[set[int], int]:
    return {candidate.document.version for candidate in candidates}, len(candidates)


def test_searches_beside_replacements_see_one_whole_version(store: Store) -> None:
    if not store.replaces_at_once:
        pytest.skip("promises less, which the next test holds it to")
    nodes_of = {version: 1 + version % 3 for version in range(1, 41)}
    only = Comparison("externalId", Operator.EQ, "a")
    others = [replacement(f"o{i}", "word", "word") for i in range(20)]
    store.replace(KB, [*others, replacement("a", *["word"] * nodes_of[1], version=1)])
    done = threading.Event()

    def write() -> None:
        for version in range(2, 41):
            store.replace(KB, [replacement("a", *["word"] * nodes_of[version], version=version)])
        done.set()

    def read(query: StoreQuery) -> int:
        searches, newest = 0, 0
        while True:
            last = done.is_set()
            versions, count = version_seen(store.search(KB, query))
            [version] = versions
            assert count == nodes_of[version]
            assert version >= newest
            newest = version
            searches += 1
            if last:
                assert version == 40
                return searches

    queries = [
        StoreQuery(vector=unit(1), filter=only),
        StoreQuery(terms={"en": ["word"]}, filter=only),
        StoreQuery(vector=unit(1), terms={"en": ["word"]}, filter=only),
    ]
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, query) for query in queries]
        pool.submit(write).result()
        assert all(reader.result() > 0 for reader in readers)


def test_a_version_that_is_kept_is_found_whole_until_it_is_deleted(store: Store) -> None:
    only = Comparison("externalId", Operator.EQ, "a")
    query = StoreQuery(vector=unit(1), terms={"en": ["word"]}, filter=only)
    nodes_of = {version: 1 + version % 3 for version in range(1, 21)}
    store.replace(KB, [replacement("a", *["word"] * nodes_of[1], version=1)])
    current = 1
    # Held by each search for as long as it may need the version that it began with.
    in_use: Counter[int] = Counter()
    changed = threading.Condition()

    def search() -> None:
        with changed:
            version = current
            in_use[version] += 1
        found = [c for c in store.search(KB, query) if c.document.version >= version]
        with changed:
            in_use[version] -= 1
            changed.notify_all()
        of_version = [c for c in found if c.document.version == version]
        if of_version or not store.replaces_at_once:
            assert len(of_version) == nodes_of[version]
        else:
            [newer] = {c.document.version for c in found}
            assert len(found) == nodes_of[newer]

    def searches() -> int:
        count = 0
        while current < 20:
            search()
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(searches) for _ in range(3)]
        for version in range(2, 21):
            new = replacement("a", *["word"] * nodes_of[version], version=version)
            store.replace(KB, [new], keep_older=True)
            with changed:
                current = version
                while sum(in_use[older] for older in range(version)):
                    assert changed.wait(20)
            store.delete_older(KB, {"doc_a": version})
        assert sum(reader.result() for reader in readers) > 20
    search()
    assert store.versions(KB) == [IndexedVersion("doc_a", 20, nodes_of[20])]


def test_writers_of_one_base_wait_for_each_other(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.replace(KB, [replacement(str(i), "word")]), range(40)))
    assert store.count(KB) == StoreCounts(documents=40, nodes=40)
    assert len(found_nodes(store, StoreQuery(vector=unit(1)))) == 40
