"""Blanks and line ends that a text begins with, and those at its lines' ends."""

from __future__ import annotations

import re

from lsp_stablecode.finishing.draft import Draft
from lsp_stablecode.lexis import TAB_WIDTH, indent_width

__all__ = ["strip_line_ends", "tidy_beginning"]

_LEADING_BLANK_LINES = re.compile(r"(?:[ \t]*\n)+")
_ONE_BLANK = re.compile(r" (?![ \t])")
_ONE_BLANK_END = re.compile(r"(?<![ \t]) $")


def tidy_beginning(draft: Draft) -> None:
    """Take off blanks and blank lines that are there already or are not wanted."""
    match = _LEADING_BLANK_LINES.match(draft.text)
    if not draft.is_blank:
        if match and draft.shape.kind == "line":
            draft.set("", "line-complete")
        elif match:
            draft.set("\n" + draft.text[match.end() :], "leading-blank-lines")
        elif _doubles_blank(draft):
            draft.set(draft.text[1:], "leading-blanks")
        elif _pads_bracket(draft):
            draft.set(draft.text.lstrip(" "), "leading-blanks")
        return
    if match:
        rest = draft.text[match.end() :]
        draft.set(_without_typed(draft, rest), "leading-blank-lines")
        is_doubled = draft.shape.indent_fixed
    else:
        is_doubled = bool(draft.before)
    if is_doubled and draft.text[:1] in (" ", "\t"):
        _undouble_indentation(draft)


def _doubles_blank(draft: Draft) -> bool:
    # more than one is an alignment; in a string any is content
    is_double = _ONE_BLANK_END.search(draft.before) and _ONE_BLANK.match(draft.text)
    return bool(is_double) and draft.shape.reason != "string"


def _pads_bracket(draft: Draft) -> bool:
    """Return whether a blank follows a bracket, in code that has none there."""
    opener = draft.before[-1:]
    if opener not in ("(", "[") or not draft.text.startswith(" "):
        return False
    return draft.shape.reason != "string" and opener + " " not in draft.prefix


def _without_typed(draft: Draft, text: str) -> str:
    """Return ``text``, whose first line starts at column 0, less what is typed."""
    if text.startswith(draft.before):
        return text[len(draft.before) :]
    typed, content = indent_width(draft.before), text.lstrip(" \t")
    deeper = max(0, indent_width(text) - typed)
    if "\t" in draft.before:
        return "\t" * (deeper // TAB_WIDTH) + content
    return " " * deeper + content


def _undouble_indentation(draft: Draft) -> None:
    typed, lead = indent_width(draft.before), indent_width(draft.text)
    if not draft.shape.indent_fixed:
        # the rest of an indentation begun, or all of it once more
        if lead > typed:
            draft.set(_without_typed(draft, draft.text), "leading-indentation")
        return
    first, newline, rest = draft.text.lstrip(" \t").partition("\n")
    columns = [indent_width(line) for line in rest.split("\n") if line.strip()]
    opens = first.rstrip().endswith((":", "{", "(", "["))
    if columns and _is_shifted(typed, lead, min(columns), opens):
        width = len(draft.text) - len(draft.text.lstrip(" \t"))
        rest = "\n".join(
            line[width:] if not line[:width].strip() else line
            for line in rest.split("\n")
        )
    draft.set(first + newline + rest, "leading-indentation")


def _is_shifted(typed: int, lead: int, least: int, opens: bool) -> bool:
    """Return whether the lines after the first are indented by ``lead`` too much.

    A model often begins with one blank more than the user typed and keeps to it;
    one that repeats the whole indentation means the other lines as they are.
    """
    if not opens:
        return least == typed + lead
    return least > typed + lead or (lead != typed and least == typed + lead)


def strip_line_ends(draft: Draft) -> None:
    """Take the blanks off all lines but the last, and blank lines off the end."""
    lines = draft.text.split("\n")
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
        lines[-1] = lines[-1].rstrip()
    stripped = [line.rstrip() for line in lines[:-1]]
    draft.set("\n".join([*stripped, lines[-1]]), "trailing-blanks")
