"""Verdicts on infilled texts: exact match, pass@1, and where the server falls behind.

The same measure for both paths.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lsp_stablecode.evaluation.humaneval import is_exact_match
from lsp_stablecode.evaluation.infilling_paths import Filled, PathName
from lsp_stablecode.evaluation.programs import ProgramResult, run_program
from model import FimOrder


@dataclass(frozen=True, slots=True)
class Judged:
    """A filled task with the verdict on it."""

    filled: Filled
    exact_match: bool
    result: ProgramResult


@dataclass(frozen=True, slots=True)
class PathReport:
    """All tasks of one path in the order that was asked for, and the model."""

    path: PathName
    order: FimOrder
    model: dict[str, Any]
    tasks: tuple[Judged, ...]

    def figures(self) -> dict[str, Any]:
        """Return the counts, the shares (0 to 1) and the median time."""
        num_exact = sum(one.exact_match for one in self.tasks)
        num_passed = sum(one.result.passed for one in self.tasks)
        outcomes = Counter(one.filled.outcome for one in self.tasks)
        return {
            "tasks": len(self.tasks),
            "exact": num_exact,
            "passed": num_passed,
            "exact_match": round(num_exact / len(self.tasks), 4),
            "pass_at_1": round(num_passed / len(self.tasks), 4),
            "empty": sum(not one.filled.inserted for one in self.tasks),
            "median_ms": round(
                statistics.median(one.filled.elapsed_ms for one in self.tasks), 1
            ),
            "orders": sorted({one.filled.fim_order for one in self.tasks} - {""}),
            "outcomes": dict(outcomes.most_common()),
        }


@dataclass(slots=True)
class Judge:
    """Judges sources, each different program being run once."""

    _results: dict[str, ProgramResult] = field(default_factory=dict)

    def __call__(self, filled: Filled) -> Judged:
        """Compare with the original, and run the program with its test."""
        program = filled.task.program(filled.source)
        if program not in self._results:
            self._results[program] = run_program(program)
        exact_match = is_exact_match(filled.task, filled.source)
        return Judged(filled, exact_match, self._results[program])


def worse_tasks(reports: Sequence[PathReport]) -> list[tuple[Judged, Judged]]:
    """Return the tasks in which the server falls behind the raw model, with both.

    Only paths of the same prompt order are compared.
    """
    raw = {one.order: one.tasks for one in reports if one.path == "raw"}
    return [
        (ours, theirs)
        for report in reports
        if report.path == "server"
        for ours, theirs in zip(report.tasks, raw.get(report.order, ()), strict=False)
        if (theirs.exact_match and not ours.exact_match)
        or (theirs.result.passed and not ours.result.passed)
    ]
