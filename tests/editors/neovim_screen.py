"""What Neovim draws, as its user interface protocol tells it (``ext_linegrid``)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

GHOST_COLOUR = 0x12AB34
"""The tests' colour scheme gives it to ghost text alone."""

Cell = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """What a person sees between two drawings.

    ``ghost`` holds the rows' ghost text, rows without left out; the time is
    ``time.perf_counter``'s.
    """

    time_s: float
    rows: tuple[str, ...]
    ghost: tuple[str, ...]
    cursor: tuple[int, int]

    def row_with(self, text: str) -> str:
        """Return the first row that holds ``text``, or nothing."""
        return next((row for row in self.rows if text in row), "")

    def __str__(self) -> str:
        return "\n".join(
            [f"cursor {self.cursor}, ghost {self.ghost}", *filter(None, self.rows)]
        )


@dataclass
class Screen:
    """One grid of cells, kept in step by ``redraw`` events."""

    frames: list[Frame] = field(default_factory=list)
    cells: list[list[Cell]] = field(default_factory=list)
    highlights: dict[int, dict[str, Any]] = field(default_factory=dict)
    colours: dict[str, int] = field(default_factory=dict)
    cursor: tuple[int, int] = (0, 0)

    def redraw(self, batch: Sequence[Any]) -> None:
        """Take in a batch of events."""
        for name, *calls in batch:
            handler = getattr(self, f"_{name}", None)
            if handler is not None:
                for call in calls:
                    handler(*call)

    @property
    def frame(self) -> Frame:
        """What is on the screen now."""
        ghost = (
            "".join(text for text, number in row if self._is_ghost(number))
            for row in self.cells
        )
        rows = ("".join(text for text, _ in row).rstrip() for row in self.cells)
        return Frame(
            time.perf_counter(), tuple(rows), tuple(filter(None, ghost)), self.cursor
        )

    def _is_ghost(self, number: int) -> bool:
        return self.highlights.get(number, {}).get("foreground") == GHOST_COLOUR

    def _flush(self) -> None:
        self.frames.append(self.frame)

    def _grid_resize(self, _grid: int, columns: int, rows: int) -> None:
        self.cells = [[(" ", 0)] * columns for _ in range(rows)]

    def _grid_clear(self, _grid: int) -> None:
        self.cells = [[(" ", 0)] * len(row) for row in self.cells]

    def _grid_cursor_goto(self, _grid: int, row: int, column: int) -> None:
        self.cursor = (row, column)

    def _grid_line(
        self, _grid: int, row: int, column: int, cells: Sequence[Any], *_: Any
    ) -> None:
        number = 0
        for text, *more in cells:
            number = more[0] if more else number
            for _repeat in range(more[1] if len(more) > 1 else 1):
                self.cells[row][column] = (text, number)
                column += 1

    def _grid_scroll(
        self, _grid: int, top: int, bottom: int, left: int, right: int, by: int, _: int
    ) -> None:
        rows = (
            range(top, bottom - by) if by > 0 else range(bottom - 1, top - by - 1, -1)
        )
        for row in rows:
            self.cells[row][left:right] = self.cells[row + by][left:right]

    def _hl_attr_define(self, number: int, attributes: dict[str, Any], *_: Any) -> None:
        self.highlights[number] = attributes

    def _default_colors_set(self, foreground: int, background: int, *_: Any) -> None:
        self.colours = {"foreground": foreground, "background": background}
