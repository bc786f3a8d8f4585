"""Small random models of every GGUF family, written as llama.cpp's converter does.

Tensor names come from the ``gguf`` package's own table and the reordering is copied
from what ``convert_hf_to_gguf.py`` does, so that the code under test meets an
independent account of the format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GemmaConfig,
    GPTBigCodeConfig,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    StableLmConfig,
    Starcoder2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

FIM_TOKENS = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<reponame>",
    "<filename>",
)


def small_tokenizer(control: tuple[str, ...] = FIM_TOKENS) -> Tokenizer:
    """Train a byte-level BPE on a little Python; control tokens come last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = ["def add(a, b):\n    return a + b\n", "for i in range(10):\n    print(i)\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(text * 20, trainer)
    tokenizer.add_special_tokens(list(control))
    return tokenizer


@dataclass(frozen=True)
class FamilyCase:
    """How one family is built in small and written to GGUF."""

    name: str
    config: Callable[[int], PretrainedConfig]
    arch: gguf.MODEL_ARCH
    pre: str = "qwen2"


_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "initializer_range": 0.3,
    "max_position_embeddings": 128,
}


def _rope(theta: float, **more: float | str) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


CASES = (
    FamilyCase(
        "qwen2",
        lambda n: Qwen2Config(
            vocab_size=n, num_key_value_heads=2, **_SMALL, **_rope(1e6)
        ),
        gguf.MODEL_ARCH.QWEN2,
    ),
    FamilyCase(
        "qwen2-tied",
        lambda n: Qwen2Config(
            vocab_size=n,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            **_SMALL,
            **_rope(5e5),
        ),
        gguf.MODEL_ARCH.QWEN2,
    ),
    FamilyCase(
        "qwen3",
        lambda n: Qwen3Config(
            vocab_size=n, num_key_value_heads=2, head_dim=12, **_SMALL, **_rope(1e6)
        ),
        gguf.MODEL_ARCH.QWEN3,
    ),
    FamilyCase(
        "llama",
        lambda n: LlamaConfig(
            vocab_size=n, num_key_value_heads=2, **_SMALL, **_rope(1e6)
        ),
        gguf.MODEL_ARCH.LLAMA,
        pre="starcoder",
    ),
    FamilyCase(
        "llama-linear-scaling-biases",
        lambda n: LlamaConfig(
            vocab_size=n,
            num_key_value_heads=4,
            attention_bias=True,
            mlp_bias=True,
            **_SMALL,
            rope_parameters={
                "rope_type": "linear",
                "factor": 4.0,
                "rope_theta": 1e5,
            },
        ),
        gguf.MODEL_ARCH.LLAMA,
        pre="deepseek-coder",
    ),
    FamilyCase(
        "gemma",
        lambda n: GemmaConfig(
            vocab_size=n,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=True,
            **_SMALL,
            **_rope(1e4),
        ),
        gguf.MODEL_ARCH.GEMMA,
    ),
    FamilyCase(
        "stablelm",
        lambda n: StableLmConfig(
            vocab_size=n,
            num_key_value_heads=4,
            **_SMALL,
            **_rope(1e4, partial_rotary_factor=0.5),
        ),
        gguf.MODEL_ARCH.STABLELM,
        pre="olmo",
    ),
    FamilyCase(
        "stablelm-parallel-biases",
        lambda n: StableLmConfig(
            vocab_size=n,
            num_key_value_heads=2,
            use_qkv_bias=True,
            use_parallel_residual=True,
            **_SMALL,
            **_rope(1e4, partial_rotary_factor=0.25),
        ),
        gguf.MODEL_ARCH.STABLELM,
        pre="stablelm2",
    ),
    FamilyCase(
        "starcoder2",
        lambda n: Starcoder2Config(
            vocab_size=n,
            num_key_value_heads=2,
            sliding_window=None,
            tie_word_embeddings=True,
            **_SMALL,
            **_rope(1e5),
        ),
        gguf.MODEL_ARCH.STARCODER2,
        pre="starcoder",
    ),
    FamilyCase(
        "starcoder",
        lambda n: GPTBigCodeConfig(
            vocab_size=n,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=128,
            n_inner=128,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.3,
        ),
        gguf.MODEL_ARCH.STARCODER,
        pre="starcoder",
    ),
    FamilyCase(
        "gptneox",
        lambda n: GPTNeoXConfig(
            vocab_size=n, **_SMALL, **_rope(1e4, partial_rotary_factor=0.25)
        ),
        gguf.MODEL_ARCH.GPTNEOX,
        pre="starcoder",
    ),
    FamilyCase(
        "gptneox-sequential",
        lambda n: GPTNeoXConfig(
            vocab_size=n,
            use_parallel_residual=False,
            **_SMALL,
            **_rope(1e4, partial_rotary_factor=1.0),
        ),
        gguf.MODEL_ARCH.GPTNEOX,
        pre="starcoder",
    ),
)


