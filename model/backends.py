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
from model.decoder_config import DecoderConfig, read_decoder_config
from model.device import (
    GIB,
    HEADROOM_BYTES,
    Placement,
    check_room,
    choose_device,
    choose_threads,
    fit_context,
    free_bytes,
    place,
)
from model.directory import read_config
from model.errors import (
    KernelsUnavailableError,
    StablecodeError,
    UnsupportedArchitectureError,
)
from model.interface import EngineOptions, LoadProgress, ProgressCallback
from model.native_decoder import CacheKind
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
_PACKED_DTYPES = ("auto", "int8", "int4")
# On a processor a weight is read in every pass: larger models get fewer bits.
_MOST_INT8_WEIGHTS = 1_500_000_000
_MOST_SESSIONS = 4
_CACHE_CEILING_BYTES = GIB
# A cache in bytes costs some accuracy; it is taken where it saves a lot of memory.
_LARGE_CACHE_PART = 1 / 3
_USUAL_GPU_CONTEXT_TOKENS = 4096
_LEAST_BYTES: dict[Precision, float] = {
    "held": 0.5,
    "int8": 1.0,
    "int4": 0.6,
    "float32": 4.0,
}


@dataclass(frozen=True, slots=True)
class LoadedBackend:
    """A backend and what was decided on the way."""

    backend: Backend
    device: str
    dtype: str
    context_tokens: int
    notes: tuple[str, ...]


def load_backend(
    prepared: PreparedModel,
    options: EngineOptions,
    report: ProgressCallback,
    with_weights: Callable[[], PreparedModel],
) -> LoadedBackend:
    """Load a model's weights where they are computed fastest.

    ``prepared`` may lack its weights where the kernels pack them from the original;
    ``with_weights`` brings them. Raises a ``StablecodeError`` that says what to do.
    """
    device = choose_device(options.device)
    notes: list[str] = []
    config: DecoderConfig | None = None
    try:
        config = read_decoder_config(read_config(prepared.directory))
    except UnsupportedArchitectureError as error:
        notes.append(f"backend: transformers, because {_reason(error)}")
        logger.warning("%s", notes[-1])
    if config is not None and device == "cpu" and options.dtype in _PACKED_DTYPES:
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
    num_weights = count_weights(prepared)
    precision, reason = choose_precision(prepared, options.dtype, num_weights)
    # Before minutes of work.
    check_room("cpu", free_bytes("cpu"), int(num_weights * _LEAST_BYTES[precision]), 0)
    weights = packed_weights(prepared, config, precision, num_weights, report)
    report(LoadProgress("load weights"))
    context_tokens = fit_context(
        options.context_tokens,
        prepared.context_tokens,
        "cpu",
        weight_bytes=weights.num_bytes,
        bytes_per_token=cache_bytes_per_token(
            config, "bfloat16" if options.cache_dtype == "bfloat16" else "int8"
        ),
    )
    wide = context_tokens * cache_bytes_per_token(config, "bfloat16")
    kind: CacheKind = "bfloat16"
    if options.cache_dtype == "int8" or (
        options.cache_dtype == "auto" and wide > weights.num_bytes * _LARGE_CACHE_PART
    ):
        kind = "int8"
    per_session = context_tokens * cache_bytes_per_token(config, kind)
    room = free_bytes("cpu") - weights.num_bytes - HEADROOM_BYTES
    num_sessions = sessions_within(min(_CACHE_CEILING_BYTES, room), per_session)
    num_threads = choose_threads(options.threads)
    backend = NativeBackend(
        weights,
        config,
        context_tokens=context_tokens,
        num_sessions=num_sessions,
        num_threads=num_threads,
        cache_kind=kind,
    )
    report(LoadProgress("measure passes"))
    directory = packed_directory(prepared, precision)
    backend.measure(directory / f"passes-{_machine_key(backend.num_threads)}.json")
    dtype = _label(weights)
    notes = (
        f"dtype {dtype}: {reason}",
        f"cache: {kind}, {num_sessions} of {per_session / 2**20:.0f} MiB at most",
        f"threads: {backend.num_threads}",
    )
    return LoadedBackend(backend, "cpu", dtype, context_tokens, notes)


def choose_precision(
    prepared: PreparedModel, dtype: str, num_weights: int
) -> tuple[Precision, str]:
    """Return how weights are packed for a processor, and why."""
    if dtype in ("int8", "int4"):
        return cast(Precision, dtype), "asked for"
    if prepared.has_gguf:
        return "held", "as the model's file holds the weights"
    if num_weights > _MOST_INT8_WEIGHTS:
        return "int4", "a processor reads all weights for every pass"
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
    dtype, reason = options.dtype, ""
    if dtype == "auto" and config is not None and device.startswith("cuda"):
        dtype = gpu_dtype(device, options.context_tokens, num_weights, numbers)
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
    # Quantised weights compute, and so cache, in 16 bits.
    element_bytes = 4 if placement.dtype == "float32" else 2
    weight_bytes = int(num_weights * DTYPE_BYTES[placement.dtype])
    context_tokens = fit_context(
        options.context_tokens,
        prepared.context_tokens,
        device,
        weight_bytes=weight_bytes,
        bytes_per_token=numbers * element_bytes,
    )
    ceiling = _CACHE_CEILING_BYTES
    if device.startswith("cuda"):
        ceiling = min(ceiling, free_bytes(device) - weight_bytes - GIB)
    num_sessions = sessions_within(ceiling, context_tokens * numbers * element_bytes)
    backend, more = _torch_backend(
        prepared.directory, config, placement, context_tokens, num_sessions
    )
    return LoadedBackend(
        backend,
        placement.device,
        placement.dtype,
        context_tokens,
        (*placement.notes, *notes, *more),
    )


def _torch_backend(
    directory: Path,
    config: DecoderConfig | None,
    placement: Placement,
    context_tokens: int,
    num_sessions: int,
) -> tuple[Backend, tuple[str, ...]]:
    if config is not None:
        from model.torch_backend import load_torch_backend

        return load_torch_backend(directory, placement, context_tokens, num_sessions)
    from model.transformers_backend import load_transformers_backend

    return load_transformers_backend(directory, placement)


def sessions_within(ceiling_bytes: int, bytes_per_session: int) -> int:
    """Return how many caches stay under a ceiling: at least one."""
    fitting = ceiling_bytes // max(1, bytes_per_session)
    return max(1, min(_MOST_SESSIONS, fitting))


def cache_numbers(directory: Path, config: DecoderConfig | None) -> int:
    """Return how many numbers keys and values of a token are; 0 where unknown."""
    if config is not None:
        return 2 * config.num_layers * config.num_kv_heads * config.head_dim
    from model.transformers_backend import cache_numbers_per_token

    return cache_numbers_per_token(directory)


def gpu_dtype(
    device: str, context_tokens: int | None, num_weights: int, numbers: int
) -> str:
    """Return the best format that leaves room for a usual context."""
    tokens = context_tokens or _USUAL_GPU_CONTEXT_TOKENS
    for dtype in ("auto", "int8"):
        weight_bytes = num_weights * DTYPE_BYTES.get(dtype, 2.0)
        if weight_bytes + 2 * numbers * tokens + GIB <= free_bytes(device):
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
    """Return how many numbers a model's weights are, from the files' headers."""
    paths = check_directory(prepared.directory)
    if not paths and prepared.entry is not None:
        return prepared.entry.num_parameters
    return sum(
        math.prod(entry.shape) for path in paths for entry in read_header(path).values()
    )
