"""Builds the ONNX graph of all-MiniLM-L6-v2 from its published weights.

One sequence goes in (`input_ids`, shape (1, tokens), no padding, no mask), one
unit vector comes out (`embedding`, shape (1, 384)): embedding lookup and
layer-norm, six encoder layers, mean pooling and L2 normalisation are all in the
graph, in operators that onnxruntime has fused kernels for.

How it is quantised, and why (onnxruntime 1.32, 105 varied texts, cosine to fp32):

- Weights are int8 with one scale an output column, activations uint8 with a scale
  found at run time. Plain, that gives a worst cosine of .975, mean .991.
- A few channels carry activations ten times larger than all others; one scale for
  a whole activation then leaves the rest few steps. They are always the same ones,
  so they are multiplied in fp32 beside the int8 product: worst .995, mean .998, for
  an eighth more time. `_OUTLIERS` lists them; the weights are pinned, so it can't age.
- Weights use 7 of their 8 bits. Without VNNI, x86 adds pairs of u8 x s8 products in
  16 bits and saturates; 255 * 63 * 2 can't. Asymmetric uint8 weights would be safe
  too, but took 1.7 times as long.
- Token embeddings are int8 with one scale a row, read by lookup.

Needs numpy and onnx alone. The same weights give the same bytes. This module and
`minilm_weights` are also loaded by path, by the build of the `reaktly-minilm`
distribution: they import nothing of this package.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Tensors = Mapping[str, NDArray[np.float32]]

MAX_TOKENS = 256
DIMENSION = 384

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_CONTRIB = "com.microsoft"
_WEIGHT_LIMIT = 63

# Per layer, the four input channels of largest magnitude in fp32 over some 300
# varied texts, for the three products that have outliers: query-key-value, first
# and second feed-forward. The attention's output has none.
_OUTLIERS: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((63, 99, 157, 338), (63, 99, 267, 303), (329, 691, 829, 856)),
    ((63, 99, 157, 338), (63, 99, 223, 267), (251, 607, 821, 951)),
    ((63, 99, 157, 223), (63, 99, 157, 223), (218, 1004, 1265, 1445)),
    ((63, 99, 157, 338), (63, 99, 157, 223), (201, 318, 358, 750)),
    ((63, 99, 157, 338), (63, 99, 127, 223), (637, 1031, 1097, 1321)),
    ((99, 112, 157, 338), (99, 127, 223, 319), (119, 923, 1300, 1302)),
)


def read_safetensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The fp32 tensors of a safetensors file.

    The format: 8 bytes of header length, little-endian; a JSON header of name →
    dtype, shape and offsets; the tensors, row-major. Other dtypes are left out.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data, dtype="<f4", count=(end - begin) // 4, offset=start + begin)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def build_graph(safetensors: bytes, *, quantised: bool = True) -> bytes:
    """The serialised ONNX model; with `quantised=False` all of it in fp32, as reference."""
    tensors = read_safetensors(safetensors)
    graph = _Graph(quantised=quantised)
    hidden = _embed_tokens(graph, tensors)
    for layer in range(_LAYERS):
        hidden = _encode(graph, tensors, hidden, layer)
    mean = graph.add("ReduceMean", [hidden, graph.constant("pooled_axis", _int64(1))], keepdims=0)
    graph.add("LpNormalization", [mean], output="embedding", axis=-1, p=2)
    return graph.serialise()


def _embed_tokens(graph: "_Graph", tensors: Tensors) -> str:
    """Token plus position plus segment embedding, normalised: (1, tokens, 384)."""
    table = tensors["embeddings.word_embeddings.weight"]
    if graph.quantised:
        codes, scales = _quantise(table, axis=1, limit=127)
        row = graph.add("Gather", [graph.constant("tokens", codes), "input_ids"])
        row = graph.add("Cast", [row], to=TensorProto.FLOAT)
        scale = graph.add("Gather", [graph.constant("tokens.scale", scales), "input_ids"])
        row = graph.add("Mul", [row, scale])
    else:
        row = graph.add("Gather", [graph.constant("tokens", table), "input_ids"])
    # There is one segment only, so its embedding is a part of every position's.
    positions = tensors["embeddings.position_embeddings.weight"][:MAX_TOKENS]
    positions = positions + tensors["embeddings.token_type_embeddings.weight"][0]
    length = graph.add("Shape", ["input_ids"], start=1, end=2)
    bounds = [graph.constant("first", _int64(0)), length, graph.constant("axis", _int64(1))]
    position = graph.add("Slice", [graph.constant("positions", positions[np.newaxis]), *bounds])
    return _add_and_normalise(graph, tensors, row, position, "embeddings.LayerNorm")


def _encode(graph: "_Graph", tensors: Tensors, hidden: str, layer: int) -> str:
    """One encoder layer: self-attention and feed-forward, each added and normalised."""
    prefix = f"encoder.layer.{layer}."
    qkv_outliers, first_outliers, second_outliers = _OUTLIERS[layer]

    projections = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([tensors[f"{part}.weight"] for part in projections])
    bias = np.concatenate([tensors[f"{part}.bias"] for part in projections])
    qkv = graph.matmul(hidden, f"{prefix}qkv", weight, qkv_outliers)
    parts = graph.split(qkv, 3)
    bias_name = graph.constant(f"{prefix}qkv.bias", bias)
    attended = graph.add(
        "MultiHeadAttention", [*parts, bias_name], domain=_CONTRIB, num_heads=_HEADS
    )

    name = f"{prefix}attention.output"
    attended = graph.matmul(attended, f"{name}.dense", tensors[f"{name}.dense.weight"])
    dense_bias = tensors[f"{name}.dense.bias"]
    hidden = _add_and_normalise(
        graph, tensors, attended, hidden, f"{name}.LayerNorm", bias=dense_bias
    )

    name = f"{prefix}intermediate.dense"
    wide = graph.matmul(hidden, name, tensors[f"{name}.weight"], first_outliers)
    wide_bias = graph.constant(f"{name}.bias", tensors[f"{name}.bias"])
    wide = graph.add("BiasGelu", [wide, wide_bias], domain=_CONTRIB)

    name = f"{prefix}output"
    narrow = graph.matmul(wide, f"{name}.dense", tensors[f"{name}.dense.weight"], second_outliers)
    dense_bias = tensors[f"{name}.dense.bias"]
    return _add_and_normalise(graph, tensors, narrow, hidden, f"{name}.LayerNorm", bias=dense_bias)


def _add_and_normalise(
    graph: "_Graph",
    tensors: Tensors,
    left: str,
    right: str,
    norm: str,
    *,
    bias: NDArray[np.float32] | None = None,
) -> str:
    gamma = graph.constant(f"{norm}.weight", tensors[f"{norm}.weight"])
    beta = graph.constant(f"{norm}.bias", tensors[f"{norm}.bias"])
    inputs = [left, right, gamma, beta]
    if bias is not None:
        inputs.append(graph.constant(f"{norm}.added_bias", bias))
    return graph.add("SkipLayerNormalization", inputs, domain=_CONTRIB, epsilon=_EPSILON)


def _quantise(
    values: NDArray[np.float32], *, axis: int, limit: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 codes in [-limit, limit], and the scales along the other axis."""
    scales = np.abs(values).max(axis=axis, keepdims=True) / np.float32(limit)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