def random_model(config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Return a float32 model in which no tensor, norms and biases too, is trivial."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def _as_llama_cpp(model: PreTrainedModel, name: str, tensor: torch.Tensor) -> Any:
    """Reorder or shift one tensor as llama.cpp's converters do."""
    config = model.config
    kind = config.model_type
    if kind == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = (
            config.num_attention_heads
            if ".q_proj." in name
            else config.num_key_value_heads
        )
        paired = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, -1)
        tensor = paired.swapaxes(1, 2).reshape(tensor.shape)
    elif kind == "gpt_neox" and ".query_key_value." in name:
        heads, width = config.num_attention_heads, config.hidden_size
        parts = tensor.reshape(heads, 3, width // heads, *tensor.shape[1:])
        tensor = torch.cat(
            [parts[:, i].reshape(-1, *tensor.shape[1:]) for i in range(3)]
        )
    elif kind == "gemma" and name.endswith("norm.weight"):
        tensor = tensor + 1
    return tensor.contiguous().numpy()


def write_gguf(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    path: Path,
    *,
    arch: gguf.MODEL_ARCH,
    pre: str | None = "qwen2",
    quantization: gguf.GGMLQuantizationType | None = None,
    skip: Callable[[str], bool] = lambda name: False,
) -> None:
    """Write a model and its tokenizer; ``skip`` drops tensors by their GGUF name."""
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_name("test")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", 0)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config.num_attention_heads)
    _write_family_keys(writer, config)
    _write_tokenizer(writer, tokenizer, pre, config.vocab_size)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        old = name.replace("lm_head.", "embed_out.") if "NEOX" in arch.name else name
        target = names.get_name(old, try_suffixes=(".weight", ".bias"))
        if target is None or (tied and target == "output.weight") or skip(target):
            continue
        array = _as_llama_cpp(model, name, tensor)
        kind = quantization if array.ndim == 2 else None
        if kind is not None:
            array = gguf.quants.quantize(array, kind)
        writer.add_tensor(target, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_family_keys(writer: gguf.GGUFWriter, config: PretrainedConfig) -> None:
    """Write what the converters write for each family, and nothing else."""
    kind = config.model_type
    rope = getattr(config, "rope_parameters", None) or {}
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    if kind == "gpt_bigcode":
        writer.add_head_count_kv(1 if config.multi_query else config.n_head)
    elif kind != "gpt_neox":
        writer.add_head_count_kv(config.num_key_value_heads)
    for key in ("layer_norm_eps", "norm_epsilon", "layer_norm_epsilon"):
        if hasattr(config, key):
            writer.add_layer_norm_eps(getattr(config, key))
            break
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind in ("stablelm", "gpt_neox"):
        writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * head_dim))
        writer.add_parallel_residual(config.use_parallel_residual)
    elif rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    if kind in ("qwen3", "gemma"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _write_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: Tokenizer, pre: str | None, vocab_size: int
) -> None:
    """Write a BPE vocabulary, padded to ``vocab_size`` as converters do."""
    import json

    spec = json.loads(tokenizer.to_str())
    special = {token["id"] for token in spec["added_tokens"]}
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(size)]
    kinds = [3 if i in special else 1 for i in range(size)]
    padding = range(size, vocab_size)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([*tokens, *(f"[PAD{i}]" for i in padding)])
    writer.add_token_types([*kinds, *(5 for _ in padding)])
    merges = spec["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def logits(model: PreTrainedModel, length: int = 24) -> np.ndarray:
    """Return float32 logits [length, vocabulary] for fixed ids."""
    ids = (torch.arange(length) * 37 + 11) % (model.config.vocab_size - 1)
    with torch.inference_mode():
        out = model(ids[None]).logits[0]
    result: np.ndarray = out.float().numpy()
    return result


def quantised_blocks(kind: str, *, rows: int, columns: int) -> Any:
    """Return random GGUF blocks of a type, ``[rows, bytes]``, with plausible scales."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    quantisation = gguf.GGMLQuantizationType[kind]
    if kind != "Q4_K":
        return gguf.quants.quantize(values, quantisation)
    # The package reads these but does not write them.
    block_elements, block_bytes = gguf.GGML_QUANT_SIZES[quantisation]
    num_blocks = columns // block_elements
    blocks = rng.integers(0, 256, (rows, num_blocks, block_bytes), dtype=np.uint8)
    halves = rng.uniform(0.001, 0.1, (rows, num_blocks, 2)).astype(np.float16)
    blocks[..., :4] = halves.view(np.uint8)
    return blocks.reshape(rows, -1)
