"""Hugging Face's ``config.json`` from GGUF metadata, one function per architecture.

transformers 5 reads ``rope_parameters``; the older spellings of the same settings
(``rope_theta``, ``rotary_pct`` …) are written beside it for other readers.
"""

from __future__ import annotations

from typing import Any

from model.errors import UnsupportedArchitectureError
from model.gguf_reader import GgufFile

Config = dict[str, Any]
_DEFAULT_ROPE_THETA = 10_000.0
_STABLE_CODE_SHAPE = (50304, 16384, 32)  # vocabulary, context, layers
_STABLE_CODE_ROPE_THETA = 1_000_000.0


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
        if not 0 < value < 1 << 32 or value != int(value):
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
        """Return a matrix's shape; raises ``WeightsCorruptError`` if it is missing."""
        if name not in self.file.tensors or len(self.file.tensors[name].shape) != 2:
            raise self.file.corrupt(f"it lacks the matrix {name}")
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
    num_tokens, width = header.shape("token_embd.weight")
    if width != header.count("embedding_length"):
        raise header.file.corrupt(f"its embeddings have {width} channels")
    config: Config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": num_tokens,
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


def qwen2_config(header: Header) -> Config:
    """Return the config of a ``qwen2`` file."""
    config = _decoder(header, "Qwen2ForCausalLM", "qwen2")
    del config["head_dim"]  # the class has none
    return {**config, "use_sliding_window": False, "sliding_window": None}


def qwen3_config(header: Header) -> Config:
    """Return the config of a ``qwen3`` file."""
    return {
        **_decoder(header, "Qwen3ForCausalLM", "qwen3"),
        "attention_bias": header.has("attn_q.bias"),
        "use_sliding_window": False,
        "sliding_window": None,
    }


def llama_config(header: Header) -> Config:
    """Return the config of a ``llama`` file."""
    return {
        **_decoder(header, "LlamaForCausalLM", "llama"),
        "attention_bias": header.has("attn_q.bias"),
        "mlp_bias": header.has("ffn_up.bias"),
    }


def gemma_config(header: Header) -> Config:
    """Return the config of a ``gemma`` file."""
    return {
        **_decoder(header, "GemmaForCausalLM", "gemma"),
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
    }


def _partial(header: Header, default: float) -> float:
    """Return the share of a head's channels that rotate."""
    dims = header.count("rope.dimension_count", max(1, int(header.head_dim * default)))
    return dims / header.head_dim


def stablelm_config(header: Header) -> Config:
    """Return the config of a ``stablelm`` file."""
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


def gptneox_config(header: Header) -> Config:
    """Return the config of a ``gptneox`` file."""
    theta = float(header.number("rope.freq_base", _DEFAULT_ROPE_THETA))
    partial = _partial(header, 0.25)
    key = f"{header.architecture}.use_parallel_residual"
    return {
        **_common(header, "GPTNeoXForCausalLM", "gpt_neox"),
        "intermediate_size": header.count("feed_forward_length"),
        "hidden_act": "gelu",
        "layer_norm_eps": float(header.number("attention.layer_norm_epsilon")),
        "use_parallel_residual": header.file.metadata.get(key) is not False,
        "attention_bias": header.has("attn_qkv.bias"),
        **_rope(header, theta, partial),
        "rotary_emb_base": theta,
        "rotary_pct": partial,
    }


def starcoder2_config(header: Header) -> Config:
    """Return the config of a ``starcoder2`` file."""
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


def starcoder_config(header: Header) -> Config:
    """Return the config of a ``starcoder`` file."""
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
