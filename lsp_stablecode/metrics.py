"""What a session's requests cost and came to, in numbers that can be added up."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from model import Statistics

LATENCY_BUCKETS_MS: Final = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper ends of the classes that answers are counted in, besides one without end."""

_NUM_LATEST = 1000
_PERCENTILES = (50, 90, 99)


@dataclass(slots=True)
class Metrics:
    """Counts since the beginning, and the latest latencies.

    A latency is from a request's arrival to its answer, rest after the key included,
    in milliseconds; those of requests that were given up are left out.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    num_shown: int = 0
    num_accepted: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    latency_sum_ms: float = 0.0
    latency_counts: list[int] = field(
        default_factory=lambda: [0] * (len(LATENCY_BUCKETS_MS) + 1)
    )
    latest_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_NUM_LATEST))

    def note_answer(self, outcome: str, latency_ms: float) -> None:
        """Count a request that was answered, or given up."""
        self.outcomes[outcome] += 1
        if outcome in ("superseded", "cancelled"):
            return
        self.latency_sum_ms += latency_ms
        self.latency_counts[bisect_left(LATENCY_BUCKETS_MS, latency_ms)] += 1
        self.latest_ms.append(latency_ms)

    def note_generation(self, statistics: Statistics) -> None:
        """Count what the model did for a request, whole or not."""
        self.prompt_tokens += statistics.prompt_tokens
        self.reused_tokens += statistics.reused_tokens
        self.generated_tokens += statistics.generated_tokens
        self.prefill_ms += statistics.prefill_ms
        self.decode_ms += statistics.decode_ms

    def describe(self) -> dict[str, Any]:
        """Return shares, rates and percentiles as JSON data; ``None`` where none is."""
        computed = self.prompt_tokens - self.reused_tokens
        ordered = sorted(self.latest_ms)
        return {
            "latencyMs": {
                f"p{one}": round(_percentile(ordered, one), 1) if ordered else None
                for one in _PERCENTILES
            },
            "tokensPerSecond": _rate(self.generated_tokens, self.decode_ms),
            "promptTokensPerSecond": _rate(computed, self.prefill_ms),
            "reusedShare": _share(self.reused_tokens, self.prompt_tokens),
            "acceptedShare": _share(self.num_accepted, self.num_shown),
            "shown": self.num_shown,
        }


def together(parts: Iterable[Metrics]) -> Metrics:
    """Return the sum of several sessions' metrics."""
    parts = list(parts)
    # Room for everybody's: else the last session's would push out all others'.
    whole = Metrics(latest_ms=deque(maxlen=_NUM_LATEST * max(1, len(parts))))
    for one in parts:
        whole.outcomes.update(one.outcomes)
        for name in _ADDED:
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        whole.latency_counts = [
            a + b for a, b in zip(whole.latency_counts, one.latency_counts, strict=True)
        ]
        whole.latest_ms.extend(one.latest_ms)
    return whole


_ADDED = (
    "num_shown",
    "num_accepted",
    "prompt_tokens",
    "reused_tokens",
    "generated_tokens",
    "prefill_ms",
    "decode_ms",
    "latency_sum_ms",
)


def _percentile(ordered: list[float], percent: int) -> float:
    """Return the nearest-rank percentile of sorted numbers."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, rank - 1)]


def _rate(number: int, ms: float) -> float | None:
    return round(1000 * number / ms, 1) if ms else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
