"""What our own decoders need to know of a model, from Hugging Face's ``config.json``.

Families, their defaults and both spellings of the rotary settings are those of
transformers 5; it is not imported, as it takes seconds. What is not understood to
the last key is refused, and transformers then runs the model instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model.config_values import ConfigValues, unsupported, wrong
from model.family_defaults import (
    ATTENTION_BIAS_KEYS,
    DEFAULTS,
    FAMILIES,
    MLP_BIAS_KEYS,
    FamilySettings,
)
from model.rotary import inverse_frequencies

NormKind = Literal["layer", "rms"]
Activation = Literal["silu", "gelu", "gelu_tanh"]

_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The shape of a decoder and what its layers do.

    ``inverse_frequencies`` has ``rotary_dim / 2`` numbers, exact in float32, after
    any scaling. ``sliding_windows`` has one entry per layer: how many positions a
    token sees, itself included, or None for all. ``qk_norm`` is an RMS norm of each
    head's queries and keys. ``max_tokens`` is the context it was trained for.
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rotary_dim: int
    inverse_frequencies: tuple[float, ...]
    norm: NormKind
    norm_eps: float
    parallel_residual: bool
    activation: Activation
    gated: bool
    qk_norm: bool
    sliding_windows: tuple[int | None, ...]
    tied_embeddings: bool
    max_tokens: int
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False


_REFUSED = ("quantization_config", "num_experts", "num_local_experts")
# Far above any model; lists as long as these are made before a file is read.
_MOST_LAYERS = 4096
_MOST_CHANNELS = 1 << 17


def read_decoder_config(config: dict[str, Any]) -> DecoderConfig:
    """Return what ``config.json`` says, with transformers' defaults.

    Raises ``UnsupportedArchitectureError`` for what our decoders do not compute and
    ``WeightsCorruptError`` for numbers that no model can have.
    """
    name = config.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if not isinstance(name, str) or family is None:
        raise unsupported(f"the family {name!r}")
    for key in (*_REFUSED, *family.refused):
        if config.get(key):
            raise unsupported(f"{key} of {name}")
    settings = ConfigValues({**DEFAULTS, **family.defaults, **config})
    hidden_size = settings.count("hidden_size", most=_MOST_CHANNELS)
    num_layers = settings.count("num_hidden_layers", most=_MOST_LAYERS)
    num_heads = settings.count("num_attention_heads", most=_MOST_CHANNELS)
    num_kv_heads = num_heads
    if name != "gpt_neox":  # it knows no other number
        num_kv_heads = settings.count("num_key_value_heads", num_heads)
    head_dim = hidden_size // num_heads
    if family.has_head_dim:
        head_dim = settings.count("head_dim", head_dim, most=_MOST_CHANNELS)
    elif hidden_size % num_heads:
        raise wrong("num_attention_heads", num_heads)
    if num_heads % num_kv_heads:
        raise wrong("num_key_value_heads", num_kv_heads)
    max_tokens = settings.count("max_position_embeddings")
    activation = _ACTIVATIONS.get(str(settings.get("hidden_act")))
    if activation is None:
        raise unsupported(f"the activation {settings.get('hidden_act')!r}")
    frequencies = inverse_frequencies(
        _rope_parameters(config, family),
        head_dim=head_dim,
        max_tokens=max_tokens,
        partial=family.partial_rotary is not None,
    )
    if not frequencies or 2 * len(frequencies) > head_dim:
        raise wrong(family.partial_key, 2 * len(frequencies) / max(1, head_dim))
    return DecoderConfig(
        family=name,
        vocab_size=settings.count("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=settings.count("intermediate_size"),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        rotary_dim=2 * len(frequencies),
        inverse_frequencies=frequencies,
        norm=family.norm,
        norm_eps=settings.positive(family.eps_key),
        parallel_residual=name == "gpt_neox" and settings.flag("use_parallel_residual"),
        activation=activation,
        gated=family.gated,
        qk_norm=family.qk_norm,
        sliding_windows=_sliding_windows(name, settings, num_layers),
        tied_embeddings=settings.flag("tie_word_embeddings"),
        max_tokens=max_tokens,
        qkv_bias=name == "qwen2" or _attention_bias(name, settings),
        out_bias=name != "stablelm" and _attention_bias(name, settings),
        mlp_bias=name == "gpt_neox" or settings.flag(MLP_BIAS_KEYS.get(name, "")),
    )


def _attention_bias(name: str, settings: ConfigValues) -> bool:
    return settings.flag(ATTENTION_BIAS_KEYS.get(name, ""))


def _rope_parameters(
    config: Mapping[str, Any], family: FamilySettings
) -> dict[str, Any]:
    """Return the rotary settings in transformers 5's form, whatever their spelling."""
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise wrong("rope_parameters", given)
    parameters: dict[str, Any] = dict(given)
    parameters.setdefault("rope_type", parameters.get("type", "default"))
    parameters.setdefault("rope_theta", config.get(family.theta_key, 10_000.0))
    partial = config.get(family.partial_key, family.partial_rotary)
    if partial is not None:
        parameters.setdefault("partial_rotary_factor", partial)
    original = config.get("original_max_position_embeddings")
    if original is not None:
        parameters["original_max_position_embeddings"] = original
    return parameters


def _sliding_windows(
    name: str, settings: ConfigValues, num_layers: int
) -> tuple[int | None, ...]:
    """Return each layer's window, from the family's own keys."""
    everywhere: tuple[int | None, ...] = (None,) * num_layers
    if name not in ("qwen2", "qwen3", "mistral", "starcoder2"):
        return everywhere
    window = None
    if settings.get("sliding_window") is not None:
        window = settings.count("sliding_window")
    if name in ("mistral", "starcoder2"):
        return (window,) * num_layers
    if not settings.flag("use_sliding_window"):
        window = None
    kinds = settings.get("layer_types")
    if kinds is None:
        first = settings.count("max_window_layers", 28, least=0)
        return tuple(None if i < first else window for i in range(num_layers))
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise wrong("layer_types", kinds)
    if any(kind not in ("full_attention", "sliding_attention") for kind in kinds):
        raise unsupported("its kinds of layers")
    if "sliding_attention" in kinds and window is None:
        raise wrong("sliding_window", None)
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
