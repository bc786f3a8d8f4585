"""The demo as an SVG picture without fonts or anything else from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from lsp_stablecode.demo.scenes import Played, Started
from lsp_stablecode.demo.show import (
    code,
    heading,
    legend,
    outcome,
    table,
    timings,
)
from lsp_stablecode.errors import DocumentError

_NUM_COLUMNS = 94
_TITLE = "lsp-stablecode demo"
# GitHub's dark palette: contrasts well, and stands out on a white page as on a black.
_THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (126, 231, 135),
        (210, 153, 34),
        (121, 192, 255),
        (210, 168, 255),
        (165, 214, 255),
        (177, 186, 196),
    ],
    [(139, 148, 158)] * 8,  # of the bright ones only "black", grey, is used
)
# As rich's own, less the web fonts, which a README's viewer would not load anyway.
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg" role="img" aria-label="A recorded session">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", \
"Liberation Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{
  font-size: 18px; font-weight: bold; font-family: Arial, Helvetica, sans-serif;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def check_place(path: Path) -> None:
    """Raise ``DocumentError`` now, and not after the demo, if a folder is missing."""
    if not path.parent.is_dir() or path.is_dir():
        raise DocumentError(
            f"The picture cannot be written to {path}.",
            hint="Name a file in an existing folder after --picture.",
        )


def save_picture(path: Path, started: Started, all_played: Sequence[Played]) -> None:
    """Draw the scenes chosen for it, the start and the table.

    Raises ``DocumentError`` where the file cannot be written.
    """
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_NUM_COLUMNS,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={},
    )
    console.print(legend(), "", sep="\n")
    for number, played in enumerate(all_played, 1):
        if played.scene.in_picture:
            console.print(heading(number, played.scene))
            console.print(code(played.view), *outcome(played), "", sep="\n")
    console.print(table(all_played), "", timings(started), sep="\n")
    svg = console.export_svg(
        title=_TITLE, theme=_THEME, code_format=_FORMAT, unique_id="demo"
    )
    try:
        path.write_text(svg, "utf-8")
    except OSError as error:
        raise DocumentError(
            f"The picture cannot be written to {path} ({error.strerror}).",
            hint="Name another file after --picture.",
        ) from error
