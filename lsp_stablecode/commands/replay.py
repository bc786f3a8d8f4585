"""``replay``: a recorded session played again, and what came of it compared."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lsp_stablecode.commands.console import progress_bar
from lsp_stablecode.recorded_settings import SERVER_SETTINGS, without_settings
from lsp_stablecode.recording import read_recording
from lsp_stablecode.replay import Compared, Replay
from lsp_stablecode.settings import SETTINGS, Settings

_PIPE_WIDTH = 140
_SETTINGS = (
    "model",
    "device",
    "dtype",
    "cache_dtype",
    "threads",
    "context_tokens",
    "backend",
    "endpoint",
    "remote_model",
    "api_key_file",
    "log_level",
)


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Play, compare and print; return 1 with ``--check`` where texts differ."""
    given = _given(options)
    dropped = {SETTINGS[name].key for name in given}
    if not options.with_recorded_server:
        dropped |= SERVER_SETTINGS
    recorded = without_settings(read_recording(Path(options.recording)), dropped)
    if options.trace is not None:
        given["trace"] = str(options.trace)
    command = [sys.executable, "-P", "-m", "lsp_stablecode", "serve"]
    for name, value in given.items():
        command += [f"--{name.replace('_', '-')}", value]
    with progress_bar() as progress:
        num_messages = sum(one.sender == "editor" for one in recorded)
        task = progress.add_task("replay", total=num_messages)
        replay = Replay(
            recorded, command, options.speed, lambda: progress.advance(task)
        )
        compared = replay.play()
    if options.json:
        rows = [{**asdict(one), "verdict": one.verdict} for one in compared]
        print(json.dumps(rows, ensure_ascii=False))
    else:
        _show(compared)
    differs = any(one.verdict not in ("same", "both empty") for one in compared)
    return 1 if options.check and differs else 0


def _given(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings on the command line, which outrank the recorded ones."""
    return {
        name: str(value)
        for name in _SETTINGS
        if (value := getattr(options, name)) is not None
    }


def _show(compared: Sequence[Compared]) -> None:
    console = Console(highlight=False)
    width = None if console.is_terminal else _PIPE_WIDTH
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("at", "place", "compared", "then", "now"):
        table.add_column(heading, overflow="fold")
    for one in compared:
        if one.verdict in ("same", "both empty"):
            continue
        table.add_row(
            f"{one.at_s:.2f} s",
            one.place,
            one.verdict,
            json.dumps(one.then[0] if one.then else "", ensure_ascii=False),
            json.dumps(one.now[0] if one.now else "", ensure_ascii=False),
        )
    if table.row_count:
        console.print(table, width=width)
    counts = Counter(one.verdict for one in compared)
    parts = [f"{number} {verdict}" for verdict, number in counts.most_common()]
    console.print(f"{len(compared)} requests: {', '.join(parts) or 'none'}")
    for name, times in (
        ("then", [one.then_ms for one in compared if one.then_ms is not None]),
        ("now", [one.now_ms for one in compared if one.now_ms is not None]),
    ):
        if times:
            median_ms = statistics.median(times)
            console.print(f"{name}: answered in {median_ms:.0f} ms (median)")
