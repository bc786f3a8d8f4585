"""From what the user asked for to a loaded engine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.catalog import find_entry
from model.device import (
    GIB,
    check_room,
    choose_device,
    choose_dtype,
    free_bytes,
    place,
)
from model.echo import EchoEngine
from model.errors import ContextTooLargeError, WeightsCorruptError
from model.interface import (
    Engine,
    EngineInfo,
    EngineOptions,
    LoadProgress,
    ProgressCallback,
)

GPU_MODEL = "stable-code-3b"
CPU_MODEL = "starter"
# Keys and values of one token in stable-code-3b, in numbers: 32 layers of 2,560 each.
_GPU_MODEL_CACHE_NUMBERS = 2 * 32 * 2560
# At some 500 tokens/s on two cores: two seconds for a place never seen before.
_DEFAULT_CPU_CONTEXT_TOKENS = 1024
_DEFAULT_GPU_CONTEXT_TOKENS = 8192
_LEAST_CONTEXT_TOKENS = 1024
_MIN_MODEL_CONTEXT_TOKENS = 64
# Activations, the logits, and what the device's own libraries take.
_HEADROOM_BYTES = GIB // 2
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model ``auto`` stands for here, and why."""

    model: str
    reason: str


def choose_model(model: str, device: str, dtype: str = "auto") -> ModelChoice:
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
    if free < gpu_model_bytes(choose_dtype(chosen, dtype)[0]):
        return ModelChoice(
            CPU_MODEL,
            f"{chosen} has only {free / GIB:.1f} GiB free for {GPU_MODEL}",
        )
    return ModelChoice(GPU_MODEL, f"{chosen} has room and its weights are here")


def gpu_model_bytes(dtype: str) -> int:
    """Return the device memory that stable-code-3b needs with the least context."""
    entry = find_entry(GPU_MODEL)
    assert entry is not None
    cache_numbers = _LEAST_CONTEXT_TOKENS * _GPU_MODEL_CACHE_NUMBERS
    numbers = entry.num_parameters + cache_numbers
    return numbers * _DTYPE_BYTES[dtype] + _HEADROOM_BYTES


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

    choice = choose_model(options.model, options.device, options.dtype)
    prepared = prepare(
        choice.model, allow_download=options.allow_download, progress=report
    )
    placement = place(options.device, options.dtype)
    element_bytes = _DTYPE_BYTES[placement.dtype]
    context_tokens = fit_context(
        options.context_tokens,
        prepared.context_tokens,
        placement.device,
        weight_bytes=num_weights(prepared.directory) * element_bytes,
        bytes_per_token=cache_numbers_per_token(prepared.directory) * element_bytes,
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


def fit_context(
    wanted: int | None,
    model_limit: int,
    device: str,
    *,
    weight_bytes: int,
    bytes_per_token: int,
) -> int:
    """Return the context to use; by default what is quick and fits the memory.

    Raises ``ContextTooLargeError`` when more is wanted than the model was made for,
    ``OutOfMemoryError`` when weights and context do not fit the device.
    """
    if model_limit < _MIN_MODEL_CONTEXT_TOKENS:
        raise WeightsCorruptError(
            f"The model's configuration allows {model_limit} tokens of context.",
            hint="Fetch the model again.",
        )
    free = free_bytes(device)
    if wanted is None:
        is_cpu = device == "cpu"
        default = _DEFAULT_CPU_CONTEXT_TOKENS if is_cpu else _DEFAULT_GPU_CONTEXT_TOKENS
        room = free - weight_bytes - _HEADROOM_BYTES
        fitting = room // bytes_per_token if bytes_per_token else default
        wanted = max(min(default, fitting), _LEAST_CONTEXT_TOKENS)
        wanted = min(wanted, model_limit)
    elif wanted > model_limit:
        raise ContextTooLargeError(
            f"{wanted} context tokens were asked for, and the model was made for "
            f"{model_limit}.",
            hint=f"Set contextTokens to {model_limit} or less.",
        )
    check_room(device, free, weight_bytes, wanted * bytes_per_token)
    return wanted


def cache_numbers_per_token(directory: Path) -> int:
    """Return how many numbers the keys and values of a token are, all layers.

    0 for a family that keeps something else: then nothing is known beforehand.
    Raises ``WeightsCorruptError``.
    """
    from model.transformers_backend import read_config

    config = read_config(directory)
    layers: Any = getattr(config, "num_hidden_layers", None)
    num_heads: Any = getattr(config, "num_attention_heads", None)
    hidden: Any = getattr(config, "hidden_size", None)
    if not all(isinstance(one, int) and one > 0 for one in (layers, num_heads, hidden)):
        return 0
    head_dim = getattr(config, "head_dim", None) or hidden // num_heads
    default = 1 if getattr(config, "multi_query", False) else num_heads
    num_kv_heads = getattr(config, "num_key_value_heads", None) or default
    return int(2 * layers * num_kv_heads * head_dim)


def num_weights(directory: Path) -> int:
    """Return how many numbers a model's weights are, from the files' headers."""
    from model.safetensors_files import check_directory, read_header

    return sum(
        math.prod(entry.shape)
        for path in check_directory(directory)
        for entry in read_header(path).values()
    )