def _int64(value: int) -> NDArray[np.int64]:
    return np.array([value], dtype=np.int64)


@dataclass
class _Graph:
    """Nodes and constants collected so far. Names are counted, so bytes are reproducible."""

    quantised: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Appends a node with one output and gives back that output's name."""
        output = output or f"{operator}_{len(self.nodes)}"
        node = helper.make_node(
            operator, inputs, [output], name=output, domain=domain, **attributes
        )
        self.nodes.append(node)
        return output

    def split(self, value: str, parts: int) -> list[str]:
        """Cuts the last axis into equal parts."""
        outputs = [f"Split_{len(self.nodes)}_{part}" for part in range(parts)]
        node = helper.make_node(
            "Split", [value], outputs, name=outputs[0], axis=2, num_outputs=parts
        )
        self.nodes.append(node)
        return outputs

    def matmul(
        self,
        value: str,
        name: str,
        weight: NDArray[np.float32],
        outliers: Sequence[int] = (),
    ) -> str:
        """`value` times the transpose of `weight`, which is (outputs, inputs) as published."""
        columns = weight.T
        if not self.quantised:
            return self.add("MatMul", [value, self.constant(name, columns)])
        if not outliers:
            return self._integer_matmul(value, name, columns)
        index = np.array(outliers, dtype=np.int64)
        kept = np.ones(len(columns), dtype=np.float32)
        kept[index] = 0
        # Zeroed, not cut out: a copy of the kept columns would cost more than these few.
        ordinary = self.add("Mul", [value, self.constant(f"{name}.kept", kept)])
        product = self._integer_matmul(ordinary, name, columns * kept[:, np.newaxis])
        large = self.add("Gather", [value, self.constant(f"{name}.outliers", index)], axis=2)
        exact = self.add("MatMul", [large, self.constant(f"{name}.outlier_rows", columns[index])])
        return self.add("Add", [product, exact])

    def _integer_matmul(self, value: str, name: str, columns: NDArray[np.float32]) -> str:
        codes, scales = _quantise(columns, axis=0, limit=_WEIGHT_LIMIT)
        zeros = np.zeros(columns.shape[1], dtype=np.int8)
        inputs = [value, self.constant(name, codes), self.constant(f"{name}.scale", scales[0])]
        inputs.append(self.constant(f"{name}.zero", zeros))
        return self.add("DynamicQuantizeMatMul", inputs, domain=_CONTRIB)

    def serialise(self) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, DIMENSION])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)]
        # IR 8 is what opset 18 asks for; a newer one would shut out older runtimes.
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        data: bytes = model.SerializeToString(deterministic=True)
        return data
