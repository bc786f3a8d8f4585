"""Draw the page's picture: ``python -m tests.editors.neovim_picture FILE``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.editors.neovim import Neovim
from tests.editors.neovim_editing import VARIANTS, start

_NUM_COLUMNS = 62


def _text(neovim: Neovim, first: int, last: int) -> Text:
    """Return rows of the screen, in their colours; the cursor is a block."""
    screen = neovim.screen
    text = Text()
    for number in range(first, last):
        for column, (cell, highlight) in enumerate(screen.cells[number][:_NUM_COLUMNS]):
            is_cursor = (number, column) == screen.cursor
            style = _style(screen.highlights.get(highlight, {}), screen.colours)
            text.append(cell, style + Style(reverse=True) if is_cursor else style)
        text.append("\n")
    return text


def _style(attributes: dict[str, Any], colours: dict[str, int]) -> Style:
    foreground = attributes.get("foreground", colours["foreground"])
    return Style(
        color=f"#{foreground:06x}",
        bold=attributes.get("bold", False),
        italic=attributes.get("italic", False),
    )


def draw(path: Path) -> None:
    """Type in Neovim 0.12, and write what its screen shows after some keys."""
    console = Console(record=True, width=_NUM_COLUMNS, file=io.StringIO())
    with (
        tempfile.TemporaryDirectory() as folder,
        start(
            VARIANTS[1],
            Path(folder),
            after="for _, group in ipairs({ 'LspStablecodeGhost' }) do "
            "vim.api.nvim_set_hl(0, group, { fg = 0x7f8795, italic = true }) end",
        ) as editing,
    ):
        neovim = editing.neovim
        editing.change_settings(multiLine="always")
        editing.open("shapes.py")
        for title, keys, line in (
            ("typed: def ar", "Go<C-u>def ar", "def ar"),
            ("<M-Right> accepted a word", "<M-Right>", "def area"),
            ("<M-C-Right> accepted a line", "<M-C-Right>", "def area(width, height):"),
            ("<Tab> accepted the rest", "<Tab>", "    return size"),
        ):
            neovim.type(keys)
            neovim.see_line(line)
            neovim.see(lambda frame: frame.rows[16] == "    return size", "the end")
            console.print(Text(f"-- {title}", Style(color="#8a8f98", bold=True)))
            console.print(_text(neovim, 12, 17), soft_wrap=True, end="\n")
    path.write_text(console.export_svg(title="nvim shapes.py"), "utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
