"""Both stores through LlamaIndex's interface."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.errors import EmbedderMismatch
from llamaindex_reaktly.stores.protocol import IndexedDocument, IndexedNode, Replacement
from llamaindex_reaktly.stores.sqlite_vector_store import ReaktlySQLiteVectorStore
from llamaindex_reaktly.stores.weaviate_vector_store import ReaktlyWeaviateVectorStore
from scripts.weaviate_server import WeaviateServer

Face = ReaktlySQLiteVectorStore | ReaktlyWeaviateVectorStore


@pytest.fixture(params=["embedded", "weaviate"])
def open_face(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Face]]:
    """Opens knowledge bases of one new index, on each store in turn."""
    opened: list[Face] = []
    prefix = f"T{secrets.token_hex(6)}"

    def open_one(knowledge_base_id: str) -> Face:
        face: Face
        if request.param == "embedded":
            face = ReaktlySQLiteVectorStore(tmp_path, knowledge_base_id)
        else:
            server: WeaviateServer = request.getfixturevalue("weaviate_server")
            face = ReaktlyWeaviateVectorStore(
                server.url,
                knowledge_base_id,
                grpc_url=server.grpc_url,
                api_key=server.key,
                index_name=prefix,
            )
        opened.append(face)
        return face

    yield open_one
    for face in opened:
        face.close()


@pytest.fixture
def store(open_face: Callable[[str], Face]) -> Face:
    return open_face("default")


def embedding(*parts: float) -> list[float]:
    return [*parts, *[0.0] * (4 - len(parts))]


def text_node(
    node_id: str, text: str, vector: list[float], ref: str = "doc", **metadata: Any
) -> TextNode:
    return TextNode(
        id_=node_id,
        text=text,
        embedding=vector,
        metadata=metadata,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref)},
    )


NODES = [
    text_node(
        "a", "Red running shoes", embedding(1), "d1", price=10, tags=["sale", "new"], name="Anna"
    ),
    text_node("b", "Blue running shorts", embedding(0.9, 0.1), "d1", price=20, name="bob"),
    text_node("c", "A green hat", embedding(0.8, -0.3), "d2", price=20.0, tags=[], name=""),
    text_node("d", "Set wal_sender_timeout", embedding(0, 0, 1), "user/d2"),
]


@pytest.fixture
def filled(store: Face) -> Face:
    assert store.add(NODES) == ["a", "b", "c", "d"]
    return store


def ids(store: Face, **query: Any) -> list[str]:
    defaults: dict[str, Any] = {"query_embedding": embedding(1), "similarity_top_k": 10}
    return store.query(VectorStoreQuery(**{**defaults, **query})).ids or []


def test_nodes_come_back_without_loss(store: Face) -> None:
    nodes: list[BaseNode] = [
        text_node("t", "Text", embedding(1), "d", doc_id="mine", deep={"er": [1, None]}, on=True),
        IndexNode(id_="i", text="Index", index_id="x", embedding=embedding(0, 1)),
        ImageNode(id_="p", text="", image="aGk=", embedding=embedding(0, 0, 1)),
        TextNode(
            id_="x",
            text="ünïcode\n\ttext",
            embedding=embedding(0, 0, 0, 1),
            start_char_idx=3,
            end_char_idx=9,
            excluded_embed_metadata_keys=["secret"],
            metadata={"secret": "s"},
            relationships={NodeRelationship.NEXT: RelatedNodeInfo(node_id="t")},
        ),
    ]
    store.add(nodes)
    returned = {node.node_id: node for node in store.get_nodes()}
    for node in nodes:
        again = returned[node.node_id]
        assert type(again) is type(node)
        assert again.to_dict() == {**node.to_dict(), "embedding": None}


def test_adding_nodes_of_a_known_document_keeps_its_others(
    filled: Face,
) -> None:
    filled.add([text_node("e", "More", embedding(0, 1), "d1")])
    assert {node.node_id for node in filled.get_nodes()} == {"a", "b", "c", "d", "e"}


def test_adding_a_known_node_replaces_it(filled: Face) -> None:
    filled.add([text_node("a", "Yellow", embedding(0, 1), "d1")])
    [node] = filled.get_nodes(node_ids=["a"])
    assert node.get_content() == "Yellow"
    assert len(filled.get_nodes()) == 4


def test_delete_takes_the_nodes_of_that_document_and_no_other(
    filled: Face,
) -> None:
    filled.delete("d2")
    assert {node.node_id for node in filled.get_nodes()} == {"a", "b", "d"}


def test_delete_nodes_by_id_and_filter(filled: Face) -> None:
    twenty = MetadataFilters(filters=[MetadataFilter(key="price", value=20)])
    filled.delete_nodes(node_ids=["a", "b"], filters=twenty)
    assert {node.node_id for node in filled.get_nodes()} == {"a", "c", "d"}
    filled.delete_nodes(filters=twenty)
    filled.delete_nodes(node_ids=["d"])
    filled.delete_nodes()
    assert {node.node_id for node in filled.get_nodes()} == {"a"}
    filled.delete_nodes(node_ids=[])
    assert len(filled.get_nodes()) == 1
    filled.clear()
    assert filled.get_nodes() == []


def test_the_default_mode_ranks_by_cosine(filled: Face) -> None:
    result = filled.query(VectorStoreQuery(query_embedding=embedding(5), similarity_top_k=2))
    assert result.ids == ["a", "b"]
    assert result.similarities == pytest.approx([1, 0.9 / np.hypot(0.9, 0.1)])
    assert [node.get_content() for node in result.nodes or ()] == [
        "Red running shoes",
        "Blue running shorts",
    ]


@pytest.mark.parametrize("mode", [VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE])
def test_text_modes_rank_by_words(filled: Face, mode: VectorStoreQueryMode) -> None:
    assert ids(filled, mode=mode, query_str="runs in a shoe", query_embedding=None)[0] == "a"
    assert ids(filled, mode=mode, query_str="wal_sender_timeout", query_embedding=None) == ["d"]
    assert ids(filled, mode=mode, query_str="nothing of it", query_embedding=None) == []


def test_alpha_weighs_the_legs_of_a_hybrid_query(filled: Face) -> None:
    hybrid: dict[str, Any] = {
        "mode": VectorStoreQueryMode.HYBRID,
        "query_str": "wal_sender_timeout",
    }
    assert ids(filled, **hybrid, alpha=0.0)[0] == "d"
    assert ids(filled, **hybrid, alpha=1.0)[0] == "a"
    only_text = filled.query(
        VectorStoreQuery(query_embedding=embedding(1), similarity_top_k=4, alpha=0.0, **hybrid)
    )
    assert only_text.similarities is not None
    assert only_text.similarities[1:] == [0, 0, 0]


def test_mmr_prefers_variety(filled: Face) -> None:
    mmr = {"mode": VectorStoreQueryMode.MMR, "similarity_top_k": 2}
    assert ids(filled, **mmr, mmr_threshold=1.0) == ["a", "b"]
    assert ids(filled, **mmr, mmr_threshold=0.1) == ["a", "d"]


@pytest.mark.parametrize(
    "mode",
    [
        VectorStoreQueryMode.SVM,
        VectorStoreQueryMode.LINEAR_REGRESSION,
        VectorStoreQueryMode.LOGISTIC_REGRESSION,
        VectorStoreQueryMode.SEMANTIC_HYBRID,
    ],
)
def test_other_modes_are_refused(filled: Face, mode: VectorStoreQueryMode) -> None:
    with pytest.raises(ValueError, match="not supported"):
        ids(filled, mode=mode, query_str="x")


def test_a_leg_without_its_input_is_refused(filled: Face) -> None:
    with pytest.raises(ValueError, match="query_embedding"):
        ids(filled, query_embedding=None)
    with pytest.raises(ValueError, match="query_str"):
        ids(filled, mode=VectorStoreQueryMode.HYBRID)


def test_ids_and_filters_must_all_hold(filled: Face) -> None:
    twenty = MetadataFilters(filters=[MetadataFilter(key="price", value=20)])
    assert set(ids(filled, filters=twenty)) == {"b", "c"}
    assert set(ids(filled, filters=twenty, doc_ids=["d1"])) == {"b"}
    assert set(ids(filled, node_ids=["a", "c"], doc_ids=["d1", "d2"])) == {"a", "c"}
    assert set(ids(filled, node_ids=["a", "c"], filters=twenty)) == {"c"}
    assert ids(filled, node_ids=[]) == []
    assert set(ids(filled, doc_ids=["d2"])) == {"c"}


OPERATOR_CASES: dict[FilterOperator, list[tuple[str, Any, set[str]]]] = {
    FilterOperator.EQ: [("price", 20, {"b", "c"}), ("price", "20", set()), ("name", None, {"d"}),
                        ("ref_doc_id", "user/d2", {"d"})],
    FilterOperator.NE: [("price", 20, {"a", "d"}), ("name", None, {"a", "b", "c"})],
    FilterOperator.GT: [("price", 10, {"b", "c"}), ("name", "a", {"b"})],
    FilterOperator.GTE: [("price", 10, {"a", "b", "c"})],
    FilterOperator.LT: [("price", 20, {"a"})],
    FilterOperator.LTE: [("price", 20.0, {"a", "b", "c"})],
    FilterOperator.IN: [("name", ["Anna", "bob"], {"a", "b"}), ("price", [10], {"a"})],
    FilterOperator.NIN: [("name", ["Anna", "bob"], {"c", "d"})],
    FilterOperator.ANY: [("tags", ["new", "x"], {"a"})],
    FilterOperator.ALL: [("tags", ["new", "sale"], {"a"}), ("tags", ["new", "x"], set())],
    FilterOperator.CONTAINS: [("tags", "new", {"a"}), ("tags", "ne", set())],
    FilterOperator.TEXT_MATCH: [("name", "nn", {"a"}), ("name", "an", set())],
    FilterOperator.TEXT_MATCH_INSENSITIVE: [("name", "AN", {"a"}), ("name", "BOB", {"b"})],
    FilterOperator.IS_EMPTY: [("tags", None, {"b", "c", "d"}), ("name", None, {"c", "d"})],
}  # fmt: skip


@pytest.mark.parametrize("operator", list(FilterOperator))
def test_every_filter_operator_is_served(filled: Face, operator: FilterOperator) -> None:
    for key, value, wanted in OPERATOR_CASES[operator]:
        condition = MetadataFilters(
            filters=[MetadataFilter(key=key, value=value, operator=operator)]
        )
        assert set(ids(filled, filters=condition)) == wanted
        assert {node.node_id for node in filled.get_nodes(filters=condition)} == wanted


def test_conditions_nest(filled: Face) -> None:
    price = MetadataFilter(key="price", value=20)
    anna = MetadataFilter(key="name", value="Anna")
    bob = MetadataFilter(key="name", value="bob")
    either = MetadataFilters(filters=[anna, price], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[anna, bob], condition=FilterCondition.NOT)
    both = MetadataFilters(filters=[either, neither], condition=FilterCondition.AND)
    assert set(ids(filled, filters=either)) == {"a", "b", "c"}
    assert set(ids(filled, filters=neither)) == {"c", "d"}
    assert set(ids(filled, filters=both)) == {"c"}


def test_a_value_that_means_nothing_to_an_operator_is_refused(
    filled: Face,
) -> None:
    for operator, value in (
        (FilterOperator.IN, "a"),
        (FilterOperator.GT, ["a"]),
        (FilterOperator.GT, None),
        (FilterOperator.TEXT_MATCH, 5),
    ):
        wrong = MetadataFilter(key="name", value=value, operator=operator)
        with pytest.raises(ValueError, match="name"):
            ids(filled, filters=MetadataFilters(filters=[wrong]))


def test_an_embedding_of_another_dimension_is_refused(filled: Face) -> None:
    with pytest.raises(EmbedderMismatch):
        filled.add([TextNode(text="x", embedding=[1.0, 2.0])])


def test_knowledge_bases_of_one_index_are_apart(
    filled: Face, open_face: Callable[[str], Face]
) -> None:
    assert open_face("other").get_nodes() == []
    assert len(open_face("default").get_nodes()) == 4


def test_documents_of_reaktly_are_found_and_deleted_by_their_own_id_only(
    filled: Face,
) -> None:
    page = IndexedDocument(
        document_id="doc_page",
        version=3,
        source="quant",
        external_id="d1",
        source_type=SourceType.PAGE,
        title="A page",
        url="/page",
        summary=None,
        tags=("sale",),
        language="en",
        attributes={"price": 20},
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    vector = np.array(embedding(0, 1), dtype=np.float32)
    chunk = IndexedNode("chunk", 0, "Its text", ("Part",), "it text", vector, "digest")
    filled.client.replace("default", [Replacement(page, [chunk])])

    filled.delete("d1")
    [node] = filled.get_nodes(
        filters=MetadataFilters(filters=[MetadataFilter(key="url", value="/page")])
    )
    assert node.get_content() == "Its text"
    assert node.metadata == {"price": 20, "title": "A page", "url": "/page", "headings": ["Part"]}
    assert node.ref_doc_id == "doc_page"
    assert ids(filled, doc_ids=["doc_page"]) == ["chunk"]

    filled.delete("doc_page")
    assert {left.node_id for left in filled.get_nodes()} == {"c", "d"}


async def test_the_async_face_does_the_same(store: Face) -> None:
    assert await store.async_add(NODES) == ["a", "b", "c", "d"]
    query = VectorStoreQuery(query_embedding=embedding(1), similarity_top_k=3)
    results = await asyncio.gather(*(store.aquery(query) for _ in range(5)))
    assert all(result.ids == ["a", "b", "c"] for result in results)
    await store.adelete("d1")
    await store.adelete_nodes(node_ids=["c"])
    assert [node.node_id for node in await store.aget_nodes()] == ["d"]
    await store.aclear()
    assert await store.aget_nodes() == []
