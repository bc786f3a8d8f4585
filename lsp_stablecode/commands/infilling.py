"""``eval infilling``: HumanEval infilling through the server, and by the raw model."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lsp_stablecode.commands.console import progress_bar, reporter
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.evaluation.client import Trigger
from lsp_stablecode.evaluation.humaneval import InfillingTask, infilling_tasks
from lsp_stablecode.evaluation.infilling_paths import (
    PathName,
    counter,
    fill_with_model,
    fill_with_server,
    stop_at_line_end,
)
from lsp_stablecode.evaluation.infilling_report import (
    print_reports,
    to_json,
    versions,
)
from lsp_stablecode.evaluation.infilling_verdicts import Judge, PathReport
from lsp_stablecode.settings import Settings
from model import FimOrder, StopRule

__all__ = [
    "check_writable",
    "evaluate",
    "isolated",
    "run",
    "stop_at_line_end",
    "versions",
]


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Fill, judge, print and save; return the exit code. Raises ``StablecodeError``."""
    settings = isolated(settings)
    if options.trigger == "automatic":
        settings = replace(settings, debounce_ms=0)
    # Not after half an hour of work.
    check_writable(options.json)
    tasks = infilling_tasks(options.benchmark, options.every)
    paths: tuple[PathName, ...] = (
        ("server", "raw") if options.path == "both" else (options.path,)
    )
    orders: tuple[FimOrder, ...] = (
        ("spm", "psm") if options.order == "both" else (options.order,)
    )
    # That only a line is wanted the model cannot know; where a longer gap ends it can.
    stop_rule = stop_at_line_end if options.benchmark == "single-line" else None
    arguments = ("--trace", str(options.trace)) if options.trace else ()
    reports = [
        report
        for order in orders
        for report in evaluate(
            tasks,
            replace(settings, fim_order=order),
            paths,
            stop_rule=stop_rule,
            trigger=options.trigger,
            server_arguments=arguments,
        )
    ]
    print_reports(reports)
    if options.json:
        data = to_json(
            reports,
            settings,
            benchmark=options.benchmark,
            every=options.every,
            trigger=options.trigger,
        )
        text = json.dumps(data, ensure_ascii=False, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


def isolated(settings: Settings) -> Settings:
    """Return settings under which each task is on its own, with one candidate.

    A problem's other tasks hold the text that is masked in this one.
    """
    return replace(settings, candidates=1, context=False, learn_from_use=False)


def evaluate(
    tasks: Sequence[InfillingTask],
    settings: Settings,
    paths: Sequence[PathName],
    *,
    stop_rule: StopRule | None = stop_at_line_end,
    trigger: Trigger = "invoked",
    server_arguments: Sequence[str] = (),
) -> list[PathReport]:
    """Fill and judge all tasks on each path, one path after the other.

    Never two models in memory at once. ``stop_rule`` is the raw model's. Raises
    ``StablecodeError``.
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
                model, filled = fill_with_model(
                    tasks, settings, stop_rule, progress, reporter(progress)
                )
            advance = counter(progress, f"{path}: running programs", len(tasks))
            judged = []
            for one in filled:
                judged.append(judge(one))
                advance()
        reports.append(PathReport(path, settings.fim_order, model, tuple(judged)))
    return reports


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
