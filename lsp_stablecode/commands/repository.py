"""``eval repo``: the quality of completions, measured on the user's own files."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lsp_stablecode.client.connection import ServerFailedError
from lsp_stablecode.commands.console import progress_bar, reporter
from lsp_stablecode.commands.infilling import check_writable
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.evaluation.answers import to_json
from lsp_stablecode.evaluation.client import Trigger
from lsp_stablecode.evaluation.crossfile import cross_file_finder
from lsp_stablecode.evaluation.figures import (
    Figures,
    by_language,
    by_place,
    figures_of,
    outcomes_of,
)
from lsp_stablecode.evaluation.gaps import PLACES, USUAL_PLACES, Gap, Place
from lsp_stablecode.evaluation.infilling_report import versions
from lsp_stablecode.evaluation.neighbours import neighbours_of
from lsp_stablecode.evaluation.overrides import with_overrides
from lsp_stablecode.evaluation.report import page
from lsp_stablecode.evaluation.repository import (
    Advance,
    PathAnswers,
    PathName,
    ask_model,
    ask_server,
    ask_settings,
)
from lsp_stablecode.evaluation.selection import choose_gaps
from lsp_stablecode.evaluation.sources import (
    SourceFile,
    find_sources,
    workspace_of,
)
from lsp_stablecode.settings import Settings

_NUM_DEFECTS_PRINTED = 40
_FILE_COLUMNS = 120


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Cut, ask, print and save; return the exit code. Raises ``StablecodeError``."""
    settings = with_overrides(ask_settings(settings), options.set or ())
    # Not after half an hour of work.
    check_writable(options.json)
    check_writable(options.report)
    places = places_of(options.places)
    if "cross-file" in places and not options.open:
        raise SettingsError(
            "The place cross-file needs other files to be open.",
            hint="Add --open 3, or so.",
        )
    path = Path(options.place).resolve()
    files = find_sources(path, options.language or ())
    neighbours = neighbours_of(files, options.open)
    gaps = choose_gaps(
        files,
        options.cuts,
        seed=options.seed,
        places=places,
        most_files=options.files,
        find=cross_file_finder(neighbours),
    )
    paths: tuple[PathName, ...] = (
        ("server", "raw") if options.path == "both" else (options.path,)
    )
    results = ask(
        gaps,
        settings,
        paths,
        folder=workspace_of(path),
        neighbours=neighbours,
        trigger=options.trigger,
        server_arguments=("--trace", str(options.trace)) if options.trace else (),
    )
    print_results(results)
    num_failed = sum(
        one.outcome == "empty:error" for result in results for one in result.answers
    )
    if options.json:
        data = to_json(
            results,
            settings,
            asked={
                "path": str(options.place),
                "seed": options.seed,
                "open": options.open,
                "trigger": options.trigger,
            },
        )
        text = json.dumps(data, ensure_ascii=False, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.report:
        title = f"Completions in {path.name}"
        text = page(
            results, title=title, facts=facts(results, options), seed=options.seed
        )
        Path(options.report).write_text(text, encoding="utf-8")
    if num_failed:
        raise ServerFailedError(
            f"{num_failed} questions failed: these figures say nothing.",
            hint="The server's messages are above.",
        )
    return 0


def facts(
    results: Sequence[PathAnswers], options: argparse.Namespace
) -> dict[str, str]:
    """Return what a report says of how it was measured."""
    model = results[0].model
    told = (model.get("model"), model.get("backend"), model.get("dtype"))
    command = f"{options.cuts} cuts asked for, seed {options.seed}"
    given = ", ".join(options.set or ()) or "none"
    return {
        "model": ", ".join(str(one) for one in told if one),
        "cuts": f"{len(results[0].answers)} ({command})",
        "asked": f"{options.trigger}, {options.open} other files open",
        "settings beside the defaults": given,
        "versions": ", ".join(f"{k} {v}" for k, v in versions().items() if v),
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }


def places_of(text: str | None) -> tuple[Place, ...]:
    """Read ``--places``. Raises ``SettingsError``."""
    if text is None:
        return USUAL_PLACES
    names = [one.strip() for one in text.split(",")]
    chosen = tuple(place for place in PLACES if place in names)
    if len(chosen) != len(set(names)):
        unknown = ", ".join(one for one in names if one not in PLACES)
        raise SettingsError(
            f"There is no such place to cut at: {unknown or 'none is named'}.",
            hint=f"Choose from {', '.join(PLACES)}.",
        )
    return chosen


def ask(
    gaps: Sequence[Gap],
    settings: Settings,
    paths: Sequence[PathName],
    *,
    folder: Path,
    neighbours: Mapping[str, Sequence[SourceFile]],
    trigger: Trigger = "automatic",
    server_arguments: Sequence[str] = (),
) -> list[PathAnswers]:
    """Ask each path for all gaps, one path after the other.

    Never two models in memory at once. Raises ``StablecodeError``.
    """
    results = []
    for path in paths:
        with progress_bar() as progress:
            if path == "server":
                progress.add_task("server: loading the model", total=None)
                result = asyncio.run(
                    ask_server(
                        gaps,
                        settings,
                        folder,
                        trigger=trigger,
                        neighbours=neighbours,
                        server_arguments=server_arguments,
                        on_ready=partial(
                            _counter, progress, "server: completing", len(gaps)
                        ),
                    )
                )
            else:
                result = ask_model(
                    gaps,
                    settings,
                    reporter(progress),
                    partial(_counter, progress, "model alone: completing", len(gaps)),
                    heals=path == "healed",
                )
        results.append(result)
    return results


def print_results(results: Sequence[PathAnswers]) -> None:
    """Print figures, outcomes and defects on standard output."""
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    rows: list[tuple[str, str, Figures]] = []
    for result in results:
        rows.append((result.path, "all", figures_of(result.answers)))
    for group in (by_language, by_place):
        groups = {one.path: group(one.answers) for one in results}
        for name in next(iter(groups.values())):
            rows += [(path, name, found[name]) for path, found in groups.items()]
    has_names = any(one.name_right is not None for _, _, one in rows)
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("path", no_wrap=True)
    table.add_column("in %", no_wrap=True)
    columns = ["cuts", "shown", "exact", "of shown", "similar", "saved", "parses"]
    columns += (["name"] if has_names else []) + ["med. ms", "p90 ms", "defects"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for path, name, one in rows:
        shares = [one.shown, one.exact, one.exact_of_shown, one.line_similarity]
        shares += [one.keystrokes_saved, one.parses]
        shares += [one.name_right] if has_names else []
        table.add_row(
            *(path, name, str(one.gaps)),
            *("–" if share is None else f"{share * 100:.1f}" for share in shares),
            *(f"{one.median_ms:.0f}", f"{one.p90_ms:.0f}", str(one.defects)),
        )
    console.print(table)
    for result in results:
        outcomes = outcomes_of(result.answers)
        text = ", ".join(f"{count} {name}" for name, count in outcomes.items())
        console.print(f"{result.path}: {text}", highlight=False, soft_wrap=True)
    for result in results:
        for message in result.messages:
            console.print(f"The server says: {message}", markup=False, highlight=False)
        _print_defects(console, result)


def _print_defects(console: Console, result: PathAnswers) -> None:
    found = [(one.gap, defect) for one in result.answers for defect in one.defects]
    for gap, defect in found[:_NUM_DEFECTS_PRINTED]:
        console.print(
            f"{result.path}: {gap.where}: {defect.name}: {defect.detail}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    if len(found) > _NUM_DEFECTS_PRINTED:
        more = len(found) - _NUM_DEFECTS_PRINTED
        console.print(f"{result.path}: and {more} more, in --json's file")


def _counter(progress: Progress, description: str, total: int) -> Advance:
    """Add a bar in place of the others; return its step."""
    for one in progress.task_ids:
        progress.remove_task(one)
    task = progress.add_task(description, total=total)
    return lambda: progress.advance(task)
