"""What the packed weights of a decoder consist of: our names and shapes.

The packer checks a model's own tensors against it, and whoever maps a packed file
checks that, for the kernels trust both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model.decoder_config import DecoderConfig
from model.packing import ROWS

EMBEDDING = "embedding"
HEAD = "head"


@dataclass(frozen=True, slots=True)
class MatrixShape:
    """The rows of each part of a matrix, one below the other, and its columns."""

    heights: tuple[int, ...]
    num_columns: int

    @property
    def num_rows(self) -> int:
        """The rows of all parts."""
        return sum(self.heights)


def matrix_shapes(config: DecoderConfig) -> dict[str, MatrixShape]:
    """Return every matrix by name, the embedding aside."""
    layer = _layer_matrices(config)
    shapes = {
        f"layers.{number}.{part}": shape
        for number in range(config.num_layers)
        for part, shape in layer.items()
    }
    return {**shapes, HEAD: MatrixShape((config.vocab_size,), config.hidden_size)}


def vector_sizes(config: DecoderConfig) -> dict[str, int]:
    """Return every norm and bias by name; biases are padded as their matrices are."""
    layer = dict(_layer_vectors(config))
    sizes = {
        f"layers.{number}.{name}": size
        for number in range(config.num_layers)
        for name, size in layer.items()
    }
    return {**sizes, **dict(_norm(config, "final_norm"))}


def _layer_matrices(config: DecoderConfig) -> dict[str, MatrixShape]:
    hidden, inner = config.hidden_size, config.intermediate_size
    heads = config.num_heads * config.head_dim
    kv_heads = config.num_kv_heads * config.head_dim
    return {
        "qkv": MatrixShape((heads, kv_heads, kv_heads), hidden),
        "out": MatrixShape((hidden,), heads),
        "up": MatrixShape((inner, inner) if config.gated else (inner,), hidden),
        "down": MatrixShape((hidden,), inner),
    }


def _layer_vectors(config: DecoderConfig) -> Iterator[tuple[str, int]]:
    yield from _norm(config, "attention_norm")
    yield from _norm(config, "mlp_norm")
    if config.qk_norm:
        yield "query_norm.weight", config.head_dim
        yield "key_norm.weight", config.head_dim
    matrices = _layer_matrices(config)
    for part, has_bias in (
        ("qkv", config.qkv_bias),
        ("out", config.out_bias),
        ("up", config.mlp_bias),
        ("down", config.mlp_bias),
    ):
        if has_bias:
            yield f"{part}.bias", -(-matrices[part].num_rows // ROWS) * ROWS


def _norm(config: DecoderConfig, name: str) -> Iterator[tuple[str, int]]:
    yield f"{name}.weight", config.hidden_size
    if config.norm == "layer":
        yield f"{name}.bias", config.hidden_size
