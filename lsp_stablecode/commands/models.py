"""``models``: list, pull, path and verify."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from lsp_stablecode.commands.console import progress_bar, reporter
from lsp_stablecode.settings import Settings
from model import CATALOG, model_path, verify_weights, weights_present

_PIPE_WIDTH = 160


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run the action and return the exit code."""
    if options.action == "list":
        _list(as_json=options.json)
        return 0
    with progress_bar() as progress:
        report = reporter(progress)
        if options.action == "verify":
            answer = verify_weights(options.name, report)
        else:
            pull = options.action == "pull"
            answer = str(model_path(options.name, allow_download=pull, progress=report))
    print(answer)
    return 0


def _list(*, as_json: bool) -> None:
    rows = [
        {
            "name": entry.name,
            "title": entry.title,
            "parameters": entry.num_parameters,
            "context_tokens": entry.context_tokens,
            "fim_order": entry.default_fim_order,
            "licence": entry.licence,
            "source": entry.repo_id or "Python packages, the extra [starter]",
            "here": weights_present(entry.name),
        }
        for entry in CATALOG
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, header_style="bold")
    for heading in ("here", "name", "parameters", "context", "licence", "source"):
        table.add_column(heading, no_wrap=heading in ("here", "name"), overflow="fold")
    for row in rows:
        table.add_row(
            "yes" if row["here"] else "",
            str(row["name"]),
            f"{int(str(row['parameters'])) / 1e9:.1f} B" if row["parameters"] else "",
            str(row["context_tokens"]),
            str(row["licence"]),
            str(row["source"]),
        )
    console = Console()
    # Into a pipe or file the table is as wide as it needs to be.
    console.print(table, width=None if console.is_terminal else _PIPE_WIDTH)
