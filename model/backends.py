"""Which backend computes a model here, in which number format, with how much room.

On a processor the C kernels, where there is a compiler and they know the family; our
decoder in torch on a GPU, or for plain number formats; transformers for every other
family. What is not the first choice is a note in status, with the reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from model.backend import Backend
from model.convert import count_gguf_weights
from model.decoder_config import DecoderConfig, read_decoder_config
from model.device import Placement, choose_device, choose_threads, place
from model.directory import read_config
from model.errors import (
    KernelsUnavailableError,
    StablecodeError,
    UnsupportedArchitectureError,
)
from model.interface import EngineOptions, LoadProgress, ProgressCallback
from model.memory import GIB, HEADROOM_BYTES, CachePlan, MemoryBudget, plan_caches
from model.native_decoder import CacheKind
from model.niceness import stand_back
from model.packed_weights import PackedWeights, Precision
from model.packer import check_shape
from model.safetensors_files import check_directory, read_header
from model.weights import PreparedModel

logger = logging.getLogger(__name__)

DTYPE_BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "int8": 1.0625,
    "int4": 0.625,
}
PACKED_DTYPES = ("auto", "int8", "int4")
# On a processor a weight is read in every pass: larger models get fewer bits.
_MOST_INT8_WEIGHTS = 1_500_000_000
_USUAL_GPU_CONTEXT_TOKENS = 4096
_LEAST_BYTES: dict[Precision, float] = {
    "held": 0.5,
    "int8": 1.0,
    "int4": 0.6,
    "float32": 4.0,
}


@dataclass(frozen=True, slots=True)
class LoadedBackend:
    """A backend and what was decided on the way; ``most_bytes`` is with full caches."""

    backend: Backend
    device: str
    dtype: str
    context_tokens: int
    notes: tuple[str, ...]
    most_bytes: int


def load_backend(
    prepared: PreparedModel,
    options: EngineOptions,
    report: ProgressCallback,
    with_weights: Callable[[], PreparedModel],
) -> LoadedBackend:
    """Load a model's weights where they are computed fastest.

    ``prepared`` may lack its weights where the kernels pack them from a GGUF file;
    ``with_weights`` brings them. Raises a ``StablecodeError`` that says what to do.
    """
    device = choose_device(options.device)
    if device == "cpu":
        stand_back(options.niceness)
    notes: list[str] = []
    config: DecoderConfig | None = None
    try:
        config = read_decoder_config(read_config(prepared.directory))
    except UnsupportedArchitectureError as error:
        notes.append(f"backend: transformers, because {_reason(error)}")
        logger.warning("%s", notes[-1])
    if config is not None and device == "cpu" and options.dtype in PACKED_DTYPES:
        try:
            return _load_native(prepared, config, options, report)
        except (UnsupportedArchitectureError, KernelsUnavailableError) as error:
            notes.append(f"backend: not our kernels, because {error}")
            logger.warning("%s", notes[-1])
    prepared = with_weights()
    report(LoadProgress("load weights"))
    return _load_in_torch(prepared, config, device, options, notes)


def _load_native(
    prepared: PreparedModel,
    config: DecoderConfig,
    options: EngineOptions,
    report: ProgressCallback,
) -> LoadedBackend:
    from model.compiler import load_kernels
    from model.native_backend import NativeBackend, cache_bytes_per_token
    from model.packed_cache import packed_directory, packed_weights

    check_shape(config)
    report(LoadProgress("load kernels"))
    load_kernels()
    budget = MemoryBudget.of("cpu", options.memory_gib)
    num_weights = count_weights(prepared)
    precision, reason = choose_precision(prepared, options.dtype, num_weights, budget)
    # Before minutes of work.
    budget.check(int(num_weights * _LEAST_BYTES[precision]))
    weights = packed_weights(prepared, config, precision, num_weights, report)
    report(LoadProgress("load weights"))
    kinds: tuple[CacheKind, ...] = ("bfloat16", "int8")
    if options.cache_dtype != "auto":
        kinds = (cast(CacheKind, options.cache_dtype),)
    plan = plan_caches(
        options.context_tokens,
        prepared.context_tokens,
        budget,
        weight_bytes=weights.num_bytes,
        widths={kind: cache_bytes_per_token(config, kind) for kind in kinds},
        # Eight people at once think of at least as many documents, and what a cache has
        # not been filled with takes no memory. A GPU's stay few: each captures graphs.
        most_sessions=16 if options.memory_gib is not None else 12,
    )
    backend = NativeBackend(
        weights,
        config,
        context_tokens=plan.context_tokens,
        num_sessions=plan.num_sessions,
        num_threads=choose_threads(options.threads),
        cache_kind=cast(CacheKind, plan.kind),
    )
    report(LoadProgress("measure passes"))
    directory = packed_directory(prepared, precision)
    backend.measure(directory / f"passes-{_machine_key(backend.num_threads)}.json")
    dtype = _label(weights)
    notes = (
        f"dtype {dtype}: {reason}",
        _memory_note(budget, weights.num_bytes, plan),
        f"threads: {backend.num_threads}",
    )
    most_bytes = weights.num_bytes + plan.num_sessions * plan.session_bytes
    return LoadedBackend(backend, "cpu", dtype, plan.context_tokens, notes, most_bytes)


def _memory_note(budget: MemoryBudget, weight_bytes: int, plan: CachePlan) -> str:
    """Say what weights and caches take, for status."""
    ceiling = ""
    if budget.ceiling_bytes is not None:
        ceiling = f", of {budget.ceiling_bytes / GIB:.1f} GiB allowed"
    return (
        f"memory: {weight_bytes / GIB:.2f} GiB of weights, {plan.num_sessions} "
        f"{plan.kind} caches of {plan.session_bytes / 2**20:.0f} MiB at most{ceiling}"
    )


def choose_precision(
    prepared: PreparedModel, dtype: str, num_weights: int, budget: MemoryBudget
) -> tuple[Precision, str]:
    """Return how weights are packed for a processor, and why."""
    if dtype in ("int8", "int4"):
        return cast(Precision, dtype), "asked for"
    if prepared.has_gguf:
        return "held", "as the model's file holds the weights"
    if num_weights > _MOST_INT8_WEIGHTS:
        return "int4", "a processor reads all weights for every pass"
    if num_weights * _LEAST_BYTES["int8"] > budget.num_bytes:
        return "int4", "more bits do not fit"
    return "int8", "nearly as good as the original, in half the bytes"


def _load_in_torch(
    prepared: PreparedModel,
    config: DecoderConfig | None,
    device: str,
    options: EngineOptions,
    notes: list[str],
) -> LoadedBackend:
    import torch

    num_weights = count_weights(prepared)
    if config is None:
        from model.transformers_backend import count_parameters

        num_weights = max(num_weights, count_parameters(prepared.directory))
    torch.set_num_threads(choose_threads(options.threads))
    numbers = cache_numbers(prepared.directory, config)
    budget = MemoryBudget.of(device, options.memory_gib)
    dtype, reason = options.dtype, ""
    if dtype == "auto" and config is not None and device.startswith("cuda"):
        dtype = gpu_dtype(budget, options.context_tokens, num_weights, numbers)
        if dtype != "auto":
            reason = f"dtype {dtype}: more bits do not fit into {device}"
    if config is None and dtype in ("int8", "int4"):
        notes.append(f"dtype: not {dtype}, which transformers cannot do here")
        logger.warning("%s", notes[-1])
        dtype = "auto"
    if options.cache_dtype == "int8":
        notes.append("cache: not int8, which only a processor's kernels have")
        logger.warning("%s", notes[-1])
    placement = place(device, dtype)
    if reason:
        placement = replace(placement, notes=(reason,))
    weight_bytes = int(num_weights * DTYPE_BYTES[placement.dtype])
    # Quantised weights compute, and so cache, in 16 bits.
    element_bytes = 4 if placement.dtype == "float32" else 2
    plan = plan_caches(
        options.context_tokens,
        prepared.context_tokens,
        budget,
        weight_bytes=weight_bytes,
        widths={f"{8 * element_bytes}-bit": numbers * element_bytes},
    )
    hold_ceiling(device, budget)
    backend, more = _torch_backend(prepared.directory, config, placement, plan)
    return LoadedBackend(
        backend,
        placement.device,
        placement.dtype,
        plan.context_tokens,
        (*placement.notes, _memory_note(budget, weight_bytes, plan), *notes, *more),
        weight_bytes + plan.num_sessions * plan.session_bytes,
    )


def hold_ceiling(device: str, budget: MemoryBudget) -> None:
    """Have torch itself refuse what is beyond the ceiling on a CUDA device.

    Without one, what an earlier model was held to ends.
    """
    if not device.startswith("cuda"):
        return
    import torch

    share = 1.0
    if budget.ceiling_bytes is not None:
        total = torch.cuda.mem_get_info(device)[1]
        # Activations and graphs come from there too, and are not what was bounded.
        most_bytes = budget.ceiling_bytes + budget.held_bytes + HEADROOM_BYTES
        share = min(1.0, most_bytes / total)
    torch.cuda.set_per_process_memory_fraction(share, device)


def _torch_backend(
    directory: Path,
    config: DecoderConfig | None,
    placement: Placement,
    plan: CachePlan,
) -> tuple[Backend, tuple[str, ...]]:
    if config is not None:
        from model.torch_backend import load_torch_backend

        return load_torch_backend(
            directory, placement, plan.context_tokens, plan.num_sessions
        )
    from model.transformers_backend import load_transformers_backend

    return load_transformers_backend(directory, placement, plan.num_sessions)


def cache_numbers(directory: Path, config: DecoderConfig | None) -> int:
    """Return how many numbers keys and values of a token are; 0 where unknown."""
    if config is not None:
        return 2 * config.num_layers * config.num_kv_heads * config.head_dim
    from model.transformers_backend import cache_numbers_per_token

    return cache_numbers_per_token(directory)


def gpu_dtype(
    budget: MemoryBudget, context_tokens: int | None, num_weights: int, numbers: int
) -> str:
    """Return the best format that leaves room for a usual context."""
    tokens = context_tokens or _USUAL_GPU_CONTEXT_TOKENS
    for dtype in ("auto", "int8"):
        weight_bytes = int(num_weights * DTYPE_BYTES.get(dtype, 2.0))
        if 2 * numbers * tokens + HEADROOM_BYTES <= budget.room_bytes(weight_bytes):
            return dtype
    return "int4"


def _label(weights: PackedWeights) -> str:
    if weights.precision == "held":
        return "+".join(weights.formats)
    return weights.precision


def _machine_key(num_threads: int) -> str:
    from model.compiler import kernels_key

    return f"{kernels_key()}-{num_threads}"


def _reason(error: StablecodeError) -> str:
    return error.message[:1].lower() + error.message[1:]


def count_weights(prepared: PreparedModel) -> int:
    """Return how many numbers a model's weights are, from the files' headers.

    The starter's are known.
    """
    paths = check_directory(prepared.directory)
    if not paths and prepared.gguf is not None:
        return count_gguf_weights(prepared.gguf)
    if not paths and prepared.entry is not None:
        return prepared.entry.num_parameters
    return sum(
        math.prod(entry.shape) for path in paths for entry in read_header(path).values()
    )
