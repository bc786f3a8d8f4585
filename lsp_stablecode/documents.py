r"""A document's text, and the only code that converts positions.

A *line* is numbered from 0 and ends at ``\n``, ``\r\n`` or ``\r``, nothing else
(LSP 3.18, "Text Documents"). A *character* counts code units of the negotiated
encoding from the line's start; a *column* and an *offset* count code points, as
Python does, from the start of the line and of the text.

What an editor sends is never refused: a position outside the text moves to the
nearest one inside, and one within a character moves to that character's start.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate
from typing import TypeAlias

Position: TypeAlias = tuple[int, int]
"""``(line, character)``, as on the wire."""

Range: TypeAlias = tuple[Position, Position]
"""``(start, end)``, the end exclusive."""


class PositionEncoding(StrEnum):
    """The code units that a position's ``character`` counts."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


_CODECS = {
    PositionEncoding.UTF8: ("utf-8", 1),
    PositionEncoding.UTF16: ("utf-16-le", 2),
    PositionEncoding.UTF32: ("utf-32-le", 4),
}
_ENDED_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)")


def num_units(text: str, encoding: PositionEncoding) -> int:
    """Count the code units of ``text``; lone surrogates count 3, 1 and 1."""
    if encoding is PositionEncoding.UTF32 or text.isascii():
        return len(text)
    codec, unit_bytes = _CODECS[encoding]
    return len(text.encode(codec, "surrogatepass")) // unit_bytes


def num_characters(text: str, units: int, encoding: PositionEncoding) -> int:
    """Count the code points of ``text`` that stand within its first code units."""
    # No character is less than one unit, so there is no need to look further.
    most = min(max(units, 0), len(text))
    if encoding is PositionEncoding.UTF32 or text.isascii():
        return most
    # Bisected piece by piece: no piece is encoded twice, so that a position in
    # a line of megabytes costs what encoding that line costs.
    count, counted_units, beyond = 0, 0, most + 1
    while beyond - count > 1:
        middle = (count + beyond) // 2
        piece = num_units(text[count:middle], encoding)
        if counted_units + piece <= units:
            count, counted_units = middle, counted_units + piece
        else:
            beyond = middle
    return count


def split_lines(text: str) -> list[str]:
    """Split into lines that keep their ends; only the last one has no end.

    ``str.splitlines`` would also split at form feeds, U+0085, U+2028 and more, and
    every position after one of those would be wrong.
    """
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    # Searched further, the unended line would be read again from each character.
    lines: list[str] = _ENDED_LINE.findall(text, 0, end)
    return [*lines, text[end:]]


class Document:
    """One text that an editor has open, edited in place.

    An edit costs the lines it touches, not the document: ``text`` and the lines'
    offsets are made when they are asked for and kept until the next edit.
    """

    def __init__(
        self,
        uri: str,
        language_id: str,
        version: int | None,
        text: str,
        encoding: PositionEncoding = PositionEncoding.UTF16,
    ) -> None:
        self.uri = uri
        self.language_id = language_id
        self.version = version
        self.encoding = encoding
        self._text: str | None
        self._line_offsets: list[int] | None
        self.replace_all(text)

    @property
    def text(self) -> str:
        """The whole text."""
        if self._text is None:
            self._text = "".join(self._lines)
        return self._text

    @property
    def lines(self) -> Sequence[str]:
        """The lines with their ends; read it, do not keep or change it."""
        return self._lines

    @property
    def num_lines(self) -> int:
        """One more than there are line ends, so never 0."""
        return len(self._lines)

    def line_text(self, line: int) -> str:
        """Return a line without its end; empty if the document has no such line."""
        return self._lines[line].rstrip("\r\n") if 0 <= line < self.num_lines else ""

    def replace_all(self, text: str) -> None:
        """Set the whole text."""
        self._lines = split_lines(text)
        self._text = text
        self._line_offsets = None

    def apply_change(self, range_: Range | None, text: str) -> None:
        """Put ``text`` in the place of a range, or of everything if it is ``None``."""
        if range_ is None:
            self.replace_all(text)
            return
        start, end = sorted(self.locate(*position) for position in range_)
        (first, column), (last, end_column) = start, end
        lines = self._lines
        edited = lines[first][:column] + text + lines[last][end_column:]
        if first > 0 and lines[first - 1].endswith("\r"):
            # If the edited text starts with "\n", the two are one line end now.
            first -= 1
            edited = lines[first] + edited
        # The last line keeps its own end, or is the end of the text: an edit cannot
        # change how the lines after it are split. Only a text's last line has no
        # end, so the empty rest after an ended line is left out elsewhere.
        replacement = split_lines(edited)
        if last + 1 < len(lines):
            replacement.pop()
        lines[first : last + 1] = replacement
        self._text = None
        self._line_offsets = None

    def locate(self, line: int, character: int) -> tuple[int, int]:
        """Turn a wire position into (line, column in code points) inside the text."""
        if line >= self.num_lines:
            return self.num_lines - 1, len(self._lines[-1])
        line = max(line, 0)
        return line, num_characters(self.line_text(line), character, self.encoding)

    def character_at(self, line: int, column: int) -> int:
        """Turn a column in code points into the wire's ``character``."""
        return num_units(self.line_text(line)[: max(column, 0)], self.encoding)

    def offset_at(self, line: int, character: int) -> int:
        """Turn a wire position into an offset in code points."""
        line, column = self.locate(line, character)
        return self._offsets()[line] + column

    def position_at(self, offset: int) -> Position:
        r"""Turn an offset in code points into a wire position.

        An offset within ``\r\n`` gives the position before it.
        """
        offset = max(offset, 0)
        line = bisect_right(self._offsets(), offset) - 1
        return line, self.character_at(line, offset - self._offsets()[line])

    def prefix_window(
        self, line: int, character: int, max_lines: int
    ) -> tuple[str, int]:
        """Text before a position: the part of its line and the lines above.

        Returns the text and the number of its first line. ``max_lines`` counts the
        position's own line, which is always there.
        """
        line, column = self.locate(line, character)
        start = max(0, line + 1 - max(max_lines, 1))
        above = self._lines[start:line]
        return "".join(above) + self._lines[line][:column], start

    def suffix_window(self, line: int, character: int, max_lines: int) -> str:
        """Text after a position: the rest of its line and the lines below.

        ``max_lines`` counts the position's own line, which is always there.
        """
        line, column = self.locate(line, character)
        below = self._lines[line + 1 : line + max(max_lines, 1)]
        return self._lines[line][column:] + "".join(below)

    def split_at(self, line: int, character: int) -> tuple[str, str]:
        """Split the whole text at a position."""
        prefix, _ = self.prefix_window(line, character, self.num_lines)
        return prefix, self.suffix_window(line, character, self.num_lines)

    def _offsets(self) -> list[int]:
        """Offset of each line's start, in code points."""
        if self._line_offsets is None:
            lengths = map(len, self._lines[:-1])
            self._line_offsets = list(accumulate(lengths, initial=0))
        return self._line_offsets
