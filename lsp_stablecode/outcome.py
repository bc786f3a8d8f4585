"""What became of a request.

An outcome is ``shown``, ``shown:token-limit`` (a block was cut back to its last whole
line because the token limit struck), ``type-through`` (answered from memory),
``superseded``, ``cancelled``, or ``empty:<why>``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lsp_stablecode.postprocess import Finished
from lsp_stablecode.shape import Shape
from model import Candidate, ContextChunk, PromptPart, Statistics


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, with everything that explains it.

    ``withheld`` is what was good enough in form but too unsure to be shown: below
    ``threshold``, where 0 shows everything.
    """

    name: str
    suggestions: tuple[Finished, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    shape: Shape | None = None
    candidates: tuple[Candidate, ...] = ()
    fim_order: str = ""
    statistics: Statistics = field(default_factory=Statistics)
    total_ms: float = 0.0
    removed: tuple[str, ...] = ()
    withheld: tuple[Finished, ...] = ()
    threshold: float = 0.0
    context: tuple[ContextChunk, ...] = ()
    parts: tuple[PromptPart, ...] = ()
    healed: str = ""
    gather_ms: float = 0.0
