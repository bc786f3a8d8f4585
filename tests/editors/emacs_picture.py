"""Draw the page's picture: ``python -m tests.editors.emacs_picture FILE``."""

from __future__ import annotations

import io
import sys
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.editors.emacs import ALONE, BUFFER_END, TAB, WORD, Emacs, documented_init
from tests.editors.emacs_install import debian_emacs
from tests.editors.samples import SHAPES, make_project

_NUM_COLUMNS = 66
# As rich's own, less the web fonts.
_FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" \
aria-label="Emacs while a suggestion is accepted">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, \
Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-title {{ font: bold 18px Arial, Helvetica, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
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
_DARK = """
(progn (setq frame-background-mode 'dark)
       (mapc #'frame-set-background-mode (frame-list))
       t)"""
# pyte's names for the terminal's own colours; others it gives in hexadecimal.
_COLOURS = {
    "black": "#0d1117",
    "brightblack": "#8b949e",
    "brightcyan": "#a5d6ff",
    "cyan": "#79c0ff",
    "default": "#e6edf3",
}


def draw(path: Path) -> None:
    """Type in Emacs, and write what its screen shows after some keys."""
    console = Console(
        record=True, width=_NUM_COLUMNS, file=io.StringIO(), color_system="truecolor"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = make_project(Path(folder)) / "shapes.py"
        emacs = Emacs(
            debian_emacs(),
            init=documented_init("Install"),
            settings=ALONE + '(setq lsp-stablecode-settings \'(:multiLine "always"))',
            file=file,
        )
        try:
            emacs.wait_ready(file.name)
            emacs.lisp(_DARK)
            emacs.type(BUFFER_END)
            end = '\n    print("the area is", size)\n    return size'
            for title, keys, ghost in (
                ("typed: si", "    si", "ze = width * height" + end),
                ("M-f: the next word", WORD, " = width * height" + end),
                ("typed: = w", " = w", "idth * height" + end),
                ("TAB: all of it", TAB, ""),
            ):
                emacs.lisp(f"(setq lsp-stablecode-automatic {'t' if ghost else 'nil'})")
                emacs.type(keys)
                buffer = emacs.wait_ghost(ghost)
                assert buffer.text.startswith(SHAPES)
                column = len(buffer.before.split("\n")[-1])
                emacs.wait(partial(_has_cursor_in, emacs, column), "it is drawn")
                console.print(Text(f"-- {title}", Style(color="#79c0ff", bold=True)))
                console.print(_text(emacs), soft_wrap=True)
        finally:
            emacs.close()
    svg = console.export_svg(
        title="emacs -nw shapes.py", code_format=_FORMAT, unique_id="emacs"
    )
    path.write_text(svg, "utf-8")


def _has_cursor_in(emacs: Emacs, column: int) -> bool:
    return emacs.terminal.cursor[1] == column


def _text(emacs: Emacs) -> Text:
    """Return the rows below the function's header, in their colours."""
    rows = emacs.terminal.rows()
    start = next(
        number
        for number, row in enumerate(rows)
        if "".join(cell.data for cell in row).startswith("def volume")
    )
    text = Text()
    for number in range(start, start + 5):
        for column, cell in enumerate(rows[number][:_NUM_COLUMNS]):
            colour = _COLOURS.get(cell.fg, f"#{cell.fg}")
            style = Style(
                color=colour,
                bold=cell.bold,
                reverse=(number, column) == emacs.terminal.cursor,
            )
            text.append(cell.data, style)
        text.append("\n")
    return text


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
