"""Suggestions in wire positions, as they leave the session."""

from __future__ import annotations

from dataclasses import dataclass

from lsp_stablecode.documents import Document
from lsp_stablecode.outcome import Outcome

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected item of the editor's pop-up menu: it would replace the range."""

    text: str
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Item:
    """A suggestion in wire positions; the range is on one line.

    ``origin`` is the identifier it was first offered with, if it is the rest of that.
    """

    text: str
    start: Position
    end: Position
    identifier: str
    origin: str


def items_of(
    outcome: Outcome,
    document: Document,
    position: Position,
    selected: Selected | None,
    request: int,
) -> list[Item]:
    """Return an outcome's suggestions; ``request`` numbers their identifiers."""
    end_line, end_column = document.locate(*(selected.end if selected else position))
    start = (end_line, document.character_at(end_line, end_column))
    if selected is not None:
        line, column = document.locate(*selected.start)
        start = min(start, (line, document.character_at(line, column)))
    return [
        Item(
            text=(selected.text if selected else "") + one.text,
            start=start,
            end=(
                end_line,
                document.character_at(end_line, end_column + one.replace_right),
            ),
            identifier=f"{request}.{index}",
            origin=one.origin or f"{request}.{index}",
        )
        for index, one in enumerate(outcome.suggestions)
    ]
