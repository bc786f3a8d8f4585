"""The indentation that a line must have, where the cursor stands before it.

Where indentation is syntax, the first line of a body stands deeper than its header. A
cursor in column 0 below one is a place where an editor has not indented, or where the
user took that back: the model is told what must come, and may only go deeper.
"""

from __future__ import annotations

from itertools import pairwise

from lsp_stablecode.lexis import indent_width, split_at_cursor, unify_line_ends
from lsp_stablecode.shape import Shape
from lsp_stablecode.syntax import syntax_of

_LOOK_BACK_CHARACTERS = 8_000
_USUAL_UNIT = "    "


def lead_of(prefix: str, suffix: str, shape: Shape) -> str:
    """Return the blanks that the cursor's line begins with, where that is certain."""
    before, right = split_at_cursor(prefix, suffix)
    is_body = shape.whole_body and shape.reason in ("below-header", "gap")
    if before or right.strip() or not is_body or not prefix:
        return ""
    if not syntax_of(shape.language_id).layout:
        return ""
    lines = unify_line_ends(prefix[-_LOOK_BACK_CHARACTERS:]).split("\n")
    header = next(
        (
            one
            for one in reversed(lines)
            if one.strip() and indent_width(one) == shape.opener_indent
        ),
        None,
    )
    # Not that of the lines below: the missing line may well be the header of theirs.
    return "" if header is None else _blanks(header) + _unit(lines)


def _unit(lines: list[str]) -> str:
    """Return by what the bodies of a text are indented."""
    written = [one for one in lines if one.strip()]
    steps = [
        _blanks(body).removeprefix(_blanks(header))
        for header, body in pairwise(written)
        if header.rstrip().endswith(":") and indent_width(body) > indent_width(header)
    ]
    # Of equally many the usual one: docstrings have indentations of their own.
    return max(
        {_USUAL_UNIT, *steps},
        key=lambda step: (steps.count(step), step == _USUAL_UNIT, step),
    )


def _blanks(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]
