import asyncio
import copy
import pickle
from pathlib import Path

import pytest
from llama_index.core.schema import TextNode

from llamaindex_reaktly.embeddings import minilm_tokenizer
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_embedding import MiniLMEmbedding
from llamaindex_reaktly.errors import ModelMissing

TEXTS = ["Refunds take a week.", "", "数据库", "print(1)", "long " * 300]


@pytest.fixture
def embedding(minilm: MiniLM) -> MiniLMEmbedding:
    return MiniLMEmbedding.sharing(minilm)


async def test_async_gives_what_sync_gives(embedding: MiniLMEmbedding) -> None:
    assert await embedding.aget_query_embedding(TEXTS[0]) == embedding.get_query_embedding(TEXTS[0])
    assert await embedding.aget_text_embedding(TEXTS[0]) == embedding.get_text_embedding(TEXTS[0])
    batch = await embedding.aget_text_embedding_batch(TEXTS)
    assert batch == embedding.get_text_embedding_batch(TEXTS)


def test_vectors_are_those_of_the_model(embedding: MiniLMEmbedding, minilm: MiniLM) -> None:
    assert embedding.get_text_embedding_batch(TEXTS) == minilm.embed_documents(TEXTS).tolist()


def test_queries_and_texts_are_treated_alike(embedding: MiniLMEmbedding) -> None:
    assert embedding.get_query_embedding("a backup") == embedding.get_text_embedding("a backup")


async def test_the_event_loop_stays_free_while_texts_are_embedded(
    embedding: MiniLMEmbedding,
) -> None:
    task = asyncio.create_task(embedding.aget_text_embedding_batch(["word " * 300] * 20))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(await task) == 20
    assert turns > 100


def test_nodes_are_embedded_as_in_any_transformation(embedding: MiniLMEmbedding) -> None:
    (node,) = embedding([TextNode(text="Refunds take a week.")])
    assert node.embedding == embedding.get_text_embedding("Refunds take a week.")


def test_what_is_serialised_comes_back_equal(tmp_path: Path) -> None:
    embedding = MiniLMEmbedding(model_path=str(tmp_path), threads=2, embed_batch_size=8)
    data = embedding.to_dict()
    assert data["class_name"] == "MiniLMEmbedding"
    assert MiniLMEmbedding.from_dict(data).to_dict() == data
    assert MiniLMEmbedding().embed_batch_size == 64


def test_a_copy_and_a_pickled_one_load_the_model_themselves(minilm: MiniLM) -> None:
    embedding = MiniLMEmbedding.sharing(minilm)
    expected = embedding.get_text_embedding("same")
    for other in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding))):
        assert other.get_text_embedding("same") == expected
        other.close()


def test_closing_leaves_a_shared_model_open(minilm: MiniLM) -> None:
    MiniLMEmbedding.sharing(minilm).close()
    assert minilm.embed_documents(["still open"]).shape == (1, 384)


def test_a_closed_embedding_loads_its_model_again(minilm: MiniLM) -> None:
    embedding = MiniLMEmbedding()
    first = embedding.get_text_embedding_batch(["again"])
    embedding.close()
    assert embedding.get_text_embedding_batch(["again"]) == first
    embedding.close()


def test_the_model_is_missed_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_tokenizer, "DISTRIBUTION_PACKAGE", "no_such_distribution")
    embedding = MiniLMEmbedding()
    with pytest.raises(ModelMissing):
        embedding.get_query_embedding("now")
