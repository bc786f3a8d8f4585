"""From GGUF metadata and tensor names to a Hugging Face config and tensor names.

One ``Family`` per ``general.architecture``. llama.cpp's converters reorder the rows
of some matrices and shift some norms; what they did is undone here, row for row, so
that no value is ever rounded on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.errors import UnsupportedArchitectureError, WeightsCorruptError
from model.gguf_reader import GgufFile, GgufTensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DEFAULT_ROPE_THETA = 10_000.0
_STABLE_CODE_SHAPE = (50304, 16384, 32)  # vocabulary, context, layers
_STABLE_CODE_ROPE_THETA = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Target:
    """What becomes of one tensor: ``hf(values)[i] = gguf(values)[rows[i]] + shift``."""

    name: str
    rows: npt.NDArray[np.intp] | None = None
    shift: float = 0.0


class Header:
    """Typed access to a GGUF header; keys are given without the architecture."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        architecture = file.metadata.get("general.architecture")
        if not isinstance(architecture, str):
            raise file.corrupt("it names no architecture")
        self.architecture = architecture

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number; raises ``WeightsCorruptError`` without one or a default."""
        value = self.file.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.file.corrupt(f"it lacks the number {self.architecture}.{key}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Return a positive whole number; same errors as ``number``."""
        value = self.number(key, default)
        if value != int(value) or not 0 < value < 1 << 32:
            raise self.file.corrupt(f"{self.architecture}.{key} is {value}")
        return int(value)

    def text(self, key: str) -> str | None:
        """Return a string or None."""
        value = self.file.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, str) else None

    def has(self, suffix: str) -> bool:
        """Return whether any tensor's name ends with ``suffix``."""
        return any(name.endswith(suffix) for name in self.file.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; raises ``WeightsCorruptError`` if it is missing."""
        if name not in self.file.tensors:
            raise self.file.corrupt(f"it lacks tensor {name}")
        return self.file.tensors[name].shape

    @property
    def head_dim(self) -> int:
        """Size of one attention head."""
        default = self.count("embedding_length") // self.count("attention.head_count")
        return self.count("attention.key_length", max(1, default))

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys and values."""
        default = self.count("attention.head_count")
        return self.count("attention.head_count_kv", default)


Config = dict[str, Any]
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


def _rope(header: Header, theta: float, partial: float = 1.0) -> Config:
    """Return the rotary settings in today's form and, beside it, in the older one.

    Raises ``UnsupportedArchitectureError`` for scalings that GGUF does not describe.
    """
    kind = header.text("rope.scaling.type") or "none"
    parameters: Config = {"rope_type": "default", "rope_theta": theta}
    if kind in ("linear", "yarn"):
        factor = float(header.number("rope.scaling.factor", 1.0))
        parameters |= {"rope_type": kind, "factor": factor}
        if kind == "yarn":
            original = header.count("rope.scaling.original_context_length")
            parameters["original_max_position_embeddings"] = original
    elif kind != "none" or "rope_freqs.weight" in header.file.tensors:
        raise UnsupportedArchitectureError(
            f"{header.file.path.name} scales its rotary frequencies "
            f"({kind}) in a way that is not supported.",
            hint="Use the model's safetensors instead.",
        )
    config: Config = {"rope_parameters": parameters, "rope_theta": theta}
    if partial != 1.0:
        parameters["partial_rotary_factor"] = partial
        config["partial_rotary_factor"] = partial
    if kind in ("linear", "yarn"):
        config["rope_scaling"] = dict(parameters)
    return config


def _common(header: Header, architecture: str, model_type: str) -> Config:
    """Return what every family's config holds."""
    metadata = header.file.metadata
    if header.has("ffn_gate_inp.weight"):
        raise UnsupportedArchitectureError(
            f"{header.file.path.name} is a mixture of experts, which is not supported.",
            hint="Use a dense model.",
        )
    config: Config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": header.shape("token_embd.weight")[0],
        "hidden_size": header.count("embedding_length"),
        "num_hidden_layers": header.count("block_count"),
        "num_attention_heads": header.count("attention.head_count"),
        "max_position_embeddings": header.count("context_length"),
        "tie_word_embeddings": "output.weight" not in header.file.tensors,
        "use_cache": True,
    }
    for key, name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad")):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        config[f"{name}_token_id"] = token_id if isinstance(token_id, int) else None
    return config


def _decoder(header: Header, architecture: str, model_type: str) -> Config:
    """Return the config of a llama-like decoder with RMSNorm."""
    return {
        **_common(header, architecture, model_type),
        "intermediate_size": header.count("feed_forward_length"),
        "num_key_value_heads": header.num_kv_heads,
        "head_dim": header.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": float(header.number("attention.layer_norm_rms_epsilon")),
        **_rope(header, float(header.number("rope.freq_base", _DEFAULT_ROPE_THETA))),
    }


def _qwen2(header: Header) -> Config:
    config = _decoder(header, "Qwen2ForCausalLM", "qwen2")
    del config["head_dim"]  # the class has none
    return {**config, "use_sliding_window": False, "sliding_window": None}


def _qwen3(header: Header) -> Config:
    return {
        **_decoder(header, "Qwen3ForCausalLM", "qwen3"),
        "attention_bias": header.has("attn_q.bias"),
        "use_sliding_window": False,
        "sliding_window": None,
    }


