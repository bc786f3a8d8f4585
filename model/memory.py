"""How much memory a model may take, and how weights and caches share it.

The caller's ceiling is for weights and caches together. What a device has free bounds
both as well, and some of it is left for activations and libraries.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

from model.errors import ContextTooLargeError, OutOfMemoryError, WeightsCorruptError

GIB = 1024**3
LEAST_CONTEXT_TOKENS = 1024
# Activations, the logits, and what the device's own libraries take.
HEADROOM_BYTES = GIB // 2
# At some 1,000 tokens/s on two cores: two seconds for a place never seen before.
_DEFAULT_CPU_CONTEXT_TOKENS = 2048
_DEFAULT_GPU_CONTEXT_TOKENS = 8192
_MIN_MODEL_CONTEXT_TOKENS = 64
# Of all sessions together, and how many, where nobody set a ceiling.
_CACHE_BYTES = GIB
_MOST_SESSIONS = 4
# A narrower cache costs some accuracy; it is taken where it saves a lot of memory.
_LARGE_CACHE_PART = 1 / 3


# What a machine must have available: a twentieth, but not more than this.
_MOST_SPARE_BYTES = 2 * GIB
_LEAST_SPARE_BYTES = GIB // 2
# Of the last ten seconds, how many per cent something waited for memory (Linux).
_MOST_STALLED_PERCENT = 10.0
_PRESSURE = Path("/proc/pressure/memory")
_BELIEVED_S = 2.0


class MemoryWatch:
    """Whether this machine's memory is short; asked often, looked at seldom."""

    def __init__(self) -> None:
        self._is_short = False
        self._looked_s = -_BELIEVED_S

    def is_short(self) -> bool:
        """Return whether memory was short at the last look, or look."""
        now = time.monotonic()
        if now - self._looked_s >= _BELIEVED_S:
            self._is_short, self._looked_s = _is_short(), now
        return self._is_short


