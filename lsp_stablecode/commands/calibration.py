"""``eval calibration``: fit confidences to what ``eval repo`` found to be right."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_stablecode.commands.infilling import check_writable
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.judgement.answers import (
    Answer,
    Operation,
    operate,
    read_answers,
)
from lsp_stablecode.judgement.calibration import CALIBRATION, Calibration
from lsp_stablecode.judgement.confidence import confidence
from lsp_stablecode.judgement.fit import (
    Record,
    Reliability,
    fit,
    held_out,
    reliability,
)
from lsp_stablecode.settings import Settings

_LEAST_RECORDS = 50
_THRESHOLDS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_FILE_COLUMNS = 100


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Fit, print and save; return the exit code. Raises ``StablecodeError``."""
    check_writable(options.json)
    answers = read_answers([Path(one) for one in options.results])
    records = [one.record for one in answers if one.record is not None]
    if len(records) < _LEAST_RECORDS:
        raise SettingsError(
            f"{len(records)} suggestions are too few to fit to; "
            f"{_LEAST_RECORDS} are the least.",
            hint="Let `eval repo --set leastConfidence=0 --json` make more cuts.",
        )
    right = [one.is_right for one in records]
    now = [confidence(one.features) for one in records]
    fresh = held_out(records)
    found = {
        "calibration in use": reliability(now, right),
        "fitted, 5-fold held out": reliability(fresh, right),
    }
    fitted = fit(records)
    operations = _operations(answers, fresh)
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    _print_figures(console, found)
    _print_buckets(console, found)
    _print_operations(console, operations)
    console.print(source_of(fitted), highlight=False, markup=False)
    if options.json:
        data = _to_json(records, found, fitted, operations)
        Path(options.json).write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    return 0


def source_of(calibration: Calibration) -> str:
    """Return a calibration as the Python source of ``judgement/calibration.py``."""
    lines = [
        f"    {one.name}={getattr(calibration, one.name)!r},"
        for one in fields(calibration)
    ]
    return "\n".join(["CALIBRATION: Final = Calibration(", *lines, ")"])


def _operations(answers: Sequence[Answer], fresh: Sequence[float]) -> list[Operation]:
    """Return what each threshold would make of the answers, as if they were new."""
    following: Iterator[float] = iter(fresh)
    confidences = [None if one.record is None else next(following) for one in answers]
    return [operate(answers, confidences, threshold) for threshold in _THRESHOLDS]


def _print_figures(console: Console, found: dict[str, Reliability]) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for column in ("suggestions", "right %", "log loss", "Brier", "error %"):
        table.add_column(column, justify="right")
    for name, one in found.items():
        table.add_row(
            name,
            str(one.number),
            f"{one.share_right * 100:.1f}",
            f"{one.log_loss:.4f}",
            f"{one.brier:.4f}",
            f"{one.calibration_error * 100:.1f}",
        )
    console.print(table)


def _print_buckets(console: Console, found: dict[str, Reliability]) -> None:
    for name, one in found.items():
        table = Table(box=None, padding=(0, 1, 0, 0), title=name, title_justify="left")
        for column in ("confidence", "suggestions", "mean %", "right %"):
            table.add_column(column, justify="right")
        for bucket in one.buckets:
            table.add_row(
                f"{bucket.lower:.1f}–{bucket.upper:.1f}",
                str(bucket.number),
                f"{bucket.mean_confidence * 100:.1f}",
                f"{bucket.share_right * 100:.1f}",
            )
        console.print()
        console.print(table)


def _print_operations(console: Console, operations: Sequence[Operation]) -> None:
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        title="what a threshold makes of all places, held out",
        title_justify="left",
    )
    for column in ("least confidence", "shown %", "exact of shown %", "keys saved %"):
        table.add_column(column, justify="right")
    for one in operations:
        table.add_row(
            f"{one.threshold:.2f}",
            f"{one.shown * 100:.1f}",
            "–" if one.exact is None else f"{one.exact * 100:.1f}",
            f"{one.keystrokes_saved * 100:.1f}",
        )
    console.print()
    console.print(table)
    console.print()


def _to_json(
    records: Sequence[Record],
    found: dict[str, Reliability],
    fitted: Calibration,
    operations: Sequence[Operation],
) -> dict[str, Any]:
    in_use, fresh = found.values()
    return {
        "suggestions": len(records),
        "in_use": {"coefficients": asdict(CALIBRATION), **asdict(in_use)},
        "fitted": {"coefficients": asdict(fitted), **asdict(fresh)},
        "thresholds": [asdict(one) for one in operations],
    }
