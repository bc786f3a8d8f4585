"""How somebody types a text: a gap before each key, a slip now and then, a pause.

Gaps between keys are distributed log-normally, as measured of typists; their medians
depend on where the key stands. The same seed gives the same strokes.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass

INNER_MS = 130.0
"""Median gap before a character inside a word; the others are longer."""
WORD_MS = 180.0
SIGN_MS = 160.0
LINE_MS = 380.0
SPREAD = 0.5
"""The standard deviation of the gaps' logarithm."""

_SLIP_SHARE = 0.02
_SLIP_MS = 260.0
_PAUSE_SHARE = 0.03
_PAUSE_MS = (1000.0, 3000.0)
_REACTION_MS = 400.0
_REACTION_SPREAD = 0.2
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True, slots=True)
class Stroke:
    """What happens before and at one character.

    ``slip`` is a wrong letter that is typed first, and taken back ``slip_ms`` later;
    empty for none. ``reaction_ms`` is how long a suggestion that is shown before this
    character takes to be read and accepted.
    """

    gap_ms: float
    slip: str
    slip_ms: float
    reaction_ms: float


def make_strokes(text: str, seed: str) -> tuple[Stroke, ...]:
    """Return a stroke for each character of ``text``, and one for its end."""
    chance = random.Random(seed)

    def about(median_ms: float, spread: float = SPREAD) -> float:
        return chance.lognormvariate(math.log(median_ms), spread)

    strokes = []
    for index, character in enumerate(f"{text}\n"):
        before = text[index - 1] if index else "\n"
        gap_ms = about(_median_ms(before, character))
        # Drawn for every character, so that one's slip does not move the next one's.
        slips = chance.random() < _SLIP_SHARE
        pauses = chance.random() < _PAUSE_SHARE
        pause_ms = chance.uniform(*_PAUSE_MS)
        slip = _neighbour(character, chance.random())
        strokes.append(
            Stroke(
                gap_ms=gap_ms + pause_ms if pauses else gap_ms,
                slip=slip if slips else "",
                slip_ms=about(_SLIP_MS),
                reaction_ms=about(_REACTION_MS, _REACTION_SPREAD),
            )
        )
    return tuple(strokes)


def median_gap_ms(strokes: tuple[Stroke, ...]) -> float:
    """Return the typist's usual gap."""
    return statistics.median(one.gap_ms for one in strokes)


def _median_ms(before: str, character: str) -> float:
    if before in " \t\n" and character not in " \t":
        return LINE_MS if before == "\n" else WORD_MS
    if character.isalnum() or character == "_":
        return INNER_MS if before.isalnum() or before == "_" else WORD_MS
    return SIGN_MS


def _neighbour(character: str, draw: float) -> str:
    """Return a letter beside this one on the keyboard; nothing for what is none."""
    lower = character.lower()
    row = next((one for one in _ROWS if lower in one), "") if lower else ""
    if not row:
        return ""
    place = row.index(lower)
    beside = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    found = beside[int(draw * len(beside))]
    return found.upper() if character.isupper() else found
