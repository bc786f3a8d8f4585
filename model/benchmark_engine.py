"""The loaded engine as one of those measured, below its prompts and its ledger."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.backend import Backend, Logits
from model.benchmark import (
    BenchmarkError,
    ModelCosts,
    ProcessMemory,
    process_memory,
)
from model.engine import LocalEngine
from model.interface import Engine, EngineInfo
from model.kv_cache import common_prefix_length

OURS = "lsp-stablecode"


class EngineContender:
    """Our own backend, driven in token ids.

    It works on the engine's selected session and leaves it empty.
    """

    def __init__(
        self, engine: Engine, costs: ModelCosts | None, num_threads: int
    ) -> None:
        self._engine = engine
        self._backend = backend_of(engine)
        self._costs = costs
        self._num_threads = num_threads
        self._held: list[int] = []
        self._clear()

    @property
    def name(self) -> str:
        """Our name."""
        return OURS

    @property
    def description(self) -> str:
        """Backend, format and device."""
        info = self._engine.info
        return f"{info.backend}, {info.dtype} on {info.device}"

    @property
    def costs(self) -> ModelCosts | None:
        """What a pass reads and a token computes."""
        return self._costs

    @property
    def num_threads(self) -> int:
        """How many threads compute."""
        return self._num_threads

    @property
    def can_verify(self) -> bool:
        """Always."""
        return True

    def prefill(self, token_ids: Sequence[int]) -> float:
        """Return the ms of all chunks and one choice, from an empty cache."""
        self._rewind(0)
        started = time.perf_counter()
        self._compute(token_ids).greedy()
        return (time.perf_counter() - started) * 1000

    def decode(self, token_ids: Sequence[int], num_tokens: int) -> float:
        """Return the ms per token of single steps."""
        next_id = self._hold(token_ids).greedy()[-1][0]
        started = time.perf_counter()
        for _ in range(num_tokens):
            next_id = self._backend.forward([next_id], 1).greedy()[0][0]
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._backend.truncate(len(self._held))
        return elapsed_ms / num_tokens

    def verify(
        self, token_ids: Sequence[int], draft_ids: Sequence[int], num_passes: int
    ) -> float:
        """Return the ms of a pass that scores every drafted position."""
        self._hold(token_ids)
        elapsed_s = 0.0
        for _ in range(num_passes):
            started = time.perf_counter()
            self._backend.forward(draft_ids, len(draft_ids)).greedy()
            elapsed_s += time.perf_counter() - started
            self._backend.truncate(len(self._held))
        return elapsed_s * 1000 / num_passes

    def memory(self) -> ProcessMemory:
        """Return this process's memory."""
        return process_memory()

    def close(self) -> None:
        """Empty the session; the engine stays loaded."""
        self._clear()

    def _hold(self, token_ids: Sequence[int]) -> Logits:
        """Bring the cache to ``token_ids``, of which the last is always computed."""
        shared = common_prefix_length(self._held, list(token_ids[:-1]))
        self._rewind(shared)
        return self._compute(token_ids[shared:])

    def _compute(self, token_ids: Sequence[int]) -> Logits:
        chunk = self._backend.chunk_tokens
        for begin in range(0, len(token_ids), chunk):
            piece = list(token_ids[begin : begin + chunk])
            is_last = begin + chunk >= len(token_ids)
            logits = self._backend.forward(piece, int(is_last))
            self._held += piece
        return logits

    def _rewind(self, num_tokens: int) -> None:
        self._backend.truncate(num_tokens)
        del self._held[num_tokens:]

    def _clear(self) -> None:
        forget = getattr(self._engine, "forget", None)
        if forget is not None:
            # Its ledger must not promise what is about to go.
            forget()
        self._rewind(0)


def contender_of(engine: Engine) -> EngineContender:
    """Return a loaded engine as one to be measured.

    Raises ``BenchmarkError`` for an engine that computes nothing.
    """
    backend = backend_of(engine)
    costs: ModelCosts | None = getattr(backend, "costs", None)
    if costs is None:
        costs = _costs_by_headers(engine.info)
    num_threads: int | None = getattr(backend, "num_threads", None)
    if num_threads is None:
        import torch

        num_threads = torch.get_num_threads()
    return EngineContender(engine, costs, num_threads)


def _costs_by_headers(info: EngineInfo) -> ModelCosts:
    """Return what a model costs whose backend does not say."""
    from model.transformers_backend import cache_numbers_per_token
    from model.weights import prepare

    directory = prepare(info.model).directory
    cache_bytes = int(cache_numbers_per_token(directory) * _element_bytes("bfloat16"))
    if info.dtype == "float32":
        cache_bytes *= 2
    return costs_of_directory(directory, info.dtype, cache_bytes)


def set_drafting(engine: Engine, on: bool) -> None:
    """Let an engine guess tokens ahead, or not, from a fresh start.

    Caches and earlier suggestions are dropped, or the last answer would be the next
    draft. Raises ``BenchmarkError`` for an engine that computes nothing.
    """
    backend_of(engine)
    assert isinstance(engine, LocalEngine)
    engine.drafting = on
    engine.forget()


def backend_of(engine: Engine) -> Backend:
    """Return what computes an engine's logits.

    Raises ``BenchmarkError`` for an engine that computes nothing.
    """
    if not isinstance(engine, LocalEngine):
        raise BenchmarkError(
            f"{engine.info.model} computes nothing that could be measured.",
            hint="Name a real model after --model.",
        )
    return engine.backend


def costs_of_directory(
    directory: Path, dtype: str, cache_bytes_per_token: int
) -> ModelCosts:
    """Return the costs of a Hugging Face directory computed densely in ``dtype``.

    A pass reads every weight but the embedding's; with tied weights the embedding is
    the head as well, and is read.
    """
    from model.directory import read_config
    from model.safetensors_files import check_directory, read_header

    shapes: dict[str, tuple[int, ...]] = {
        name: tuple(entry.shape)
        for path in check_directory(directory)
        for name, entry in read_header(path).items()
    }
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    embeddings = [name for name in sizes if _is_embedding(name)]
    heads = [name for name in sizes if _is_head(name)]
    config: dict[str, Any] = read_config(directory)
    total = sum(sizes.values())
    num_embedding = sum(sizes[name] for name in embeddings)
    num_head = sum(sizes[name] for name in heads)
    is_tied = not heads or bool(config.get("tie_word_embeddings", False))
    if is_tied:
        num_layers, num_read = total - num_embedding - num_head, total - num_head
    else:
        num_layers = total - num_embedding - num_head
        num_read = total - num_embedding
    return ModelCosts(
        weight_bytes_per_pass=int(num_read * _element_bytes(dtype)),
        cache_bytes_per_token=cache_bytes_per_token,
        operations_per_token=2 * num_layers,
        # Weights in fewer bits are widened before a product of many tokens.
        compute_format="bfloat16" if dtype in ("int8", "int4") else dtype,
    )


def _element_bytes(dtype: str) -> float:
    """Return the bytes of a weight; int4 has two 16-bit numbers for each 32."""
    return {"float32": 4, "int8": 1, "int4": 0.625}.get(dtype, 2)


def _is_embedding(name: str) -> bool:
    return name.endswith(("embed_tokens.weight", "embed_in.weight", "wte.weight"))


def _is_head(name: str) -> bool:
    return name.endswith(("lm_head.weight", "embed_out.weight"))
