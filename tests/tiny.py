"""Small random models with a real tokenizer, made in a second, for exactness."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FIM_TOKENS = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"]
FAMILIES = ("stablelm", "gpt_neox", "qwen2")
# With what else our own decoders compute; make_model knows them all.
DECODER_FAMILIES = (
    *FAMILIES,
    "gpt_neox_sequential",
    "qwen3",
    "llama",
    "llama3_rope",
    "mistral",
    "starcoder2",
)
# Smaller than any prompt in the tests.
SLIDING_WINDOW = 24

_CORPUS = (Path(__file__), Path(__file__).parent / "test_fim.py")


@cache
def make_tokenizer() -> Tokenizer:
    """Train a byte-level BPE of about 600 ids on this folder's own source."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=FIM_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [path.read_text("utf-8") for path in _CORPUS]
    tokenizer.train_from_iterator([*text, "def f(x):\n    return x\n"], trainer)
    return tokenizer


def make_model(family: str, *, seed: int = 0, **overrides: Any) -> Any:
    """Return a random fp32 model of ``family``, small but with every mechanism.

    Tokens that are no whole character by themselves are made improbable, so that
    what it generates is text.
    """
    model = _make_random_model(family, seed=seed, **overrides)
    head = model.get_output_embeddings().weight.data
    tokenizer = make_tokenizer()
    size = tokenizer.get_vocab_size()
    broken = [
        token_id
        for token_id in range(size)
        if "\N{REPLACEMENT CHARACTER}" in tokenizer.decode([token_id])
    ]
    head[broken] = 0
    head[size:] = 0
    return model


def _make_random_model(family: str, *, seed: int, **overrides: Any) -> Any:
    torch.manual_seed(seed)
    # Threads cost more than they give at this size.
    torch.set_num_threads(1)
    shape: dict[str, Any] = {
        "vocab_size": 704,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
        **overrides,
    }
    if family == "stablelm":
        config: Any = transformers.StableLmConfig(
            num_key_value_heads=shape["num_attention_heads"],
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "partial_rotary_factor": 0.25,
            },
            use_qkv_bias=False,
            **shape,
        )
        return transformers.StableLmForCausalLM(config).eval()
    if family in ("gpt_neox", "gpt_neox_sequential"):
        config = transformers.GPTNeoXConfig(
            use_parallel_residual=family == "gpt_neox",
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.25,
            },
            **shape,
        )
        return transformers.GPTNeoXForCausalLM(config).eval()
    return _make_grouped_model(family, shape)


def _make_grouped_model(family: str, shape: dict[str, Any]) -> Any:
    """Return a model whose heads share keys and values in groups."""
    shape = {"num_key_value_heads": 2, **shape}
    if family == "qwen2":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape)).eval()
    if family == "qwen3":
        config: Any = transformers.Qwen3Config(head_dim=32, **shape)
        return transformers.Qwen3ForCausalLM(config).eval()
    if family == "mistral":
        config = transformers.MistralConfig(sliding_window=SLIDING_WINDOW, **shape)
        return transformers.MistralForCausalLM(config).eval()
    if family == "starcoder2":
        shape["tie_word_embeddings"] = True
        config = transformers.Starcoder2Config(sliding_window=SLIDING_WINDOW, **shape)
        return transformers.Starcoder2ForCausalLM(config).eval()
    if family == "llama3_rope":
        shape["rope_parameters"] = {
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    elif family != "llama":
        raise ValueError(family)
    config = transformers.LlamaConfig(attention_bias=True, mlp_bias=True, **shape)
    return transformers.LlamaForCausalLM(config).eval()


def write_model(directory: Path, family: str) -> Any:
    """Write a small model with its tokenizer as a Hugging Face directory."""
    model = make_model(family)
    model.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    return model
