"""Engines over small models that a test wrote before; torch is not imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model import EngineInfo
from model.decoder_config import read_decoder_config
from model.dialects import DIALECTS
from model.directory import read_config
from model.engine import LocalEngine
from model.fim import PromptBuilder
from model.native_backend import NativeBackend
from model.packed_weights import PackedWeights
from model.tokenizer import CodeTokenizer


def engine_of(
    backend: Any, tokenizer: CodeTokenizer, context_tokens: int
) -> LocalEngine:
    """Return an engine over a backend."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    info = EngineInfo(
        "small", backend.name, "cpu", "float32", context_tokens, prompts.orders, 0.0
    )
    return LocalEngine(backend, tokenizer, prompts, info)


def native_engine(directory: Path, context_tokens: int) -> LocalEngine:
    """Return an engine over packed weights that lie beside their configuration."""
    config = read_decoder_config(read_config(directory))
    backend = NativeBackend(
        PackedWeights(directory, config),
        config,
        context_tokens=context_tokens,
        num_sessions=2,
        num_threads=1,
        cache_kind="float32",
    )
    tokenizer = CodeTokenizer.from_file(directory / "tokenizer.json")
    return engine_of(backend, tokenizer, context_tokens)
