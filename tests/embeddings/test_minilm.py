import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.embeddings import minilm_tokenizer
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.errors import ModelMissing

TEXTS = [
    "",
    "Invoices are due within thirty days.",
    "Rechnungen sind innerhalb von dreißig Tagen fällig.",
    "发票须在三十天内付清。",
    "def total(lines):\n    return sum(line.price for line in lines)",
    "word " * 400,
    "A backup runs every night and is kept for two weeks. " * 8,
]


def test_it_is_a_text_embedder(minilm: MiniLM) -> None:
    embedder: TextEmbedder = minilm
    assert embedder.identity.name == "minilm"
    assert embedder.identity.dimension == 384
    assert len(embedder.identity.build) == 12
    assert embedder.max_tokens == 256


def test_vectors_have_unit_length(minilm: MiniLM) -> None:
    vectors = minilm.embed_documents(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_vectors_of_the_right_width(minilm: MiniLM) -> None:
    assert minilm.embed_documents([]).shape == (0, 384)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_vector_is_the_same_to_the_bit_alone_and_in_any_batch(
    minilm: MiniLM, threads: int
) -> None:
    alone = [minilm.embed_query(text) for text in TEXTS]
    shuffle = random.Random(threads).shuffle
    with MiniLM.load(threads=threads) as other:
        for _ in range(3):
            order = list(range(len(TEXTS)))
            shuffle(order)
            vectors = other.embed_documents([TEXTS[row] for row in order])
            for row, vector in zip(order, vectors, strict=True):
                assert np.array_equal(vector, alone[row])


def test_threads_that_share_a_model_get_the_vectors_of_one(minilm: MiniLM) -> None:
    texts = TEXTS * 6
    expected = minilm.embed_documents(texts)
    with ThreadPoolExecutor(6) as callers:
        vectors = list(callers.map(minilm.embed_query, texts))
    assert np.array_equal(np.array(vectors), expected)


def test_meaning_is_nearer_than_wording(minilm: MiniLM) -> None:
    query = minilm.embed_query("How do I get my money back?")
    answer, lookalike = minilm.embed_documents(
        ["Refunds are paid to the card you used.", "How do I get my bicycle back on the road?"]
    )
    assert query @ answer > query @ lookalike


def test_a_text_is_cut_after_256_tokens(minilm: MiniLM) -> None:
    words = " ".join(random.Random(7).choices(["river", "stone", "cloud", "tree", "lamp"], k=400))
    spans = minilm.token_spans(words)
    # 254 tokens of text and the two special ones.
    read, one_less = words[: spans[253][1]], words[: spans[252][1]]
    assert minilm.count_tokens(read) == 256
    assert np.array_equal(minilm.embed_query(words), minilm.embed_query(read))
    assert not np.array_equal(minilm.embed_query(words), minilm.embed_query(one_less))


def test_counting_is_not_cut(minilm: MiniLM) -> None:
    assert minilm.count_tokens("word " * 1000) == 1002
    assert minilm.count_tokens("") == 2


def test_token_spans_are_character_offsets(minilm: MiniLM) -> None:
    text = "Ein  Café, 数据 🚀 unbelievably"
    pieces = [text[start:end] for start, end in minilm.token_spans(text)]
    assert pieces[:6] == ["Ein", "Café", ",", "数", "据", "🚀"]
    assert "".join(pieces[6:]) == "unbelievably"


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_token_spans_lie_in_order_inside_the_text(minilm: MiniLM, text: str) -> None:
    spans = minilm.token_spans(text)
    assert minilm.count_tokens(text) == len(spans) + 2
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


def test_a_long_text_has_the_tokens_of_its_words(minilm: MiniLM) -> None:
    # It is tokenised in parts, which nobody may notice: neither between words nor in them.
    words = random.Random(3).choices(["unbelievably", "naïve", "数据", "x" * 90, "\n\n"], k=20_000)
    text = " ".join(words)
    assert len(minilm.token_spans(text)) == minilm.count_tokens(text) - 2
    pieces = "".join(text[start:end] for start, end in minilm.token_spans(text))
    assert pieces == "".join(text.split())


def test_a_missing_model_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(minilm_tokenizer, "DISTRIBUTION_PACKAGE", "no_such_distribution")
    with pytest.raises(ModelMissing, match="reaktly model install"):
        MiniLM.load()
    with pytest.raises(ModelMissing, match="reaktly model install"):
        MiniLM.load(tmp_path)


def test_a_closed_model_takes_no_more_documents() -> None:
    with MiniLM.load() as model:
        model.embed_documents(["open"])
    with pytest.raises(RuntimeError):
        model.embed_documents(["closed"])


def test_threads_are_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threads"):
        MiniLM(tmp_path, threads=0)
