"""A gap: a source text as it may have looked while it was typed, and what came next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lsp_stablecode.lexis import Inside

Place = Literal[
    "end-of-line",
    "call",
    "after-opener",
    "empty-line",
    "mid-identifier",
    "cross-file",
]
PLACES: tuple[Place, ...] = get_args(Place)
USUAL_PLACES: tuple[Place, ...] = PLACES[:-1]
"""Those that need no other file."""

BODY_PLACES: tuple[Place, ...] = ("after-opener", "empty-line")
"""Those in which a line is yet to come; elsewhere the rest of one is."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One place to ask at.

    ``prefix + truth + closers + after + suffix[len(closers):]`` is the source.
    ``closers`` are what the editor put right of the cursor by itself; ``after`` stood
    behind them and is not typed yet either. ``inside`` is what the cursor is inside
    of. ``name`` is what a ``cross-file`` gap asks for, from its first character.
    """

    path: str
    language_id: str
    place: Place
    prefix: str
    suffix: str
    truth: str
    closers: str = ""
    after: str = ""
    inside: Inside = "code"
    name: str = ""

    @property
    def source(self) -> str:
        """The file as it stands."""
        rest = self.suffix[len(self.closers) :]
        return self.prefix + self.truth + self.closers + self.after + rest

    @property
    def left(self) -> str:
        """What stands left of the cursor on its line."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def line(self) -> int:
        """The cursor's line, from 1."""
        return self.prefix.count("\n") + 1

    @property
    def column(self) -> int:
        """The cursor's column, from 1."""
        return len(self.left) + 1

    @property
    def where(self) -> str:
        """The place as editors and compilers write it."""
        return f"{self.path}:{self.line}:{self.column}"
