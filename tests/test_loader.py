"""From what the user asked for to an engine: choices, room, and bad models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny import make_tokenizer, write_model

from model import EngineOptions, FillRequest, backends, load_engine, loader, memory
from model.errors import (
    ContextTooLargeError,
    OutOfMemoryError,
    StablecodeError,
    WeightsCorruptError,
)
from model.memory import GIB, MemoryBudget, fit_context

_NUM_WEIGHTS = 2_795_443_200
_TOKEN_NUMBERS = 163_840
_BF16_WEIGHTS = _NUM_WEIGHTS * 2
_BF16_TOKEN = _TOKEN_NUMBERS * 2


def _options(directory: Path, **options: Any) -> EngineOptions:
    return EngineOptions(model=str(directory), device="cpu", dtype="float32", **options)


@pytest.mark.parametrize(
    ("free_gib", "model"),
    [
        (2.3, "starter"),
        (2.7, "stable-code-3b"),
        (6.5, "stable-code-3b"),
        (24, "stable-code-3b"),
    ],
)
def test_auto_takes_the_gpu_model_where_it_fits(
    free_gib: float, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``auto`` chooses then also loads: the same figures decide both."""
    free = int(free_gib * GIB)
    monkeypatch.setattr(loader, "choose_device", lambda device: "cuda:0")
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    monkeypatch.setattr("model.weights.weights_present", lambda name: True)
    choice = loader.choose_model("auto", "auto")
    assert choice.model == model
    assert "cuda:0" in choice.reason
    if model == "stable-code-3b":
        budget = MemoryBudget.of("cuda:0", None)
        dtype = backends.gpu_dtype(budget, None, _NUM_WEIGHTS, _TOKEN_NUMBERS)
        assert dtype == ("int4" if free_gib < 4 else "int8" if free_gib < 7 else "auto")
        weight_bytes = int(_NUM_WEIGHTS * backends.DTYPE_BYTES.get(dtype, 2))
        context = fit_context(
            None,
            16384,
            budget,
            weight_bytes=weight_bytes,
            bytes_per_token=_BF16_TOKEN,
        )
        assert 1024 <= context <= 8192
        assert weight_bytes + context * _BF16_TOKEN <= free


def test_auto_without_weights_or_gpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names what is missing and the command that fetches it."""
    monkeypatch.setattr(loader, "choose_device", lambda device: "cuda:0")
    monkeypatch.setattr("model.weights.weights_present", lambda name: False)
    choice = loader.choose_model("auto", "auto")
    assert choice.model == "starter"
    assert "models pull stable-code-3b" in choice.reason
    monkeypatch.setattr(loader, "choose_device", lambda device: "cpu")
    assert "no CUDA" in loader.choose_model("auto", "auto").reason


def test_a_context_must_fit_model_and_memory() -> None:
    """Too much for the model, and too much for the device, are different errors."""
    budget = MemoryBudget("cuda:0", 8 * GIB)
    sizes = {"weight_bytes": _BF16_WEIGHTS, "bytes_per_token": _BF16_TOKEN}
    with pytest.raises(ContextTooLargeError, match="16384"):
        fit_context(20000, 16384, budget, **sizes)
    with pytest.raises(OutOfMemoryError, match="contextTokens"):
        fit_context(16384, 16384, budget, **sizes)
    assert fit_context(4096, 16384, budget, **sizes) == 4096


@pytest.mark.parametrize("family", ["stablelm", "gpt_neox", "qwen2"])
def test_a_directory_loads_and_generates(family: str, tmp_path: Path) -> None:
    """Any Hugging Face directory works as a path."""
    write_model(tmp_path, family)
    engine = load_engine(_options(tmp_path))
    result = engine.fill(FillRequest("def f(x):\n", "\n", max_new_tokens=4))
    assert result.candidates
    assert engine.info.context_tokens == 512
    engine.close()


def test_a_family_without_our_names_loads(tmp_path: Path) -> None:
    """GPT-Neo calls everything otherwise; tied weights are not in its file."""
    config = transformers.GPTNeoConfig(
        vocab_size=704,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global"], 2]],
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPTNeoForCausalLM(config).save_pretrained(tmp_path)
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    engine = load_engine(_options(tmp_path))
    assert engine.fill(FillRequest("x", "", max_new_tokens=2)).statistics.forwards


def _edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    """A file with fewer layers than the config is corrupt, not random."""
    write_model(tmp_path, "qwen2")
    _edit_config(tmp_path, num_hidden_layers=4, layer_types=None)
    with pytest.raises(WeightsCorruptError, match="lack"):
        load_engine(_options(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": "three"},
        {"hidden_size": None},
        {"num_attention_heads": 0},
        {"hidden_size": 65},
        {"vocab_size": 9},
        {"rope_parameters": "none"},
        {"max_position_embeddings": -5},
    ],
)
def test_a_config_of_the_wrong_kind_is_a_named_error(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever stands in a config, the user gets a sentence."""
    write_model(tmp_path, "qwen2")
    _edit_config(tmp_path, **changes)
    with pytest.raises(StablecodeError) as caught:
        load_engine(_options(tmp_path))
    assert caught.value.hint


def test_a_run_out_of_memory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While generating too; the next request starts from a clean cache."""
    write_model(tmp_path, "qwen2")
    engine: Any = load_engine(_options(tmp_path))
    request = FillRequest("def f(x):\n", "\n", max_new_tokens=4)
    expected = engine.fill(request).candidates[0].text

    def fail(*args: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine._backend._steps.decoder, "forward", fail)
        with pytest.raises(OutOfMemoryError):
            engine.fill(FillRequest("y = ", "", max_new_tokens=4))
    assert engine.fill(request).candidates[0].text == expected
