"""``settings``: every setting with what it may hold, for people and for editors."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from lsp_stablecode.settings import DEFAULTS, SETTINGS, Settings, to_wire
from lsp_stablecode.settings_schema import settings_schema

_PIPE_WIDTH = 160


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Print the table or the schema and return the exit code."""
    if options.json_schema:
        print(json.dumps(settings_schema(), indent=2))
        return 0
    defaults = to_wire(DEFAULTS)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("setting", "default", "values", "what it does"):
        table.add_column(heading, no_wrap=heading == "setting", overflow="fold")
    for setting in SETTINGS.values():
        default = defaults[setting.key]
        table.add_row(
            setting.key,
            default if isinstance(default, str) else json.dumps(default),
            setting.values.replace("`", ""),
            setting.description.replace("`", ""),
        )
    console = Console(highlight=False)
    # Into a pipe or file the table is as wide as it needs to be.
    console.print(table, width=None if console.is_terminal else _PIPE_WIDTH)
    return 0
