"""Indentation: the one that a line must have, and the one that an editor writes.

Where indentation is syntax, the first line of a body stands deeper than its header. A
cursor in column 0 below one is a place where an editor has not indented, or where the
user took that back: the model is told what must come, and may only go deeper.

A model writes the indentation it has seen most. A text without any says nothing of
its own, and then the editor's settings hold.
"""

from __future__ import annotations

import re
from itertools import pairwise

from lsp_stablecode.lexis import indent_width, split_at_cursor, unify_line_ends
from lsp_stablecode.shape import Shape
from lsp_stablecode.syntax import syntax_of

_LOOK_BACK_CHARACTERS = 8_000
USUAL_UNIT = "    "
# A single blank aligns: it begins the lines of many a comment.
_INDENTATIONS = ("\t", "  ")
_LINE_START = re.compile(r"(\r\n|\r|\n)([ \t]*)")
# Where indentation means something else, or only one kind of it is valid.
_OF_THEIR_OWN = frozenset({"makefile", "yaml", "markdown", "restructuredtext"})


def lead_of(
    prefix: str, suffix: str, shape: Shape, usual_unit: str = USUAL_UNIT
) -> str:
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
    return "" if header is None else _blanks(header) + _unit(lines, usual_unit)


def is_indented(text: str) -> bool:
    """Tell whether a text says by itself how it is indented."""
    # Four searches that are as fast as memory, where a pattern would take its time.
    return text.startswith(_INDENTATIONS) or any(
        line_end + blanks in text for line_end in "\r\n" for blanks in _INDENTATIONS
    )


def in_unit(text: str, unit: str, language_id: str, *, at_line_start: bool) -> str:
    """Return a suggestion for a text without indentation, indented by ``unit``.

    Its own unit is the indentation of its first indented line; what remains beyond
    whole levels aligns, and stays. The first line counts only ``at_line_start``.
    """
    if language_id in _OF_THEIR_OWN:
        return text
    lines = f"\n{text}" if at_line_start else text
    indented = [
        blanks
        for _, blanks in _LINE_START.findall(lines)
        if blanks.startswith(_INDENTATIONS)
    ]
    if not indented:
        return text
    step = "\t" if indented[0].startswith("\t") else indented[0]

    def again(match: re.Match[str]) -> str:
        line_end, blanks = match.groups()
        level = 0
        while blanks.startswith(step):
            level, blanks = level + 1, blanks.removeprefix(step)
        return f"{line_end}{unit * level}{blanks}"

    lines = _LINE_START.sub(again, lines)
    return lines[1:] if at_line_start else lines


def _unit(lines: list[str], usual_unit: str) -> str:
    """Return by what the bodies of a text are indented."""
    written = [one for one in lines if one.strip()]
    steps = [
        _blanks(body).removeprefix(_blanks(header))
        for header, body in pairwise(written)
        if header.rstrip().endswith(":") and indent_width(body) > indent_width(header)
    ]
    # Of equally many the usual one: docstrings have indentations of their own.
    return max(
        {usual_unit, *steps},
        key=lambda step: (steps.count(step), step == usual_unit, step),
    )


def _blanks(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]
