import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_graph import build_graph, read_safetensors
from llamaindex_reaktly.embeddings.minilm_weights import Weights

# The first test to ask for the weights waits for the download.
pytestmark = pytest.mark.timeout(300)

ENGLISH = (
    "The warehouse ships orders before noon on the same day.",
    "A replica that falls behind is rebuilt from the latest backup.",
    "Nobody answered the door, so the parcel went back to the depot.",
    "Employees may carry over five days of leave into the next year.",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "Press and hold the button until the lamp blinks twice.",
    "The committee rejected the proposal by seven votes to five.",
    "Mix the flour with lukewarm milk and let the dough rest.",
)
GERMAN = (
    "Die Überweisung wird spätestens am nächsten Bankarbeitstag ausgeführt.",
    "Für Änderungen am Vertrag genügt eine E-Mail an den Kundendienst.",
    "Straßenbahnhaltestellen sind während der Bauarbeiten verlegt.",
    "Bitte wählen Sie vor dem Öffnen des Gehäuses die Stromversorgung ab.",
)
CHINESE = (
    "订单将在两个工作日内发货。",
    "如果忘记密码,请点击登录页面上的链接。",
    "这座博物馆收藏了大量古代青铜器。",
)
OTHERS = (
    "Le contrat prend fin à l'échéance prévue, sauf reconduction.",
    "Заказ можно отменить до отправки.",
    "今月の請求書はまだ届いていません。",
    "يمكن إرجاع المنتج خلال أسبوعين",
    "परियोजना अगले महीने शुरू होगी",
)
CODE = (
    "def area(radius: float) -> float:\n    return math.pi * radius ** 2\n",
    "SELECT name, count(*) FROM orders WHERE paid_at IS NULL GROUP BY name HAVING count(*) > 3;",
    "for (int i = 0; i < n; ++i) { sum += values[i]; }",
    "$ curl -X POST -H 'content-type: application/json' -d '{\"a\": [1, 2]}' localhost:8080/x",
    "Traceback (most recent call last):\n  File 'main.py', line 3\nKeyError: 'wal_sender_timeout'",
)
MARKUP = (
    "<div class='card'><h2>Prices</h2><p>From <b>12.50</b> a month</p></div>",
    "| size | price |\n|---|---|\n| S | 10 |\n| XL | 14 |\n",
    "# Title\n\n- first\n- second\n\n> quoted, with a [link](https://example.org/a?b=c#d)\n",
    '{"id": 17, "tags": ["new", "sale"], "stock": null, "nested": {"deep": true}}',
)
NUMBERS = (
    "3.14159 2.71828 1.41421 1.61803",
    "+49 30 901820, 2024-02-29T23:59:60Z, 192.168.0.255, 0xDEADBEEF",
    "SKU-88412-B, ISBN 978-3-16-148410-0, IBAN DE89 3704 0044 0532 0130 00",
)
SCRAPS = (
    "", " ", "\n\n", ".", "?", "-", "a", "I", "0", "no", "SIGTERM", "C++", "e.g.", "…", "🚀",
    "🙂🙃🙂", "!!!!!!!!!!", "ééé", "\u200b", "[SEP]", "x" * 150, "ab" * 90, "the the the the",
)  # fmt: skip


def varied_texts(count: int) -> list[str]:
    """Scraps and single texts of every kind, then mixtures of growing length."""
    kinds = (ENGLISH, GERMAN, CHINESE, OTHERS, CODE, MARKUP, NUMBERS)
    texts = [*SCRAPS, *(text for kind in kinds for text in kind)]
    chance = random.Random(20)
    while len(texts) < count:
        kind = chance.choice(kinds)
        length = chance.choice((2, 3, 5, 9, 20))
        words = [word for text in chance.choices(kind, k=length) for word in text.split(" ")]
        if chance.random() < 0.4:
            chance.shuffle(words)
        text = " ".join(words[: chance.choice((3, 12, 60, 400))])
        if text not in texts:
            texts.append(text)
    return texts


@pytest.fixture(scope="module")
def reference(weights: Weights, minilm: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    """The same weights in fp32."""
    folder: Path = tmp_path_factory.mktemp("fp32")
    (folder / "model.onnx").write_bytes(build_graph(weights.safetensors, quantised=False))
    (folder / "tokenizer.json").write_bytes(weights.tokenizer)
    return MiniLM(folder)


def test_each_of_200_texts_keeps_its_direction_when_quantised(
    minilm: MiniLM, reference: MiniLM
) -> None:
    texts = varied_texts(200)
    assert len(set(texts)) == 200
    cosines = np.sum(minilm.embed_documents(texts) * reference.embed_documents(texts), axis=1)
    worst = int(cosines.argmin())
    # The bar is .97; what was measured is .99 and more, and losing that is a fault too.
    assert cosines[worst] >= 0.985, f"{cosines[worst]:.4f} for {texts[worst]!r}"
    assert cosines.mean() >= 0.995


def test_the_reference_is_the_published_model(reference: MiniLM) -> None:
    # The similarities that the sentence-transformers documentation shows for these.
    first, second, third = reference.embed_documents(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert first @ second == pytest.approx(0.6660, abs=2e-3)
    assert first @ third == pytest.approx(0.1046, abs=2e-3)
    assert second @ third == pytest.approx(0.1411, abs=2e-3)


def test_no_weight_can_saturate_a_sixteen_bit_pair_sum(weights: Weights) -> None:
    graph = onnx.load_from_string(build_graph(weights.safetensors)).graph
    constants = {constant.name: constant for constant in graph.initializer}
    products = [node for node in graph.node if node.op_type == "DynamicQuantizeMatMul"]
    assert len(products) == 24
    for product in products:
        codes = numpy_helper.to_array(constants[product.input[1]])
        assert codes.dtype == np.int8
        assert 255 * 2 * int(np.abs(codes.astype(np.int32)).max()) <= 2**15 - 1


def test_tensors_are_read_where_the_header_says() -> None:
    header = (
        b'{"__metadata__":{"format":"pt"},'
        b'"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},'
        b'"w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}'
    )
    body = np.array([5], "<i8").tobytes() + np.array([1.5, -2.0], "<f4").tobytes()
    tensors = read_safetensors(len(header).to_bytes(8, "little") + header + body)
    assert list(tensors) == ["w"]
    assert tensors["w"].tolist() == [[1.5], [-2.0]]
