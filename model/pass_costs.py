"""What passes of few tokens cost on this machine, measured."""

from __future__ import annotations

import time
from statistics import median

from model.backend import Backend

_NUM_TOKENS = (1, 2, 4, 8, 16)
_NUM_PASSES = 5
# A model that is slow is measured less often: somebody waits for it to load.
_MOST_SECONDS_EACH = 0.25
_DEPTH_TOKENS = 32


def measure_pass_costs(backend: Backend) -> tuple[tuple[int, float], ...]:
    """Return (tokens, ms) ascending, medians; the selected cache is emptied."""
    backend.truncate(0)
    backend.forward([0] * _DEPTH_TOKENS).greedy()
    costs = []
    for num_tokens in _NUM_TOKENS:
        _time_pass(backend, num_tokens)  # chooses kernels, fills caches
        times = [_time_pass(backend, num_tokens)]
        while len(times) < _NUM_PASSES and sum(times) < _MOST_SECONDS_EACH:
            times.append(_time_pass(backend, num_tokens))
        costs.append((num_tokens, median(times) * 1000))
    backend.truncate(0)
    return tuple(costs)


def _time_pass(backend: Backend, num_tokens: int) -> float:
    """Return the seconds of one pass, up to its results being here."""
    backend.truncate(_DEPTH_TOKENS)
    started = time.perf_counter()
    backend.forward([0] * num_tokens, num_tokens).greedy()
    return time.perf_counter() - started
