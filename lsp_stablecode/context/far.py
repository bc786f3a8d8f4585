"""The parts of a document that are too far from the cursor to be in its window."""

from __future__ import annotations

from typing import NamedTuple

_STEP_LINES = 64
_FRONT_STEP_LINES = 512


class FarPart(NamedTuple):
    """Lines of a document from ``first_line`` on, which counts from 0."""

    name: str
    first_line: int
    text: str


def far_parts(prefix: str, suffix: str, line: int, reach: int) -> list[FarPart]:
    """Return what stands more than ``reach`` characters above and below the cursor.

    ``line`` is the cursor's. The parts begin and end at round line numbers above, and
    at a fixed distance from the cursor below: they stay the same while somebody types,
    and so does what was read of them.
    """
    parts = []
    num_above = prefix.count("\n")
    start_line = max(0, line - num_above)
    if len(prefix) > reach:
        end_line = start_line + prefix.count("\n", 0, len(prefix) - reach)
        end_line -= end_line % _STEP_LINES
        # The text itself may begin anywhere in a long document, and that moves, too.
        first_line = -(-start_line // _FRONT_STEP_LINES) * _FRONT_STEP_LINES
        if end_line > first_line:
            lines = prefix.split("\n", end_line - start_line)
            text = "\n".join(lines[first_line - start_line : end_line - start_line])
            parts.append(FarPart("above", first_line, text))
    below = suffix.find("\n", reach // 2) + 1
    if 0 < below < len(suffix):
        first_line = line + suffix.count("\n", 0, below)
        parts.append(FarPart("below", first_line, suffix[below:]))
    return parts
