"""What all answers together say: counts, shares, keystrokes, times."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lsp_stablecode.evaluation.repository import Answered


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of some answers; shares are 0 to 1, ``None`` where nothing counts.

    The similarities, ``parses`` and ``exact_of_shown`` are of what was shown; all
    else is of every gap. ``name_right`` is of gaps that ask for a name.
    """

    gaps: int
    shown: float
    exact: float
    exact_but_blanks: float
    exact_of_shown: float | None
    line_similarity: float | None
    similarity: float | None
    keystrokes_saved: float
    parses: float | None
    name_right: float | None
    median_ms: float
    p90_ms: float
    defects: int

    def rounded(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name in self.__slots__
            for value in (getattr(self, name),)
        }


def figures_of(answers: Sequence[Answered]) -> Figures:
    """Return the figures of at least one answer."""
    measures = [one.measures for one in answers]
    shown = [one.measures for one in answers if one.suggestion is not None]
    times = sorted(one.elapsed_ms for one in answers)
    num_exact = sum(one.exact for one in measures)
    needed = sum(one.keys_needed for one in measures)
    used = sum(one.keys_used for one in measures)
    return Figures(
        gaps=len(answers),
        shown=len(shown) / len(answers),
        exact=num_exact / len(answers),
        exact_but_blanks=sum(one.exact_but_blanks for one in measures) / len(answers),
        exact_of_shown=num_exact / len(shown) if shown else None,
        line_similarity=_mean([one.line_similarity for one in shown]),
        similarity=_mean([one.similarity for one in shown]),
        keystrokes_saved=1 - used / needed if needed else 0.0,
        parses=_mean([one.parses for one in shown]),
        name_right=_mean([one.name_right for one in measures]),
        median_ms=statistics.median(times),
        p90_ms=times[math.ceil(0.9 * len(times)) - 1],
        defects=sum(len(one.defects) for one in answers),
    )


def by(
    key: Callable[[Answered], str], answers: Sequence[Answered]
) -> dict[str, Figures]:
    """Return the figures of each group, the groups by name."""
    groups: dict[str, list[Answered]] = {}
    for one in answers:
        groups.setdefault(key(one), []).append(one)
    return {name: figures_of(groups[name]) for name in sorted(groups)}


def by_language(answers: Sequence[Answered]) -> dict[str, Figures]:
    """Return the figures of each language."""
    return by(lambda one: one.gap.language_id, answers)


def by_place(answers: Sequence[Answered]) -> dict[str, Figures]:
    """Return the figures of each kind of place."""
    return by(lambda one: one.gap.place, answers)


def outcomes_of(answers: Sequence[Answered]) -> dict[str, int]:
    """Return how often each outcome came, the most frequent first."""
    return dict(Counter(one.outcome for one in answers).most_common())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