def _llama(header: Header) -> Config:
    return {
        **_decoder(header, "LlamaForCausalLM", "llama"),
        "attention_bias": header.has("attn_q.bias"),
        "mlp_bias": header.has("ffn_up.bias"),
    }


def _gemma(header: Header) -> Config:
    return {
        **_decoder(header, "GemmaForCausalLM", "gemma"),
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
    }


def _partial(header: Header, default: float) -> float:
    """Return the share of a head's channels that rotate."""
    dims = header.count("rope.dimension_count", max(1, int(header.head_dim * default)))
    return dims / header.head_dim


def _stablelm(header: Header) -> Config:
    if header.has("attn_q_norm.weight"):
        raise UnsupportedArchitectureError(
            f"{header.file.path.name} is a StableLM with normalised queries and keys, "
            "which is not supported.",
            hint="Use the model's safetensors instead.",
        )
    config = _common(header, "StableLmForCausalLM", "stablelm")
    shape = (
        config["vocab_size"],
        config["max_position_embeddings"],
        config["num_hidden_layers"],
    )
    # Converters do not write the base for this family. Readers then assume 10,000 and
    # the output is silently wrong; Stable Code 3B is told by its shape.
    default = (
        _STABLE_CODE_ROPE_THETA if shape == _STABLE_CODE_SHAPE else _DEFAULT_ROPE_THETA
    )
    theta = float(header.number("rope.freq_base", default))
    return {
        **config,
        "intermediate_size": header.count("feed_forward_length"),
        "num_key_value_heads": header.num_kv_heads,
        "hidden_act": "silu",
        "layer_norm_eps": float(header.number("attention.layer_norm_epsilon")),
        "use_qkv_bias": header.has("attn_q.bias"),
        "qk_layernorm": False,
        "use_parallel_residual": not header.has("ffn_norm.weight"),
        **_rope(header, theta, _partial(header, 0.25)),
    }


def _gptneox(header: Header) -> Config:
    theta = float(header.number("rope.freq_base", _DEFAULT_ROPE_THETA))
    partial = _partial(header, 0.25)
    key = f"{header.architecture}.use_parallel_residual"
    return {
        **_common(header, "GPTNeoXForCausalLM", "gpt_neox"),
        "intermediate_size": header.count("feed_forward_length"),
        "hidden_act": "gelu",
        "layer_norm_eps": float(header.number("attention.layer_norm_epsilon")),
        "use_parallel_residual": bool(header.file.metadata.get(key, True)),
        "attention_bias": header.has("attn_qkv.bias"),
        **_rope(header, theta, partial),
        "rotary_emb_base": theta,
        "rotary_pct": partial,
    }


def _starcoder2(header: Header) -> Config:
    window = header.file.metadata.get("starcoder2.attention.sliding_window")
    return {
        **_common(header, "Starcoder2ForCausalLM", "starcoder2"),
        "intermediate_size": header.count("feed_forward_length"),
        "num_key_value_heads": header.num_kv_heads,
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": float(header.number("attention.layer_norm_epsilon")),
        "use_bias": header.has("attn_q.bias"),
        "sliding_window": window if isinstance(window, int) else None,
        **_rope(header, float(header.number("rope.freq_base", _DEFAULT_ROPE_THETA))),
    }


def _starcoder(header: Header) -> Config:
    config = _common(header, "GPTBigCodeForCausalLM", "gpt_bigcode")
    return {
        **{key: value for key, value in config.items() if key.endswith("_token_id")},
        "architectures": config["architectures"],
        "model_type": config["model_type"],
        "vocab_size": config["vocab_size"],
        "n_embd": config["hidden_size"],
        "n_layer": config["num_hidden_layers"],
        "n_head": config["num_attention_heads"],
        "n_inner": header.count("feed_forward_length"),
        "n_positions": config["max_position_embeddings"],
        "layer_norm_epsilon": float(header.number("attention.layer_norm_epsilon")),
        "activation_function": "gelu_pytorch_tanh",
        "multi_query": header.num_kv_heads == 1,
        "tie_word_embeddings": config["tie_word_embeddings"],
        "use_cache": True,
    }


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
    "qwen2": Family(_qwen2, _OUTER, _LAYER, _GATED, _GATED_REQUIRED, {}),
    "qwen3": Family(_qwen3, _OUTER, _LAYER, _QWEN3_BLOCK, tuple(_QWEN3_BLOCK), {}),
    "llama": Family(
        _llama,
        _OUTER,
        _LAYER,
        _GATED,
        _GATED_REQUIRED,
        {"attn_q": _interleaved_rows, "attn_k": _interleaved_rows},
    ),
    "gemma": Family(
        _gemma, _OUTER, _LAYER, _GATED, _GATED_REQUIRED, {}, norm_shift=-1.0
    ),
    "stablelm": Family(_stablelm, _OUTER, _LAYER, _GATED, _PARALLEL_REQUIRED, {}),
    "starcoder2": Family(
        _starcoder2, _OUTER, _LAYER, _STARCODER2_BLOCK, tuple(_STARCODER2_BLOCK), {}
    ),
    "gptneox": Family(
        _gptneox,
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
        _starcoder,
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