def _is_short() -> bool:
    import psutil

    memory = psutil.virtual_memory()
    wanted = min(max(memory.total // 20, _LEAST_SPARE_BYTES), _MOST_SPARE_BYTES)
    return bool(memory.available < wanted) or _stalled_percent() > _MOST_STALLED_PERCENT


def _stalled_percent() -> float:
    """Return how much of the time work waited for memory; 0 where nobody counts."""
    try:
        some = _PRESSURE.read_text("ascii").partition("\n")[0]
        return float(some.partition("avg10=")[2].partition(" ")[0])
    except (OSError, ValueError):
        return 0.0


memory_watch = MemoryWatch()
"""The process's own."""


class MemoryLedger:
    """What the models of this process hold, for ceilings that bound them together.

    With ``loading`` one model at a time looks what is left, and takes it.
    """

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self._held: WeakKeyDictionary[object, tuple[str, int]] = WeakKeyDictionary()

    def hold(self, owner: object, device: str, num_bytes: int) -> None:
        """Note how much a model takes at most."""
        self._held[owner] = (device, num_bytes)

    def release(self, owner: object) -> None:
        """Forget a model; once is enough."""
        self._held.pop(owner, None)

    def held_bytes(self, device: str) -> int:
        """Return what all models of a device hold."""
        return sum(size for where, size in list(self._held.values()) if where == device)


memory_ledger = MemoryLedger()
"""The process's own."""


def free_bytes(device: str) -> int:
    """Return the memory that can still be allocated on ``device``, in bytes."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What weights and caches may take on a device: what is free, and the ceiling.

    ``held_bytes`` of the user's ceiling are other models' and not in
    ``ceiling_bytes``.
    """

    device: str
    free_bytes: int
    ceiling_bytes: int | None = None
    held_bytes: int = 0

    @classmethod
    def of(cls, device: str, ceiling_gib: float | None) -> Self:
        """Look what is free now."""
        free = free_bytes(device)
        if ceiling_gib is None:
            return cls(device, free)
        held = memory_ledger.held_bytes(device)
        return cls(device, free, max(0, int(ceiling_gib * GIB) - held), held)

    @property
    def num_bytes(self) -> int:
        """The most that may be taken."""
        if self.ceiling_bytes is None:
            return self.free_bytes
        return min(self.free_bytes, self.ceiling_bytes)

    def room_bytes(self, weight_bytes: int) -> int:
        """Return what is left for caches where we choose; negative where nothing is."""
        room = self.free_bytes - HEADROOM_BYTES
        if self.ceiling_bytes is not None:
            room = min(room, self.ceiling_bytes)
        return room - weight_bytes

    def check(self, weight_bytes: int, cache_bytes: int = 0) -> None:
        """Raise ``OutOfMemoryError`` when weights and cache do not fit."""
        needed = weight_bytes + cache_bytes
        if needed <= self.num_bytes:
            return
        need = (
            f"The model needs {needed / GIB:.1f} GiB ({weight_bytes / GIB:.1f} weights,"
            f" {cache_bytes / GIB:.1f} cache)"
        )
        if self.ceiling_bytes is not None and needed > self.ceiling_bytes:
            others = ""
            if self.held_bytes:
                others = f" beside other models, which hold {self.held_bytes / GIB:.1f}"
            raise OutOfMemoryError(
                f"{need}, and memoryGib allows {self.ceiling_bytes / GIB:.1f}{others}.",
                hint="Raise memoryGib, lower contextTokens, or choose a smaller model.",
            )
        raise OutOfMemoryError(
            f"{need}, and {self.device} has {self.free_bytes / GIB:.1f} GiB free.",
            hint="Free memory, lower contextTokens, or choose a smaller model.",
        )


def fit_context(
    wanted: int | None,
    model_limit: int,
    budget: MemoryBudget,
    *,
    weight_bytes: int,
    bytes_per_token: int,
) -> int:
    """Return the context to use; by default what is quick and fits the budget.

    Raises ``ContextTooLargeError`` when more is wanted than the model was made for,
    ``OutOfMemoryError`` when weights and context do not fit the budget.
    """
    if model_limit < _MIN_MODEL_CONTEXT_TOKENS:
        raise WeightsCorruptError(
            f"The model's configuration allows {model_limit} tokens of context.",
            hint="Fetch the model again.",
        )
    if wanted is None:
        is_cpu = budget.device == "cpu"
        default = _DEFAULT_CPU_CONTEXT_TOKENS if is_cpu else _DEFAULT_GPU_CONTEXT_TOKENS
        room = budget.room_bytes(weight_bytes)
        fitting = room // bytes_per_token if bytes_per_token else default
        wanted = max(min(default, fitting), LEAST_CONTEXT_TOKENS)
        wanted = min(wanted, model_limit)
    elif wanted > model_limit:
        raise ContextTooLargeError(
            f"{wanted} context tokens were asked for, and the model was made for "
            f"{model_limit}.",
            hint=f"Set contextTokens to {model_limit} or less.",
        )
    budget.check(weight_bytes, wanted * bytes_per_token)
    return wanted


@dataclass(frozen=True, slots=True)
class CachePlan:
    """How long caches are, how many, and which number format they hold."""

    context_tokens: int
    num_sessions: int
    kind: str
    bytes_per_token: int

    @property
    def session_bytes(self) -> int:
        """What one cache takes once it is full."""
        return self.context_tokens * self.bytes_per_token


def plan_caches(
    wanted_tokens: int | None,
    model_limit: int,
    budget: MemoryBudget,
    *,
    weight_bytes: int,
    widths: Mapping[str, int],
    most_sessions: int = _MOST_SESSIONS,
) -> CachePlan:
    """Share what the weights leave: first a context, then its format, then sessions.

    ``widths`` are the bytes per token of the formats there are, best first; all but
    the last are taken only where they are small beside the weights. Raises what
    ``fit_context`` raises.
    """
    *wider, (kind, width) = widths.items()
    tokens = fit_context(
        wanted_tokens,
        model_limit,
        budget,
        weight_bytes=weight_bytes,
        bytes_per_token=width,
    )
    room = budget.room_bytes(weight_bytes)
    for better, bytes_per_token in wider:
        if tokens * bytes_per_token <= min(room, weight_bytes * _LARGE_CACHE_PART):
            kind, width = better, bytes_per_token
            break
    if budget.device.startswith("cuda"):
        room -= HEADROOM_BYTES  # for captured steps, which each session has
    most_bytes = room if budget.ceiling_bytes is not None else min(room, _CACHE_BYTES)
    num_sessions = most_bytes // max(1, tokens * width)
    return CachePlan(tokens, max(1, min(most_sessions, num_sessions)), kind, width)
