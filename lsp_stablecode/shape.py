"""One line or a block: what the cursor's place asks for, from the text alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from lsp_stablecode.lexis import (
    Inside,
    indent_width,
    is_closers_only,
    mask,
    net_closers,
    split_at_cursor,
    unify_line_ends,
)
from lsp_stablecode.syntax import CSS, syntax_of

MultiLine = Literal["auto", "always", "never"]
_MAX_LOOK_BACK = 60  # lines a logical line or a run of comments may go back


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted at the cursor. Columns are counted from 0.

    ``indent`` is the column that the block's lines keep to; where ``indent_fixed``
    is false it is only the least column, and the first generated line sets the rest.
    ``opener_indent`` is the column of the line that opened the surrounding block, -1
    where there is none; ``opener_word`` is that line's first word. ``whole_body``
    says that one blank line does not end the block.
    """

    kind: Literal["line", "block"]
    reason: str
    indent: int = 0
    indent_fixed: bool = True
    opener_indent: int = -1
    opener_word: str = ""
    whole_body: bool = False
    language_id: str = ""


class _Logical(NamedTuple):
    """A logical line: its masked text, its first line's column and first word."""

    code: str
    last: str
    indent: int
    word: str


def _logical_line(lines: list[str], index: int) -> _Logical:
    """Return the line at ``index`` with the lines above that its closers reach."""
    first = index
    depth = _unopened(lines[index])
    while depth > 0 and first > 0 and index - first < _MAX_LOOK_BACK:
        first -= 1
        depth += net_closers(lines[first])
    code = " ".join(lines[first : index + 1]).rstrip()
    word = re.match(r"\s*(\w*)", lines[first])
    return _Logical(
        code=code,
        last=lines[index].rstrip(),
        indent=indent_width(lines[first]),
        word=word.group(1) if word else "",
    )


def _unopened(code: str) -> int:
    depth = lowest = 0
    for character in code:
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            lowest = min(lowest, depth)
    return -lowest


Opens = Literal["", "bracket", "header", "label"]


def _opens(line: _Logical, language_id: str) -> Opens:
    """Return how a logical line opens a body below it, if it does."""
    syntax = syntax_of(language_id)
    code = line.code
    if syntax.label is not None and syntax.label.search(code):
        return "label"
    if code.endswith(("(", "[", "{")) and syntax.quotes:
        return "bracket"
    if syntax.header is None:
        return ""
    if syntax.layout:
        is_whole = net_closers(code) == 0
        return "header" if is_whole and syntax.header.search(code) else ""
    is_header = syntax.header.search(code) or syntax.header.search(line.last)
    return "header" if is_header else ""


_BRACE_HEADER = re.compile(
    r"(?:\)|=>|\b(?:else|do|try|finally|loop|unsafe|init|get|set))[^=(,:\[]*\{$"
    r"|^\s*(?:[\w@]+\s+)*(?:class|struct|interface|enum|impl|trait|namespace|fn|func"
    r"|fun|function|object|module|type|extension|protocol|if|for|while|switch|match"
    r"|when|union|record)\b.*\{$"
)


