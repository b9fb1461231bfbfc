"""What LlamaIndex's own Weaviate store gets wrong, and ours does not, on the same server.

Each fault is a function that tells whether it shows. One that no longer shows on the stock
class fails here as well: then our reason for overriding it is gone.
"""

import inspect
import secrets
from collections.abc import Callable, Iterator

import pytest
import weaviate
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.init import Auth

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.stores.weaviate_vector_store import ReaktlyWeaviateVectorStore
from scripts.weaviate_server import WeaviateServer

pytestmark = pytest.mark.timeout(180)

# What auto-schema would make of LlamaIndex's nodes; the server here has it off.
STOCK_COLUMNS = ("text", "ref_doc_id", "doc_id", "document_id", "_node_content", "_node_type")


@pytest.fixture(scope="module")
def client(weaviate_server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    with weaviate.connect_to_custom(
        http_host="127.0.0.1",
        http_port=int(weaviate_server.url.rpartition(":")[2]),
        http_secure=False,
        grpc_host="127.0.0.1",
        grpc_port=int(weaviate_server.grpc_url.rpartition(":")[2]),
        grpc_secure=False,
        auth_credentials=Auth.api_key(weaviate_server.key),
    ) as connected:
        yield connected


@pytest.fixture
def stock(client: weaviate.WeaviateClient) -> WeaviateVectorStore:
    """The stock store with a collection as auto-schema makes it."""
    name = f"S{secrets.token_hex(6)}"
    texts = [Property(name=column, data_type=DataType.TEXT) for column in (*STOCK_COLUMNS, "name")]
    client.collections.create(
        name,
        properties=[*texts, Property(name="price", data_type=DataType.NUMBER)],
        vector_config=Configure.Vectors.self_provided(),
    )
    return WeaviateVectorStore(weaviate_client=client, index_name=name)


@pytest.fixture
def ours(weaviate_server: WeaviateServer) -> Iterator[ReaktlyWeaviateVectorStore]:
    store = ReaktlyWeaviateVectorStore(
        weaviate_server.url,
        grpc_url=weaviate_server.grpc_url,
        api_key=weaviate_server.key,
        index_name=f"T{secrets.token_hex(6)}",
    )
    yield store
    store.close()


def node(title: str, vector: list[float], ref: str = "doc", **metadata: object) -> TextNode:
    # The stock store takes nothing but UUIDs for ids.
    return TextNode(
        id_=weaviate.util.generate_uuid5(title),
        text=f"text of {title}",
        embedding=vector,
        metadata=metadata,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref)},
    )


RED = node("red", [1.0, 0.0], "guide", name="Anna", price=10)
GREEN = node("green", [0.8, 0.6], "user/guide", name="Ben", price=20)
BLUE = node("blue", [0.0, 1.0], "other", name="Cleo", price=30)


def found(store: BasePydanticVectorStore, **query: object) -> list[str]:
    asked = {"query_embedding": [1.0, 0.0], "query_str": "blue", "similarity_top_k": 3, **query}
    nodes = store.query(VectorStoreQuery(**asked)).nodes  # type: ignore[arg-type]
    return [str(one.get_content()).removeprefix("text of ") for one in nodes or []]


def losing_nodes_of_an_unknown_column(store: BasePydanticVectorStore) -> bool:
    store.add([node("odd", [1.0, 0.0], colour="red")])
    return found(store) == []


def taking_a_wrong_dimension_for_stored(store: BasePydanticVectorStore) -> bool:
    store.add([RED])
    try:
        store.add([node("long", [1.0, 0.0, 0.0])])
    except ReaktlyError:
        return False
    return found(store) == ["red"]


def deleting_documents_of_other_names(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    store.delete("guide")
    return "green" not in found(store)


def reading_an_alpha_of_nought_as_a_half(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    by_words_alone = VectorStoreQuery(
        query_embedding=[1.0, 0.0], query_str="blue", mode=VectorStoreQueryMode.HYBRID, alpha=0.0
    )
    answer = store.query(by_words_alone)
    scores = dict(zip(answer.ids or [], answer.similarities or [], strict=True))
    return scores.get(RED.node_id, 0.0) > 0


def searching_text_by_vector(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    return found(store, mode=VectorStoreQueryMode.TEXT_SEARCH)[0] != "blue"


def forgetting_documents_when_filters_are_given(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    cheap = MetadataFilters(
        filters=[MetadataFilter(key="price", value=25, operator=FilterOperator.LT)]
    )
    return found(store, doc_ids=["guide"], filters=cheap) != ["red"]


def refusing_operators(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    expected = {
        FilterOperator.IN: (["Anna", "Ben"], ["red", "green"]),
        FilterOperator.NIN: (["Anna", "Ben"], ["blue"]),
        FilterOperator.CONTAINS: ("nn", ["red"]),
        FilterOperator.TEXT_MATCH: ("nn", ["red"]),
    }
    try:
        for operator, (value, names) in expected.items():
            one = MetadataFilter(key="name", value=value, operator=operator)
            if found(store, filters=MetadataFilters(filters=[one])) != names:
                return True
    except ValueError:
        return True
    return False


def refusing_negation(store: BasePydanticVectorStore) -> bool:
    store.add([RED, GREEN, BLUE])
    not_anna = MetadataFilters(
        filters=[MetadataFilter(key="name", value="Anna")], condition=FilterCondition.NOT
    )
    try:
        return found(store, filters=not_anna) != ["green", "blue"]
    except ValueError:
        return True


def calling_the_best_of_poor_matches_perfect(store: BasePydanticVectorStore) -> bool:
    store.add([BLUE, GREEN])
    answer = store.query(VectorStoreQuery(query_embedding=[1.0, -1.0], similarity_top_k=2))
    assert answer.similarities is not None
    # Cosines of the two are .14 and -.71.
    return max(answer.similarities) > 0.5


FAULTS: list[Callable[[BasePydanticVectorStore], bool]] = [
    losing_nodes_of_an_unknown_column,
    taking_a_wrong_dimension_for_stored,
    deleting_documents_of_other_names,
    reading_an_alpha_of_nought_as_a_half,
    searching_text_by_vector,
    forgetting_documents_when_filters_are_given,
    refusing_operators,
    refusing_negation,
    calling_the_best_of_poor_matches_perfect,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_stock_store_is_none_of_ours(
    fault: Callable[[BasePydanticVectorStore], bool],
    stock: WeaviateVectorStore,
    ours: ReaktlyWeaviateVectorStore,
) -> None:
    assert fault(stock), "the stock store has mended it"
    assert not fault(ours)


def test_ours_is_one_of_theirs_and_inherits_nothing_unexamined(
    ours: ReaktlyWeaviateVectorStore,
) -> None:
    assert isinstance(ours, WeaviateVectorStore)
    methods = {
        name
        for name, member in vars(WeaviateVectorStore).items()
        if inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
    }
    generated = {name for name in methods if name.startswith("__") and "pydantic" in name}
    assert "__del__" in methods
    assert methods - generated - vars(ReaktlyWeaviateVectorStore).keys() == set()


def test_its_configuration_holds_no_key(ours: ReaktlyWeaviateVectorStore) -> None:
    key = ours.client.connection.address.api_key
    assert key is not None
    assert key not in str(ours.to_dict()) + repr(ours)


def test_a_server_that_is_not_there_is_an_error_and_no_id() -> None:
    store = ReaktlyWeaviateVectorStore("http://127.0.0.1:9", query_timeout=1, insert_timeout=1)
    with pytest.raises(ReaktlyError):
        store.add([RED])
    store.close()
