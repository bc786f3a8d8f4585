"""What no suggestion may do, whatever it says: named, and found on the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsp_stablecode.evaluation.gaps import Gap
from lsp_stablecode.evaluation.measures import Suggestion

DefectName = Literal["repeats-suffix", "doubled-bracket", "cut-line"]


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect and what shows it."""

    name: DefectName
    detail: str


def find_defects(
    gap: Gap, suggestion: Suggestion | None, *, is_cut_off: bool
) -> tuple[Defect, ...]:
    """Return a suggestion's defects; ``is_cut_off`` if the token limit ended it."""
    return ()
