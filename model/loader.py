"""From what the user asked for to a loaded engine."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.device import GIB, check_room, choose_device, free_bytes, place
from model.echo import EchoEngine
from model.errors import ContextTooLargeError
from model.interface import (
    Engine,
    EngineInfo,
    EngineOptions,
    LoadProgress,
    ProgressCallback,
)

GPU_MODEL = "stable-code-3b"
CPU_MODEL = "starter"
_GPU_MODEL_BYTES = int(6.5 * GIB)  # bf16 weights and 4k tokens of cache
# At some 500 tokens/s on two cores: two seconds for a place never seen before.
_DEFAULT_CPU_CONTEXT_TOKENS = 1024
_DEFAULT_GPU_CONTEXT_TOKENS = 8192
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model ``auto`` stands for here, and why."""

    model: str
    reason: str


def choose_model(model: str, device: str) -> ModelChoice:
    """Resolve ``auto``: the GPU model where there is room and weights, else the CPU's.

    Raises ``DeviceUnavailableError`` for a device that is not there.
    """
    from model.weights import weights_present

    if model != "auto":
        return ModelChoice(model, "asked for")
    chosen = choose_device(device)
    if not chosen.startswith("cuda"):
        return ModelChoice(CPU_MODEL, f"no CUDA device in use ({chosen})")
    if not weights_present(GPU_MODEL):
        return ModelChoice(
            CPU_MODEL,
            f"{chosen} is there, but not the weights of {GPU_MODEL} "
            f"(lsp-stablecode models pull {GPU_MODEL})",
        )
    free = free_bytes(chosen)
    if free < _GPU_MODEL_BYTES:
        return ModelChoice(
            CPU_MODEL,
            f"{chosen} has only {free / GIB:.1f} GiB free for {GPU_MODEL}",
        )
    return ModelChoice(GPU_MODEL, f"{chosen} has room and its weights are here")


def load_engine(
    options: EngineOptions, progress: ProgressCallback | None = None
) -> Engine:
    """Load what ``options`` ask for; minutes at first, seconds from a warm cache.

    Raises a ``StablecodeError`` that says what to do.
    """
    report = progress or (lambda _: None)
    started = time.perf_counter()
    if options.model == "echo" or options.model.startswith("echo:"):
        return EchoEngine(options.model)

    report(LoadProgress("import torch"))
    from model.fim import DIALECTS, PromptBuilder
    from model.tokenizer import CodeTokenizer
    from model.weights import prepare

    choice = choose_model(options.model, options.device)
    prepared = prepare(
        choice.model, allow_download=options.allow_download, progress=report
    )
    config = json.loads((prepared.directory / "config.json").read_text("utf-8"))
    placement = place(options.device, options.dtype)
    context_tokens = choose_context_tokens(
        options.context_tokens, prepared.context_tokens, placement.device
    )
    element_bytes = _DTYPE_BYTES[placement.dtype]
    check_room(
        placement.device,
        weight_bytes(prepared.directory, placement.dtype),
        context_tokens * cache_bytes_per_token(config, element_bytes),
    )
    report(LoadProgress("load tokenizer"))
    tokenizer = CodeTokenizer.from_file(prepared.directory / "tokenizer.json")
    prompts = PromptBuilder(
        tokenizer,
        DIALECTS[prepared.dialect],
        prepared.default_fim_order,
        prepared.stop_tokens,
    )
    report(LoadProgress("load weights"))
    from model.engine import LocalEngine
    from model.transformers_backend import load_transformers_backend

    backend, backend_notes = load_transformers_backend(prepared.directory, placement)
    notes = (
        f"model {choice.model}: {choice.reason}",
        f"weights: {prepared.source}",
        *prepared.notes,
        *placement.notes,
        *backend_notes,
    )
    info = EngineInfo(
        model=choice.model,
        backend=backend.name,
        device=placement.device,
        dtype=placement.dtype,
        context_tokens=context_tokens,
        fim_orders=prompts.orders,
        load_ms=(time.perf_counter() - started) * 1000,
        notes=notes,
    )
    report(LoadProgress("ready", 1.0))
    return LocalEngine(backend, tokenizer, prompts, info)


def choose_context_tokens(wanted: int | None, model_limit: int, device: str) -> int:
    """Return the context to use; by default what keeps a suggestion quick.

    Raises ``ContextTooLargeError`` when more is wanted than the model was made for.
    """
    if wanted is None:
        default = (
            _DEFAULT_CPU_CONTEXT_TOKENS
            if device == "cpu"
            else _DEFAULT_GPU_CONTEXT_TOKENS
        )
        return min(default, model_limit)
    if wanted > model_limit:
        raise ContextTooLargeError(
            f"{wanted} context tokens were asked for, and the model was made for "
            f"{model_limit}.",
            hint=f"Set contextTokens to {model_limit} or less.",
        )
    return wanted


def cache_bytes_per_token(config: dict[str, Any], element_bytes: int) -> int:
    """Return the bytes of keys and values per token, all layers, from config.json."""
    # GPT-2's descendants (StarCoderBase) have names of their own.
    num_heads = config.get("num_attention_heads") or config["n_head"]
    num_layers = config.get("num_hidden_layers") or config["n_layer"]
    hidden = config.get("hidden_size") or config["n_embd"]
    head_dim = config.get("head_dim") or hidden // num_heads
    default_kv_heads = 1 if config.get("multi_query") else num_heads
    num_kv_heads = config.get("num_key_value_heads") or default_kv_heads
    return int(2 * num_layers * num_kv_heads * head_dim * element_bytes)


def weight_bytes(directory: Path, dtype: str) -> int:
    """Return the bytes the weights will take in ``dtype``, from the file headers."""
    from safetensors import safe_open

    elements = 0
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                shape = file.get_slice(name).get_shape()
                count = 1
                for size in shape:
                    count *= size
                elements += count
    return elements * _DTYPE_BYTES[dtype]
