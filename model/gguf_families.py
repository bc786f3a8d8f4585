"""From GGUF tensor names and orders to Hugging Face's.

One ``Family`` per ``general.architecture``. llama.cpp's converters reorder the rows
of some matrices and shift some norms; what they did is undone here, row for row, so
that no value is ever rounded on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.errors import UnsupportedArchitectureError, WeightsCorruptError
from model.gguf_configs import (
    Config,
    Header,
    gemma_config,
    gptneox_config,
    llama_config,
    qwen2_config,
    qwen3_config,
    stablelm_config,
    starcoder2_config,
    starcoder_config,
)
from model.gguf_reader import GgufTensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Target:
    """What becomes of one tensor: ``hf(values)[i] = gguf(values)[rows[i]] + shift``."""

    name: str
    rows: npt.NDArray[np.intp] | None = None
    shift: float = 0.0


Rows = Callable[[Header, GgufTensor], "npt.NDArray[np.intp]"]


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture. ``outer`` and ``block`` map names up to the last dot.

    ``rows`` gives, per block part, the row order that undoes the converter's.
    """

    config: Callable[[Header], Config]
    outer: Mapping[str, str]
    layer: str
    block: Mapping[str, str]
    required: tuple[str, ...]
    rows: Mapping[str, Rows]
    norm_shift: float = 0.0


def _interleaved_rows(header: Header, tensor: GgufTensor) -> npt.NDArray[np.intp]:
    """Undo llama's q/k order: pairs next to each other back to two halves per head."""
    import numpy as np

    return (
        _by_head(header, tensor, header.head_dim)
        .reshape(-1, header.head_dim // 2, 2)
        .swapaxes(1, 2)
        .ravel()
        .astype(np.intp)
    )


def _grouped_rows(header: Header, tensor: GgufTensor) -> npt.NDArray[np.intp]:
    """Undo GPT-NeoX's order: all q, all k, all v back to q, k, v per head."""
    import numpy as np

    return (
        _by_head(header, tensor, 3 * header.head_dim)
        .reshape(3, -1, header.head_dim)
        .swapaxes(0, 1)
        .ravel()
        .astype(np.intp)
    )


def _by_head(header: Header, tensor: GgufTensor, unit: int) -> npt.NDArray[np.intp]:
    """Return the row numbers, once they are known to be whole heads."""
    import numpy as np

    if tensor.shape[0] % unit or header.head_dim % 2:
        raise header.file.corrupt(f"{tensor.name} has {tensor.shape[0]} rows")
    return np.arange(tensor.shape[0])


_OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_ATTENTION = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_GATED = {
    **_ATTENTION,
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_QWEN3_BLOCK = {
    **_GATED,
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
_STARCODER2_BLOCK = {**_ATTENTION, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
_GPTNEOX_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_qkv": "attention.query_key_value",
    "attn_output": "attention.dense",
    "ffn_up": "mlp.dense_h_to_4h",
    "ffn_down": "mlp.dense_4h_to_h",
}
_STARCODER_BLOCK = {
    "attn_norm": "ln_1",
    "ffn_norm": "ln_2",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_LAYER = "model.layers"
_GATED_REQUIRED = tuple(_GATED)
_PARALLEL_REQUIRED = tuple(part for part in _GATED if part != "ffn_norm")

FAMILIES: dict[str, Family] = {
    "qwen2": Family(qwen2_config, _OUTER, _LAYER, _GATED, _GATED_REQUIRED, {}),
    "qwen3": Family(
        qwen3_config, _OUTER, _LAYER, _QWEN3_BLOCK, tuple(_QWEN3_BLOCK), {}
    ),
    "llama": Family(
        llama_config,
        _OUTER,
        _LAYER,
        _GATED,
        _GATED_REQUIRED,
        {"attn_q": _interleaved_rows, "attn_k": _interleaved_rows},
    ),
    "gemma": Family(
        gemma_config, _OUTER, _LAYER, _GATED, _GATED_REQUIRED, {}, norm_shift=-1.0
    ),
    "stablelm": Family(stablelm_config, _OUTER, _LAYER, _GATED, _PARALLEL_REQUIRED, {}),
    "starcoder2": Family(
        starcoder2_config,
        _OUTER,
        _LAYER,
        _STARCODER2_BLOCK,
        tuple(_STARCODER2_BLOCK),
        {},
    ),
    "gptneox": Family(
        gptneox_config,
        {
            "token_embd": "gpt_neox.embed_in",
            "output_norm": "gpt_neox.final_layer_norm",
            "output": "embed_out",
        },
        "gpt_neox.layers",
        _GPTNEOX_BLOCK,
        tuple(_GPTNEOX_BLOCK),
        {"attn_qkv": _grouped_rows},
    ),
    "starcoder": Family(
        starcoder_config,
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        "transformer.h",
        _STARCODER_BLOCK,
        tuple(_STARCODER_BLOCK),
        {},
    ),
}


def family_of(header: Header) -> Family:
    """Return the family of a file.

    Raises ``UnsupportedArchitectureError`` that names what is supported.
    """
    parts = header.file.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise UnsupportedArchitectureError(
            f"{header.file.path.name} is one of {parts} parts of a model.",
            hint="Join them first: llama-gguf-split --merge.",
        )
    family = FAMILIES.get(header.architecture)
    if family is None:
        raise UnsupportedArchitectureError(
            f"{header.file.path.name} has the architecture {header.architecture!r}, "
            f"which is not one of {', '.join(sorted(FAMILIES))}.",
            hint="Use the model's safetensors, or a model of one of these families.",
        )
    return family


def map_tensors(header: Header, family: Family) -> dict[str, Target]:
    """Return what becomes of each tensor; unknown ones are left out.

    Raises ``WeightsCorruptError`` when a tensor that every such model has is missing.
    """
    targets: dict[str, Target] = {}
    for name, tensor in header.file.tensors.items():
        stem, _, kind = name.rpartition(".")
        shift = family.norm_shift if stem.endswith("norm") else 0.0
        if stem in family.outer:
            targets[name] = Target(f"{family.outer[stem]}.{kind}", shift=shift)
            continue
        prefix, _, part = stem.rpartition(".")
        layer = prefix.removeprefix("blk.")
        if part in family.block and layer.isdigit() and kind in ("weight", "bias"):
            rows = family.rows.get(part)
            targets[name] = Target(
                f"{family.layer}.{layer}.{family.block[part]}.{kind}",
                rows(header, tensor) if rows else None,
                shift,
            )
    num_layers = header.count("block_count")
    required = [f"{stem}.weight" for stem in family.outer if stem != "output"]
    # A damaged count must not make a list that fills the memory.
    if num_layers > len(header.file.tensors):
        raise header.file.corrupt(f"it cannot hold {num_layers} layers")
    for layer_number in range(num_layers):
        required += [f"blk.{layer_number}.{part}.weight" for part in family.required]
    missing = [name for name in required if name not in targets]
    if missing:
        raise WeightsCorruptError(
            f"{header.file.path} lacks {len(missing)} tensors, among them "
            f"{missing[0]}.",
            hint="Fetch the file again.",
        )
    return targets
