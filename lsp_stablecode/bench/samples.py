"""Statistics of repeated measurements. Pure functions on numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) lie, between neighbours linear.

    Raises ``ValueError`` without values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class Samples:
    """What one contender reached, turn by turn; ``None`` where it had no turn."""

    values: tuple[float | None, ...]

    @property
    def present(self) -> tuple[float, ...]:
        """The values there are."""
        return tuple(value for value in self.values if value is not None)

    @property
    def median(self) -> float:
        """The middle. Raises ``StatisticsError`` without values."""
        return statistics.median(self.present)

    def at(self, share: float) -> float:
        """Return a percentile."""
        return percentile(self.present, share)

    def __bool__(self) -> bool:
        return bool(self.present)


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast as another; above 1 is faster.

    ``of_medians`` compares the medians. ``of_pairs`` is the median over the turns that
    both had, each compared within its turn, so that a slow minute weighs on both.
    """

    of_medians: float
    of_pairs: float | None


def speedup(ours: Samples, theirs: Samples, *, higher_is_better: bool) -> Speedup:
    """Compare two contenders by values of one unit."""

    def ratio(our: float, their: float) -> float:
        better, worse = (our, their) if higher_is_better else (their, our)
        return better / worse if worse else math.inf

    pairs = [
        ratio(our, their)
        for our, their in zip(ours.values, theirs.values, strict=False)
        if our is not None and their is not None
    ]
    of_pairs = statistics.median(pairs) if pairs else None
    return Speedup(ratio(ours.median, theirs.median), of_pairs)
