"""How each family spells its ``config.json``, and transformers 5's defaults for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FamilySettings:
    """How a ``model_type`` spells things, and transformers' defaults for it."""

    norm: Literal["layer", "rms"]
    eps_key: str
    defaults: Mapping[str, Any]
    gated: bool = True
    qk_norm: bool = False
    has_head_dim: bool = True
    theta_key: str = "rope_theta"
    partial_key: str = "partial_rotary_factor"
    # None: the family's default rotation covers whole heads, whatever is set.
    partial_rotary: float | None = None
    refused: tuple[str, ...] = ()


FAMILIES = {
    "stablelm": FamilySettings(
        norm="layer",
        eps_key="layer_norm_eps",
        defaults={
            "vocab_size": 50304,
            "hidden_size": 2560,
            "intermediate_size": 6912,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
            "layer_norm_eps": 1e-5,
        },
        has_head_dim=False,
        partial_rotary=0.25,
        refused=("use_parallel_residual", "qk_layernorm"),
    ),
    "gpt_neox": FamilySettings(
        norm="layer",
        eps_key="layer_norm_eps",
        defaults={
            "vocab_size": 50432,
            "hidden_size": 6144,
            "intermediate_size": 24576,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "max_position_embeddings": 2048,
            "layer_norm_eps": 1e-5,
            "hidden_act": "gelu",
            "use_parallel_residual": True,
            "attention_bias": True,
        },
        gated=False,
        has_head_dim=False,
        theta_key="rotary_emb_base",
        partial_key="rotary_pct",
        partial_rotary=0.25,
    ),
    "qwen2": FamilySettings(
        norm="rms",
        eps_key="rms_norm_eps",
        defaults={
            "vocab_size": 151936,
            "intermediate_size": 22016,
            "num_key_value_heads": 32,
            "max_position_embeddings": 32768,
            "sliding_window": 4096,
        },
    ),
    "qwen3": FamilySettings(
        norm="rms",
        eps_key="rms_norm_eps",
        defaults={
            "vocab_size": 151936,
            "intermediate_size": 22016,
            "num_key_value_heads": 32,
            "head_dim": 128,
            "max_position_embeddings": 32768,
            "sliding_window": 4096,
        },
        qk_norm=True,
    ),
    "llama": FamilySettings(norm="rms", eps_key="rms_norm_eps", defaults={}),
    "mistral": FamilySettings(
        norm="rms",
        eps_key="rms_norm_eps",
        defaults={
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "sliding_window": 4096,
        },
        refused=("layer_types",),
    ),
    "starcoder2": FamilySettings(
        norm="layer",
        eps_key="norm_epsilon",
        defaults={
            "vocab_size": 49152,
            "hidden_size": 3072,
            "intermediate_size": 12288,
            "num_hidden_layers": 30,
            "num_attention_heads": 24,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "hidden_act": "gelu_pytorch_tanh",
            "norm_epsilon": 1e-5,
            "use_bias": True,
            "tie_word_embeddings": True,
        },
        gated=False,
    ),
}
# Where a family says nothing else.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
# Keys that say whether projections have biases.
ATTENTION_BIAS_KEYS = {
    "stablelm": "use_qkv_bias",
    "gpt_neox": "attention_bias",
    "qwen3": "attention_bias",
    "llama": "attention_bias",
    "starcoder2": "use_bias",
}
MLP_BIAS_KEYS = {"llama": "mlp_bias", "starcoder2": "use_bias"}
