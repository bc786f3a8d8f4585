"""Which tensors of a file make which part of a decoder, by Hugging Face's names.

GGUF files carry the same names once they are converted (``gguf_families``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from model.decoder_config import DecoderConfig
from model.errors import WeightsCorruptError


@dataclass(frozen=True, slots=True)
class Norm:
    """A norm's weight ``[hidden]`` and, of a LayerNorm, its bias."""

    weight: str
    bias: str | None


@dataclass(frozen=True, slots=True)
class Projection:
    """A matrix ``[rows, columns]``: ``weights`` one below the other, then reordered.

    Row ``i`` is row ``rows[i]`` of the concatenation, where ``rows`` is given.
    ``biases`` likewise; empty where there are none.
    """

    weights: tuple[str, ...]
    biases: tuple[str, ...]
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """One layer. ``qkv`` gives all queries, all keys, all values, head by head.

    ``up`` is the gate above the up projection where the MLP is gated.
    """

    attention_norm: Norm
    mlp_norm: Norm
    query_norm: str | None
    key_norm: str | None
    qkv: Projection
    out: Projection
    up: Projection
    down: Projection


@dataclass(frozen=True, slots=True)
class DecoderTensors:
    """A whole decoder; ``head`` is the embedding's name where they are one tensor."""

    embedding: str
    final_norm: Norm
    head: str
    layers: tuple[LayerTensors, ...]


@dataclass(frozen=True, slots=True)
class _Names:
    """A family's names; those of a layer are relative to ``layers.<number>.``."""

    trunk: str = "model"
    embedding: str = "embed_tokens"
    final_norm: str = "norm"
    # The first that the file holds; transformers 5 renamed GPT-NeoX's in memory.
    heads: tuple[str, ...] = ("lm_head.weight",)
    qkv: tuple[str, ...] = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    )
    out: str = "self_attn.o_proj"
    up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"


_LLAMA = _Names()
_STARCODER2 = _Names(up=("mlp.c_fc",), down="mlp.c_proj")
_GPT_NEOX = _Names(
    trunk="gpt_neox",
    embedding="embed_in",
    final_norm="final_layer_norm",
    heads=("embed_out.weight", "lm_head.weight"),
    qkv=("attention.query_key_value",),
    out="attention.dense",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
)
_FAMILIES = {"gpt_neox": _GPT_NEOX, "starcoder2": _STARCODER2}


def decoder_tensors(config: DecoderConfig, names: Collection[str]) -> DecoderTensors:
    """Return which of a file's ``names`` make the decoder that ``config`` describes.

    Raises ``WeightsCorruptError`` with the first name that the file lacks.
    """
    family = _FAMILIES.get(config.family, _LLAMA)
    held = frozenset(names)
    embedding = f"{family.trunk}.{family.embedding}.weight"
    head = next((name for name in family.heads if name in held), family.heads[0])
    if config.tied_embeddings:
        # Both in one file: then it says more than the configuration does, as
        # transformers sees it too.
        head = head if head in held else embedding
        embedding = embedding if embedding in held else head
    rows = _grouped_rows(config) if len(family.qkv) == 1 else None
    tensors = DecoderTensors(
        embedding=embedding,
        final_norm=_norm(config, f"{family.trunk}.{family.final_norm}"),
        head=head,
        layers=tuple(
            _layer(config, family, f"{family.trunk}.layers.{layer}.", rows)
            for layer in range(config.num_layers)
        ),
    )
    for name in tensor_names(tensors):
        if name not in held:
            raise WeightsCorruptError(
                f"The model's weights lack {name}.",
                hint="Fetch or convert the model again.",
            )
    return tensors


def tensor_names(tensors: DecoderTensors) -> tuple[str, ...]:
    """Return every name in use, in the order of the layers."""
    found = [tensors.embedding]
    for layer in tensors.layers:
        for norm in (layer.attention_norm, layer.mlp_norm):
            found += [name for name in (norm.weight, norm.bias) if name is not None]
        for name in (layer.query_norm, layer.key_norm):
            found += [name] if name is not None else []
        for projection in (layer.qkv, layer.out, layer.up, layer.down):
            found += [*projection.weights, *projection.biases]
    final = tensors.final_norm
    found += [name for name in (final.weight, final.bias) if name is not None]
    return (*found, tensors.head)


def _layer(
    config: DecoderConfig, family: _Names, prefix: str, rows: tuple[int, ...] | None
) -> LayerTensors:
    head_norm = f"{prefix}self_attn.{{}}_norm.weight" if config.qk_norm else None
    return LayerTensors(
        attention_norm=_norm(config, f"{prefix}input_layernorm"),
        mlp_norm=_norm(config, f"{prefix}post_attention_layernorm"),
        query_norm=head_norm.format("q") if head_norm else None,
        key_norm=head_norm.format("k") if head_norm else None,
        qkv=_projection(prefix, family.qkv, config.qkv_bias, rows),
        out=_projection(prefix, (family.out,), config.out_bias),
        up=_projection(prefix, family.up, config.mlp_bias),
        down=_projection(prefix, (family.down,), config.mlp_bias),
    )


def _norm(config: DecoderConfig, name: str) -> Norm:
    has_bias = config.norm == "layer"
    return Norm(f"{name}.weight", f"{name}.bias" if has_bias else None)


def _projection(
    prefix: str,
    parts: tuple[str, ...],
    has_bias: bool,
    rows: tuple[int, ...] | None = None,
) -> Projection:
    weights = tuple(f"{prefix}{part}.weight" for part in parts)
    biases = tuple(f"{prefix}{part}.bias" for part in parts) if has_bias else ()
    return Projection(weights, biases, rows)


def _grouped_rows(config: DecoderConfig) -> tuple[int, ...]:
    """Return GPT-NeoX's rows, stored as q, k, v per head, as all q, all k, all v."""
    size = config.head_dim
    return tuple(
        (head * 3 + part) * size + channel
        for part in range(3)
        for head in range(config.num_heads)
        for channel in range(size)
    )
