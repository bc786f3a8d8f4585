"""What the native decoders read from config.json, held against transformers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import transformers
from tiny import DECODER_FAMILIES, SLIDING_WINDOW, make_model

from model.decoder_config import read_decoder_config
from model.errors import UnsupportedArchitectureError, WeightsCorruptError
from model.families import decoder_tensors, tensor_names

_CLASSES: dict[str, tuple[Any, Any]] = {
    "stablelm": (transformers.StableLmConfig, transformers.StableLmModel),
    "gpt_neox": (transformers.GPTNeoXConfig, transformers.GPTNeoXModel),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2Model),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3Model),
    "llama": (transformers.LlamaConfig, transformers.LlamaModel),
    "mistral": (transformers.MistralConfig, transformers.MistralModel),
    "starcoder2": (transformers.Starcoder2Config, transformers.Starcoder2Model),
}
_LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}
_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
_ROTARY: dict[str, dict[str, Any]] = {
    "none": {},
    "old base": {"rope_theta": 1e6},
    "old linear": {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}},
    "old llama3": {
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "llama3", **_LLAMA3},
    },
    "new": {"rope_parameters": {"rope_type": "default", "rope_theta": 2e5}},
    "new linear": {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    },
    "new llama3": {
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **_LLAMA3}
    },
}
_PARTIAL = {
    "stablelm": {"partial_rotary_factor": 0.5},
    "gpt_neox": {"rotary_pct": 1.0, "rotary_emb_base": 25_000},
}


def their_config(family: str, given: dict[str, Any]) -> Any:
    return _CLASSES[family][0](**given)


@pytest.mark.parametrize("family", sorted(_CLASSES))
def test_missing_keys_mean_what_transformers_assumes(family: str) -> None:
    """An almost empty config.json is read as transformers reads it."""
    theirs = their_config(family, {})
    ours = read_decoder_config({"model_type": family})
    num_heads = theirs.num_attention_heads
    head_dim = getattr(theirs, "head_dim", None) or theirs.hidden_size // num_heads
    assert ours.vocab_size == theirs.vocab_size
    assert ours.hidden_size == theirs.hidden_size
    assert ours.intermediate_size == theirs.intermediate_size
    assert ours.num_layers == theirs.num_hidden_layers
    assert ours.num_heads == num_heads
    assert ours.num_kv_heads == getattr(theirs, "num_key_value_heads", num_heads)
    assert ours.head_dim == head_dim
    assert ours.max_tokens == theirs.max_position_embeddings
    assert ours.tied_embeddings == theirs.tie_word_embeddings
    window = getattr(theirs, "sliding_window", None)
    assert ours.sliding_windows == (window,) * ours.num_layers
    eps = [
        getattr(theirs, key)
        for key in ("rms_norm_eps", "layer_norm_eps", "norm_epsilon")
        if hasattr(theirs, key)
    ]
    assert [ours.norm_eps] == eps
    assert ours.parallel_residual == (family == "gpt_neox")


@pytest.mark.parametrize("rotary", sorted(_ROTARY))
@pytest.mark.parametrize("family", sorted(_CLASSES))
def test_frequencies_are_those_of_transformers(family: str, rotary: str) -> None:
    """Whatever the spelling and the scaling, frequencies agree but for rounding."""
    given = {**_SMALL, **_PARTIAL.get(family, {}), **_ROTARY[rotary]}
    theirs = _CLASSES[family][1](their_config(family, given)).rotary_emb.inv_freq
    ours = read_decoder_config({"model_type": family, **given})
    assert ours.rotary_dim == 2 * len(theirs)
    expected = torch.tensor(ours.inverse_frequencies)
    # torch does not round its powers the same way on every processor.
    torch.testing.assert_close(expected, theirs, rtol=4e-7, atol=0)


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_a_saved_configuration_is_read(family: str) -> None:
    """What transformers 5 writes is read, and every tensor of the model is used."""
    model = make_model(family)
    config = read_decoder_config(model.config.to_dict())
    assert config.hidden_size == 64
    assert config.parallel_residual == (family == "gpt_neox")
    windowed = family in ("mistral", "starcoder2")
    assert config.sliding_windows == ((SLIDING_WINDOW if windowed else None),) * 3
    held = set(model.state_dict())
    if config.tied_embeddings:
        held -= {"lm_head.weight"}
    used = tensor_names(decoder_tensors(config, held))
    assert set(used) == held


def test_windows_of_single_layers() -> None:
    """Qwen's two spellings of which layers look back how far."""
    shape = {**_SMALL, "model_type": "qwen2", "sliding_window": 16}
    assert read_decoder_config(shape).sliding_windows == (None, None)
    shape["use_sliding_window"] = True
    config = read_decoder_config({**shape, "max_window_layers": 1})
    assert config.sliding_windows == (None, 16)
    kinds = ["sliding_attention", "full_attention"]
    config = read_decoder_config({**shape, "layer_types": kinds})
    assert config.sliding_windows == (16, None)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mamba"},
        {"model_type": None},
        {"model_type": ["llama"]},
        {"hidden_act": "relu"},
        {"quantization_config": {"bits": 4}},
        {"num_local_experts": 8},
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        {"partial_rotary_factor": 0.5},
        {"model_type": "stablelm", "qk_layernorm": True},
        {"model_type": "stablelm", "use_parallel_residual": True},
        {"model_type": "qwen2", "layer_types": ["chunked_attention"] * 2},
    ],
)
def test_what_is_not_computed_is_refused(change: dict[str, Any]) -> None:
    """The loader then runs the model through transformers and can say why."""
    config = {**_SMALL, "model_type": "llama", **change}
    with pytest.raises(UnsupportedArchitectureError, match="native decoder"):
        read_decoder_config(config)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 0},
        {"hidden_size": "64"},
        {"vocab_size": 1.5},
        {"num_hidden_layers": True},
        {"num_key_value_heads": 3},
        {"rms_norm_eps": -1.0},
        {"rms_norm_eps": float("nan")},
        {"rope_theta": 0},
        {"rope_parameters": [1]},
        {"rope_scaling": {"rope_type": "linear"}},
        {"tie_word_embeddings": "yes"},
        {"model_type": "qwen2", "layer_types": ["full_attention"]},
        {"model_type": "stablelm", "num_attention_heads": 5},
    ],
)
def test_impossible_numbers_are_named(change: dict[str, Any]) -> None:
    """A damaged configuration is an error that names the key."""
    config = {**_SMALL, "model_type": "llama", **change}
    key = next(reversed(change))
    match = "factor" if key == "rope_scaling" else key
    with pytest.raises(WeightsCorruptError, match=match):
        read_decoder_config(config)


def test_the_first_missing_tensor_is_named() -> None:
    """A file that lacks a tensor is refused before anything is loaded."""
    model = make_model("stablelm")
    config = read_decoder_config(model.config.to_dict())
    names = set(model.state_dict()) - {"model.layers.1.mlp.up_proj.weight"}
    with pytest.raises(WeightsCorruptError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        decoder_tensors(config, names)


def test_neither_torch_nor_transformers_is_imported() -> None:
    """Reading a configuration costs the server nothing at start."""
    code = (
        "import sys, model.decoder_config, model.families\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
