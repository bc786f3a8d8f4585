"""``status`` and ``report``: what the shared engine is at, and what a bug needs."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_stablecode.commands.doctor import examine
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.overview import versions
from lsp_stablecode.settings import Settings, to_report
from lsp_stablecode.shared.asking import ask_hubs
from lsp_stablecode.shared.rendezvous import runtime_folder

_MIB = 2**20


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Print what the running engines are at; return 1 if there is none."""
    answers = ask_hubs(runtime_folder(), "overview")
    if options.json:
        print(json.dumps(answers, ensure_ascii=False))
    elif not answers:
        print(
            "No shared engine is running. Editors whose server was started without "
            "--shared have their own: see their status command."
        )
    else:
        console = Console(highlight=False)
        for one in answers:
            console.print(_table(one))
    return 0 if answers else 1


def run_report(options: argparse.Namespace, settings: Settings) -> int:
    """Write a bug report: versions, settings, last outcomes, and no source text."""
    # First: what is looked at after that takes time and memory from them.
    engines = ask_hubs(runtime_folder(), "report")
    running = [model for one in engines for model in one["overview"]["models"]]
    report = {
        "versions": versions(),
        "settings": to_report(settings),
        "doctor": [asdict(one) for one in examine(settings, running)],
        "engines": engines,
    }
    text = json.dumps(_without_home(report), ensure_ascii=False, indent=1) + "\n"
    if options.output is None:
        print(text, end="")
        return 0
    try:
        Path(options.output).write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(
            f"The report cannot be written to {options.output} ({error.strerror}).",
            hint="Choose another file.",
        ) from error
    print(f"Written to {options.output}. Read it before you send it to anybody.")
    return 0


def _table(overview: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(overview):
        table.add_row(name, text)
    return table


def _lines(overview: dict[str, Any]) -> list[tuple[str, str]]:
    memory = f"{overview['memoryBytes'] / _MIB:.0f} MiB"
    if overview["gpuMemoryBytes"]:
        memory += f", {overview['gpuMemoryBytes'] / _MIB:.0f} MiB of the GPU"
    latency = overview["latencyMs"]
    lines = [
        (
            "engine",
            f"process {overview['processId']}, version {overview['version']}, "
            f"up {_duration(overview['uptimeSeconds'])}, {memory}",
        )
    ]
    for one in overview["models"]:
        engine = one["engine"]
        what = one["options"]["model"]
        if engine is not None:
            what = f"{engine['model']} on {engine['device']}, {engine['dtype']}"
        lines.append(
            (
                "model",
                f"{what}: {one['state']}, {one['sessions']} editors, "
                f"{one['waiting']} waiting, idle for {_duration(one['idleSeconds'])}"
                + (f" ({one['message']})" if one["message"] else ""),
            )
        )
    lines += [
        (
            "speed",
            f"{_number(overview['tokensPerSecond'])} tokens/s generated, "
            f"{_number(overview['promptTokensPerSecond'])} tokens/s of prompt; "
            f"{_percent(overview['reusedShare'])} of prompts reused",
        ),
        (
            "answers",
            ", ".join(f"{name} {_number(ms)} ms" for name, ms in latency.items()),
        ),
        (
            "suggestions",
            f"{overview['shown']} shown, "
            f"{_percent(overview['acceptedShare'])} of them accepted",
        ),
    ]
    for one in overview["sessions"]:
        outcomes = ", ".join(f"{n} {name}" for name, n in one["outcomes"].items())
        lines.append(
            (
                "editor",
                f"{one['editor'] or 'unnamed'}: {one['documents']} documents, "
                f"{one['requests']} requests" + (f" ({outcomes})" if outcomes else ""),
            )
        )
    return lines


def _without_home(value: Any) -> Any:
    """Put ``~`` in the place of the user's home folder, whose name is a person's."""
    home = os.path.expanduser("~")
    if isinstance(value, str):
        return value.replace(home, "~") if len(home) > 1 else value
    if isinstance(value, dict):
        return {key: _without_home(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_home(one) for one in value]
    return value


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
