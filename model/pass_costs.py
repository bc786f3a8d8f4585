"""What passes of few tokens cost on this machine, measured."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from model.backend import Backend
from model.regular_files import read_json

_NUM_TOKENS = (1, 2, 4, 8, 16)
_NUM_ROUNDS = 5
# A model that is slow is measured less often: somebody waits for it to load.
_MOST_SECONDS = 1.0
_DEPTH_TOKENS = 32
_MOST_PASS_MS = 1e6


def measure_pass_costs(backend: Backend) -> tuple[tuple[int, float], ...]:
    """Return (tokens, ms) ascending, medians; the selected cache is emptied.

    All numbers of tokens take turns, so that whatever else the machine does for a
    while slows all of them.
    """
    backend.truncate(0)
    backend.forward([0] * _DEPTH_TOKENS).greedy()
    for num_tokens in _NUM_TOKENS:
        _time_pass(backend, num_tokens)  # chooses kernels, fills caches
    rounds: list[list[float]] = []
    started = time.perf_counter()
    while len(rounds) < _NUM_ROUNDS and (
        not rounds or time.perf_counter() - started < _MOST_SECONDS
    ):
        rounds.append([_time_pass(backend, num_tokens) for num_tokens in _NUM_TOKENS])
    backend.truncate(0)
    times = zip(*rounds, strict=True)
    return tuple(
        (num_tokens, median(seconds) * 1000)
        for num_tokens, seconds in zip(_NUM_TOKENS, times, strict=True)
    )


def read_pass_costs(path: Path) -> tuple[tuple[int, float], ...] | None:
    """Return what was measured before, or None where that was never, or not by us."""
    try:
        pairs = tuple((count, float(ms)) for count, ms in read_json(path))
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    counts = tuple(count for count, _ in pairs)
    if counts != _NUM_TOKENS or not all(0 < ms < _MOST_PASS_MS for _, ms in pairs):
        return None
    return pairs


def _time_pass(backend: Backend, num_tokens: int) -> float:
    """Return the seconds of one pass, up to its results being here."""
    backend.truncate(_DEPTH_TOKENS)
    started = time.perf_counter()
    backend.forward([0] * num_tokens, num_tokens).greedy()
    return time.perf_counter() - started
