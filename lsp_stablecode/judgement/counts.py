"""How often suggestions were shown and accepted, by confidence. Numbers only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Kind = Literal["line", "block"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
What = Literal["shown", "accepted", "accepted_in_part", "typed_through"]
WHATS: Final[tuple[What, ...]] = get_args(What)

EDGES: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
"""Where each bucket of confidences ends; they are narrow where thresholds may be."""

NUM_BUCKETS: Final = len(EDGES) + 1
MOST_SHOWN: Final = 400.0
"""A bucket that was shown more often is halved, so that old habits fade."""

Row = dict[What, list[float]]


class CountsError(Exception):
    """A file that does not hold what `Counts.to_json` writes."""


def bucket_of(confidence: float) -> int:
    """Return the number of the bucket that holds a confidence, from 0."""
    return bisect_right(EDGES, confidence)


def middle_of(bucket: int) -> float:
    """Return the confidence in the middle of a bucket."""
    bounds = (0.0, *EDGES, 1.0)
    return (bounds[bucket] + bounds[bucket + 1]) / 2


def _no_rows() -> dict[Kind, Row]:
    return {kind: {what: [0.0] * NUM_BUCKETS for what in WHATS} for kind in KINDS}


@dataclass(slots=True)
class Counts:
    """Four counts for each bucket of each kind; they may be differences as well."""

    rows: dict[Kind, Row] = field(default_factory=_no_rows)

    def add(self, kind: Kind, what: What, bucket: int, number: float = 1.0) -> None:
        """Count something that happened, or take it back."""
        self.rows[kind][what][bucket] += number

    def plus(self, other: Counts) -> Counts:
        """Return the sum; nothing in it is negative or has become too much."""
        total = Counts()
        for kind in KINDS:
            for bucket in range(NUM_BUCKETS):
                sums = {
                    what: max(
                        0.0,
                        self.rows[kind][what][bucket] + other.rows[kind][what][bucket],
                    )
                    for what in WHATS
                }
                # More than once where several servers' counts come together.
                while sums["shown"] > MOST_SHOWN:
                    sums = {what: number / 2 for what, number in sums.items()}
                for what, number in sums.items():
                    total.rows[kind][what][bucket] = number
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON data."""
        return {
            kind: {
                what: [round(number, 2) for number in self.rows[kind][what]]
                for what in WHATS
            }
            for kind in KINDS
        }


def read_counts(data: object) -> Counts:
    """Read what `Counts.to_json` returned. Raises ``CountsError``."""
    counts = Counts()
    for kind in KINDS:
        for what in WHATS:
            row = _member(_member(data, kind), what)
            if not isinstance(row, list) or len(row) != NUM_BUCKETS:
                raise CountsError(f"{kind}.{what} is no list of {NUM_BUCKETS} numbers")
            counts.rows[kind][what] = [_number(one) for one in row]
    return counts


def _member(data: object, name: str) -> object:
    if not isinstance(data, Mapping) or name not in data:
        raise CountsError(f"there is no {name}")
    return data[name]


def _number(value: object) -> float:
    # NaN fails the comparison.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 2 * MOST_SHOWN:  # type: ignore[operator]
        raise CountsError(f"{value!r} is no count")
    return float(value)  # type: ignore[arg-type]
