"""From what the user asked for to a loaded engine."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

from model.catalog import find_entry
from model.device import choose_device
from model.echo import EchoEngine
from model.interface import (
    Engine,
    EngineInfo,
    EngineOptions,
    LoadProgress,
    ProgressCallback,
)
from model.memory import (
    GIB,
    HEADROOM_BYTES,
    LEAST_CONTEXT_TOKENS,
    MemoryBudget,
    memory_ledger,
)

GPU_MODEL = "stable-code-3b"
CPU_MODEL = "starter"
# Keys and values of one token in stable-code-3b, in numbers: 32 layers of 2,560 each.
_GPU_MODEL_CACHE_NUMBERS = 2 * 32 * 2560


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model ``auto`` stands for here, and why."""

    model: str
    reason: str


def choose_model(
    model: str, device: str, dtype: str = "auto", memory_gib: float | None = None
) -> ModelChoice:
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
    room = MemoryBudget.of(chosen, memory_gib).num_bytes
    # Without a wish, what does not fit in 16 bits is rounded to fewer.
    smallest = "int4" if dtype == "auto" else dtype
    if room < gpu_model_bytes(smallest):
        return ModelChoice(
            CPU_MODEL, f"{chosen} has only {room / GIB:.1f} GiB for {GPU_MODEL}"
        )
    return ModelChoice(GPU_MODEL, f"{chosen} has room and its weights are here")


def gpu_model_bytes(dtype: str) -> int:
    """Return the device memory that stable-code-3b needs with the least context."""
    from model.backends import DTYPE_BYTES

    entry = find_entry(GPU_MODEL)
    assert entry is not None
    cache_numbers = LEAST_CONTEXT_TOKENS * _GPU_MODEL_CACHE_NUMBERS
    cache_bytes = cache_numbers * (4 if dtype == "float32" else 2)
    weight_bytes = int(entry.num_parameters * DTYPE_BYTES[dtype])
    return weight_bytes + cache_bytes + HEADROOM_BYTES


def load_engine(
    options: EngineOptions, progress: ProgressCallback | None = None
) -> Engine:
    """Load what ``options`` ask for; minutes at first, seconds from a warm cache.

    Raises a ``StablecodeError`` that says what to do.
    """
    report = progress or (lambda _: None)
    started = time.perf_counter()
    if options.backend == "openai":
        from model.openai_engine import OpenAIEngine

        return OpenAIEngine(options, report)
    if options.model == "echo" or options.model.startswith("echo:"):
        return EchoEngine(options.model)

    from model.backends import PACKED_DTYPES, load_backend
    from model.dialects import DIALECTS
    from model.engine import LocalEngine
    from model.fim import MOST_PSM_SUFFIX_TOKENS, PromptBuilder
    from model.tokenizer import CodeTokenizer
    from model.weights import PreparedModel, prepare

    choice = choose_model(
        options.model, options.device, options.dtype, options.memory_gib
    )

    def prepare_model(weights: bool) -> PreparedModel:
        return prepare(
            choice.model,
            allow_download=options.allow_download,
            weights=weights,
            progress=report,
        )

    # The kernels read a GGUF file as it is; torch wants it converted.
    device = choose_device(options.device)
    is_for_kernels = device == "cpu" and options.dtype in PACKED_DTYPES
    prepared = prepare_model(weights=not is_for_kernels)
    report(LoadProgress("load tokenizer"))
    tokenizer = CodeTokenizer.from_file(prepared.directory / "tokenizer.json")
    prompts = PromptBuilder(
        tokenizer,
        DIALECTS[prepared.dialect],
        prepared.default_fim_order,
        prepared.stop_tokens,
    )
    # One model at a time looks what a common ceiling leaves.
    with memory_ledger.loading if options.memory_gib is not None else nullcontext():
        loaded = load_backend(
            prepared, options, report, lambda: prepare_model(weights=True)
        )
        memory_ledger.hold(loaded.backend, loaded.device, loaded.most_bytes)
    tokenizer.check_ids(loaded.backend.vocab_size)
    notes = (
        f"model {choice.model}: {choice.reason}",
        f"weights: {prepared.source}",
        *prepared.notes,
        *prompts.notes,
        *loaded.notes,
    )
    info = EngineInfo(
        model=choice.model,
        backend=loaded.backend.name,
        device=loaded.device,
        dtype=loaded.dtype,
        context_tokens=loaded.context_tokens,
        fim_orders=prompts.orders,
        load_ms=(time.perf_counter() - started) * 1000,
        notes=notes,
    )
    report(LoadProgress("ready", 1.0))
    return LocalEngine(
        loaded.backend,
        tokenizer,
        prompts,
        info,
        # In PSM every key computes the suffix again: in one pass, no more.
        psm_suffix_tokens=min(loaded.backend.chunk_tokens, MOST_PSM_SUFFIX_TOKENS),
    )