# a header without an end mark of its own, such as Ruby's, may still be being typed
_HALF_TYPED = re.compile(
    r"(?<!\bdo)(?<!\bthen)(?<!\belse)(?<!\bbegin)(?<!\bin)(?<!\brepeat)(?<!\bof)"
    r"(?<!\bwhere)(?<!\blet)(?<!\bwith)(?<=\w)$"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """The cursor's surroundings, read once."""

    before: str
    right: str
    code: str
    inside: Inside
    above: _Logical | None
    opens: Opens
    below: str | None
    below_gap: int


# From key to key, the line below a suggestion is looked at again.
_masked = lru_cache(maxsize=64)(mask)


def _look(prefix: str, suffix: str, language_id: str) -> _Place:
    before, right = split_at_cursor(prefix, suffix)
    masked, inside = _masked(unify_line_ends(prefix), language_id)
    lines = masked.split("\n")
    index = len(lines) - 1
    if not before.strip():
        index = _code_line_above(lines, index)
    above = _logical_line(lines, index) if index >= 0 and lines[index].strip() else None
    below, gap = None, 0
    for line in unify_line_ends(suffix[len(right) :]).split("\n")[1:]:
        if line.strip():
            below = line
            break
        gap += 1
    return _Place(
        before=before,
        right=right,
        code=lines[-1],
        inside=inside,
        above=above,
        opens=_opens(above, language_id) if above else "",
        below=below,
        below_gap=gap,
    )


def _code_line_above(lines: list[str], index: int) -> int:
    """Return the index of the code line above, past blanks, comments, docstrings."""
    lowest = max(index - _MAX_LOOK_BACK, -1)
    for above in range(index - 1, lowest, -1):
        line = lines[above]
        if line.strip(" \t_\"'"):
            return above
    return -1


def decide_shape(
    prefix: str, suffix: str, language_id: str, multi_line: MultiLine
) -> Shape:
    """Return what the cursor between ``prefix`` and ``suffix`` asks for.

    Both are windows of the document as it is, with its own line ends.
    """
    place = _look(prefix, suffix, language_id)
    kind, reason = _decide(place, language_id)
    if multi_line == "never":
        kind, reason = "line", "setting-never"
    elif multi_line == "always":
        kind, reason = "block", "setting-always"
    return _with_indentation(place, kind, reason, prefix, language_id)


def _decide(place: _Place, language_id: str) -> tuple[Literal["line", "block"], str]:
    is_blank = not place.before.strip()
    has_right = bool(place.right.strip())
    if has_right and not is_closers_only(place.right):
        return "line", "insert-line" if is_blank else "text-right"
    if place.inside != "code":
        return "line", place.inside
    if is_blank:
        return ("line", "closers-right") if has_right else _decide_blank(place)
    if has_right:
        is_pair = place.code.endswith("{") and place.right.lstrip().startswith("}")
        is_header = syntax_of(language_id) is CSS or _BRACE_HEADER.search(place.code)
        if is_pair and is_header:
            return "block", "open-brace"
        return "line", "closers-right"
    if not place.opens or place.above is None:
        return "line", "mid-line"
    if place.opens == "header" and _HALF_TYPED.search(place.code):
        return "line", "mid-line"
    if _has_body_below(place, place.above.indent, language_id):
        return "line", "body-below"
    return "block", "below-" + place.opens


_LEAVING = frozenset(("return", "raise", "throw", "break", "continue", "pass", "goto"))


def _decide_blank(place: _Place) -> tuple[Literal["line", "block"], str]:
    typed = indent_width(place.before)
    expected = typed
    if place.above is not None and (place.opens or not place.before):
        expected = max(typed, place.above.indent + bool(place.opens))
    is_near = place.below is not None and place.below_gap == 0
    if is_near and not place.before and place.above and place.above.word in _LEAVING:
        # Nothing follows `return` in its own block: this is a line of an outer one,
        # which goes on below.
        expected = min(expected, indent_width(place.below or ""))
    if is_near and _continues(place.below or "", expected):
        return "line", "gap"
    if place.opens:
        return "block", "below-" + place.opens
    if is_near:
        return "block", "end-of-body"
    return "block", "before-blank" if place.below is not None else "end-of-text"


def _continues(line: str, column: int) -> bool:
    """Return whether ``line`` goes on with a body at ``column``."""
    if line.lstrip()[0] in ")]}":
        return indent_width(line) > column
    return indent_width(line) >= column


def _has_body_below(place: _Place, column: int, language_id: str) -> bool:
    if place.below is None or place.below_gap:
        return False
    word = re.match(r"\s*(\w*)", place.below)
    syntax = syntax_of(language_id)
    if word and word.group(1) in syntax.closers | syntax.middles:
        return False
    return _continues(place.below, column + 1)


def _with_indentation(
    place: _Place,
    kind: Literal["line", "block"],
    reason: str,
    prefix: str,
    language_id: str,
) -> Shape:
    typed = indent_width(place.before)
    above_indent = place.above.indent if place.above else 0
    is_blank = not place.before.strip()
    if place.opens:
        least = above_indent + (place.opens != "label")
        indent_fixed = is_blank and typed > above_indent
        indent = typed if indent_fixed else least
        opener_indent = above_indent
        opener_word = place.above.word if place.above else ""
    else:
        indent = typed
        indent_fixed = is_blank and bool(place.before) and typed >= above_indent
        if not is_blank:
            indent, indent_fixed = indent_width(place.before), True
        opener_indent, opener_word = enclosing(prefix, indent)
    return Shape(
        kind=kind,
        reason=reason,
        indent=indent,
        indent_fixed=indent_fixed,
        opener_indent=opener_indent,
        opener_word=opener_word,
        whole_body=bool(place.opens),
        language_id=language_id,
    )


def enclosing(prefix: str, column: int) -> tuple[int, str]:
    """Return column and first word of the nearest line above left of ``column``.

    (-1, "") where there is none.
    """
    for line in reversed(unify_line_ends(prefix).split("\n")[:-1]):
        bare = line.strip()
        if bare and indent_width(line) < column:
            word = re.match(r"\w*", bare)
            return indent_width(line), word.group() if word else ""
    return -1, ""
