"""What a benchmark found: figures beside limits and peers, as data and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from lsp_stablecode.bench.samples import Samples, Speedup, speedup
from model import Contender, MachineLimits

OURS = "lsp-stablecode"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured of several contenders, in one unit.

    ``limits`` are what each could reach at best on this machine, in the same unit and
    for its own weights; ``limit_name`` says of what. Counts, and times of different
    things, are not compared.
    """

    key: str
    title: str
    unit: str
    samples: dict[str, Samples]
    higher_is_better: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    limit_name: str = ""
    is_compared: bool = True

    def share_of_limit(self, name: str) -> float | None:
        """Return how much of its limit a contender reaches, 1 being all of it."""
        limit = self.limits.get(name)
        if limit is None or not self.samples.get(name):
            return None
        median = self.samples[name].median
        best, worst = (median, limit) if self.higher_is_better else (limit, median)
        return best / worst if worst else None

    def speedup_over(self, name: str) -> Speedup | None:
        """Return how many times as fast we are as another contender."""
        ours, theirs = self.samples.get(OURS), self.samples.get(name)
        if name == OURS or not self.is_compared or not ours or not theirs:
            return None
        return speedup(ours, theirs, higher_is_better=self.higher_is_better)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data, raw samples included."""
        contenders = {}
        for name, samples in self.samples.items():
            if not samples:
                continue
            faster = self.speedup_over(name)
            contenders[name] = {
                "samples": [_rounded(value) for value in samples.values],
                "median": _rounded(samples.median),
                "p10": _rounded(samples.at(0.1)),
                "p90": _rounded(samples.at(0.9)),
                "p95": _rounded(samples.at(0.95)),
                "p99": _rounded(samples.at(0.99)),
                "limit": _rounded(self.limits.get(name)),
                "share_of_limit": _rounded(self.share_of_limit(name)),
                "our_speedup": None
                if faster is None
                else {key: _rounded(value) for key, value in asdict(faster).items()},
            }
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "limit_name": self.limit_name,
            "contenders": contenders,
        }


@dataclass(slots=True)
class Report:
    """A benchmark's whole outcome, filled while it runs.

    ``details`` are records of single events, such as keys. ``notes`` say what was left
    out, and why.
    """

    benchmark: str
    command: list[str]
    machine: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    limits: MachineLimits | None = None
    contenders: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def introduce(self, contenders: Iterable[Contender]) -> None:
        """Record who takes part, and what their weights cost."""
        for one in contenders:
            costs = asdict(one.costs) if one.costs is not None else None
            self.contenders[one.name] = {
                "description": one.description,
                "costs": costs,
            }

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "benchmark": self.benchmark,
            "command": self.command,
            "machine": self.machine,
            "settings": self.settings,
            "model": self.model,
            "limits": asdict(self.limits) if self.limits else None,
            "contenders": self.contenders,
            "figures": [figure.to_json() for figure in self.figures],
            "details": self.details,
            "notes": self.notes,
        }


def _rounded(value: float | None) -> float | None:
    """Round to six digits, which is more than any clock here gives.

    JSON has no infinity: that is ``None``, as what was not measured.
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
