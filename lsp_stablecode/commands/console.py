"""What the subcommands share: progress on standard error, tables on output."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from model import Engine, EngineOptions, LoadProgress, ProgressCallback, load_engine


def progress_bar() -> Progress:
    """Return a bar on standard error that vanishes when done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        console=Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def reporter(progress: Progress) -> ProgressCallback:
    """Return a callback that shows each stage of a long work in ``progress``."""
    task = progress.add_task("starting", total=None)

    def report(step: LoadProgress) -> None:
        total = None if step.fraction is None else 1.0
        progress.update(
            task, description=step.stage, total=total, completed=step.fraction or 0
        )

    return report


def load_with_progress(options: EngineOptions) -> Engine:
    """Load a model with a progress bar. Raises ``StablecodeError``."""
    with progress_bar() as progress:
        return load_engine(options, reporter(progress))
