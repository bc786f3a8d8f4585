"""When a generated text is finished, decided while it is being generated.

A rule sees all text so far after each token, the last line mostly incomplete, and
decides only what no further token can change: once it cuts, it cuts every longer text
at the same place. Reasons: ``line``, ``dedent``, ``closed``, ``suffix``,
``repetition``, ``blank-lines``, ``fence``, ``max-lines``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from lsp_stablecode.lexis import (
    Span,
    indent_width,
    is_closers_only,
    lex,
    mask,
    net_closers,
    split_at_cursor,
    unify_line_ends,
)
from lsp_stablecode.shape import Shape, enclosing
from lsp_stablecode.syntax import Syntax, syntax_of
from model import Cut, StopRule

__all__ = ["MAX_BLOCK_LINES", "is_trivial", "make_stop_rule", "normal_line"]

MAX_BLOCK_LINES = 24
"""Non-blank lines of a block; more is rarely read before it is accepted."""

_MAX_LEADING_BLANKS = 3
_NUM_SUFFIX_LINES = 2
_OPEN_LOOK_BACK = 4000
_PROSE = frozenset(("markdown", "mdx", "quarto", "restructuredtext", "plaintext"))
_QUOTES = "\"'`["
_FREE_INDENT_LENGTH = 16  # so long a line is the same line in whatever column


_NEEDLESS_BLANKS = re.compile(r"(?<!\w) | (?!\w)")


def normal_line(line: str) -> str:
    """Return ``line`` with one blank between two words and none elsewhere."""
    return _NEEDLESS_BLANKS.sub("", " ".join(line.split()))


def is_trivial(line: str) -> bool:
    """Return whether ``line`` says too little to be recognised by (``}``, ``);``)."""
    return sum(c.isalnum() or c == "_" for c in line) < 3


# `i += 1` is short and still not said twice; an element of a list (`0,`) often is.
_SHORT_STATEMENT = re.compile(r"\w.*(?:=|\(|\+\+|--)|(?:\+\+|--)\w")


class _Line(NamedTuple):
    """What a line alone says, its column counted from its own start."""

    content: str
    indent: int
    normal: str
    trivial: bool
    loop_end: int
    net_closers: int
    reopens: bool


# A loop inside a line. Words repeat sooner than lists and rulers legitimately do.
_LOOP = re.compile(
    r"(?P<word>(?=\w*[^\W\d_])\w{2,16}?)(?P=word){5,}"
    r"|(?P<letter>[^\W\d_])(?P=letter){19,}"
    r"|(?P<list>(?=\S..)[^\w\n]{0,12}\w[^\n]{0,20}?)(?P=list){9,}"
    r"|(?P<mark>[^\w\s])(?P=mark){99,}"
)
_MIN_LOOP = 12  # the shortest text that _LOOP can match


def _loop_end(line: str) -> int:
    """Return where the first period of an endless loop in ``line`` ends, or -1."""
    if len(line) < _MIN_LOOP:
        return -1
    match = _LOOP.search(line)
    return match.end(match.lastgroup or 0) if match else -1


@lru_cache(maxsize=1024)
def _read_line(line: str, language_id: str) -> _Line:
    content = line.strip()
    code = mask(content, language_id)[0].rstrip()
    return _Line(
        content=content,
        indent=indent_width(line),
        normal=normal_line(content),
        trivial=is_trivial(content),
        loop_end=_loop_end(line),
        net_closers=net_closers(code),
        reopens=code.endswith(("{", "(", "[", ":", "=>", "->", "do", "then", "else")),
    )


@dataclass(frozen=True, slots=True)
class _Context:
    """What the rule knows of the surroundings, read once per request."""

    shape: Shape
    syntax: Syntax
    before: str
    right: str
    prefix: str
    above: tuple[str, ...]
    below: tuple[tuple[int, str], ...]
    is_near: bool  # whether no blank line comes before what stands below
    is_open: bool  # whether a bracket of the lines above is open

    @property
    def is_blank(self) -> bool:
        return not self.before.strip()


def make_stop_rule(shape: Shape, prefix: str, suffix: str) -> StopRule:
    """Return the rule for one request; a pure function of the text so far."""
    before, right = split_at_cursor(prefix, suffix)
    rest = unify_line_ends(suffix[len(right) :])
    if not before.strip() and right.strip():
        rest = before + right + rest
    rest_lines = rest.split("\n")
    below = [line for line in rest_lines if line.strip()][:_NUM_SUFFIX_LINES]
    # The first piece is the end of the cursor's own line, or the line pushed down.
    is_near = any(line.strip() for line in rest_lines[:2])
    tail = unify_line_ends(prefix[: len(prefix) - len(before)])[-4000:].split("\n")
    above = [normal_line(line) for line in tail if line.strip()][-2:]
    syntax = syntax_of(shape.language_id)
    context = _Context(
        shape=shape,
        syntax=syntax,
        before=before,
        right=right,
        prefix=prefix,
        above=tuple(above),
        below=tuple((indent_width(line), normal_line(line)) for line in below),
        is_near=is_near,
        is_open=net_closers(mask(prefix[-_OPEN_LOOK_BACK:], shape.language_id)[0]) < 0,
    )
    if shape.kind == "line":
        return lambda text: _stop_line(context, text)
    return lambda text: _Scan(context).run(text)


def _same_length_lines(text: str) -> list[str]:
    """Return the lines of ``text``; each line end counts one character."""
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    return text.split("\n")


def _stop_line(context: _Context, text: str) -> Cut | None:
    lines = _same_length_lines(text)
    start = 0
    for index, line in enumerate(lines):
        is_complete = index < len(lines) - 1
        loop = _read_line(line, context.shape.language_id).loop_end
        if loop >= 0:
            return Cut(0, "repetition")
        if line.strip():
            if not is_complete:
                return None
            is_first = index == 0
            if context.is_blank and _equals_below(context, line, is_first):
                return Cut(0, "suffix")
            if _is_fence(line, context):
                return Cut(0, "fence")
            end = start + len(line.rstrip())
            if _opens_string(context, text, start + len(line)):
                return _stop_string(context, lines, index, start + len(line))
            if _lacks_body(context, line, is_first):
                return _stop_body(context, lines, index, end)
            return Cut(end, "line")
        if is_complete and not context.is_blank:
            return Cut(0, "line")
        if is_complete and index + 1 >= _MAX_LEADING_BLANKS:
            return Cut(0, "blank-lines")
        start += len(line) + 1
    return None


def _opens_string(context: _Context, text: str, end: int) -> bool:
    """Return whether ``end`` is inside of a string over several lines."""
    if context.right.strip() or context.shape.reason == "setting-never":
        return False
    if context.shape.reason in ("string", "comment"):
        return False
    return _string_at(text, end, context.shape.language_id) is not None


def _string_at(text: str, place: int, language_id: str) -> Span | None:
    for span in lex(text, language_id, is_window=False):
        if span.kind == "string" and span.start < place < span.end:
            return span
    return None


def _stop_string(
    context: _Context, lines: list[str], first: int, end: int
) -> Cut | None:
    """Stop after the line that ends the string which is open at ``end``."""
    text = "\n".join(lines)
    for index in range(first + 1, len(lines) - 1):
        line = lines[index]
        line_end = sum(len(one) + 1 for one in lines[: index + 1]) - 1
        if _equals_below(context, line, is_first=False):
            return Cut(len("\n".join(lines[:index]).rstrip()), "suffix")
        if (
            _string_at(text[: line_end + 1], line_end, context.shape.language_id)
            is None
        ):
            return Cut(len(text[:line_end].rstrip()), "line")
        if index - first >= MAX_BLOCK_LINES // 2:
            return Cut(0, "max-lines")
    return None


def _lacks_body(context: _Context, line: str, is_first: bool) -> bool:
    """Return whether a line in a gap opens a body that nothing below is.

    Accepted alone it would leave broken code behind.
    """
    if context.shape.reason != "gap":
        return False
    whole = context.before + line if is_first else line
    code = mask(whole, context.shape.language_id)[0].rstrip()
    if not code.endswith(":" if context.syntax.layout else "{"):
        return False
    return not context.below or context.below[0][0] <= indent_width(whole)


def _stop_body(
    context: _Context, lines: list[str], header: int, end: int
) -> Cut | None:
    """Stop after the body of the header in line ``header``, which ends at ``end``."""
    language_id = context.shape.language_id
    first = lines[header] if header else context.before + lines[header]
    column = indent_width(first)
    depth = _read_line(lines[header], language_id).net_closers
    kept = end
    start = sum(len(line) + 1 for line in lines[: header + 1])
    for index in range(header + 1, len(lines)):
        line = lines[index]
        is_complete = index < len(lines) - 1
        if index - header > MAX_BLOCK_LINES // 2:
            return Cut(kept, "max-lines")
        if line.strip():
            read = _read_line(line, language_id)
            is_closer = read.content[0] in ")]}"
            if read.indent <= column and not (is_closer and depth < 0):
                return Cut(kept, "dedent")
            if not is_complete:
                return None
            depth += read.net_closers
            kept = start + len(line.rstrip())
            if not context.syntax.layout and depth >= 0:
                return Cut(kept, "closed")
        start += len(line) + 1
    return None


def _is_fence(line: str, context: _Context) -> bool:
    """Return whether a line is Markdown's fence; models end their answers with it."""
    return line.lstrip().startswith("```") and context.shape.language_id not in _PROSE


def _equals_below(context: _Context, line: str, is_first: bool) -> bool:
    """Return whether ``line`` is the first line below, and not a trivial one."""
    if not context.below:
        return False
    indent, normal = context.below[0]
    whole = context.before + line if is_first else line
    return (
        normal_line(line) == normal
        and not is_trivial(normal)
        and _same_column(context, indent_width(whole), indent, normal)
    )


def _same_column(context: _Context, ours: int, theirs: int, normal: str) -> bool:
    if ours == theirs:
        return True
    return not context.syntax.layout and len(normal) >= _FREE_INDENT_LENGTH


class _Scan:
    """One pass over a block's text; the first verdict in reading order counts."""

    def __init__(self, context: _Context) -> None:
        self.context = context
        self.shape = context.shape
        self.block_indent = self.shape.indent if self.shape.indent_fixed else -1
        self.opener_indent = self.shape.opener_indent
        self.kept_end = 0  # where the last line that stays ends
        self.blanks = 0
        self.depth = 0  # brackets closed more than opened, since the cursor
        self.normals: list[str] = []
        self.trivial: list[bool] = []
        self.ends: list[int] = []
        self.starts: list[int] = []  # kept_end before each line
        self.breaks: list[int] = []  # how many lines stood before each blank line

    def run(self, text: str) -> Cut | None:
        lines = _same_length_lines(text)
        in_string = self._lines_in_strings(text, lines)
        start = 0
        for index, line in enumerate(lines):
            is_complete = index < len(lines) - 1
            read = _read_line(line, self.shape.language_id)
            if read.loop_end >= 0:
                return Cut(self.kept_end, "repetition")
            if index == 0 and not self.context.is_blank:
                cut = self._rest_of_line(read, line, is_complete)
            elif not read.content:
                cut = self._blank_line() if is_complete else None
            elif _is_fence(line, self.context):
                return Cut(self.kept_end, "fence")
            else:
                end = start + len(line.rstrip())
                indent = read.indent
                if index == 0:
                    indent = indent_width(self.context.before + line)
                cut = self._line(read, indent, end, is_complete, index in in_string)
            if cut is not None:
                return cut
            start += len(line) + 1
        return None

    def _lines_in_strings(self, text: str, lines: list[str]) -> frozenset[int]:
        """Return the lines that begin inside a string over several lines."""
        if len(lines) < 2 or not any(quote in text for quote in _QUOTES):
            return frozenset()
        inside: set[int] = set()
        for span in lex(text, self.shape.language_id, is_window=False):
            if span.kind == "string" and "\n" in text[span.start : span.end]:
                first = text.count("\n", 0, span.start)
                last = first + text.count("\n", span.start, span.end)
                inside.update(range(first + 1, last + 1))
        return frozenset(inside)

    def _rest_of_line(self, read: _Line, line: str, is_complete: bool) -> Cut | None:
        if is_complete:
            self.kept_end = len(line.rstrip())
            self.depth += read.net_closers
            if read.content and self._closes_the_cursors_bracket():
                return Cut(self.kept_end, "closed")
        return None

    def _closes_the_cursors_bracket(self) -> bool:
        bracket = self.shape.reason in ("below-bracket", "open-brace")
        return bracket and self.depth > 0 and not self.context.is_blank

    def _blank_line(self) -> Cut | None:
        self.blanks += 1
        limit = 2 if self.kept_end else _MAX_LEADING_BLANKS
        if self.blanks >= limit:
            return Cut(self.kept_end, "blank-lines")
        self.breaks.append(len(self.normals))
        return None

    def _line(
        self, read: _Line, indent: int, end: int, is_complete: bool, in_string: bool
    ) -> Cut | None:
        closes = False
        if not in_string:
            role = self._role(read, indent, is_complete)
            if role == "open":
                return None
            if role in ("dedent", "suffix", "blank-lines"):
                return Cut(self.kept_end, role)
            closes = role == "closer"
        if len(self.normals) >= MAX_BLOCK_LINES:
            return self._too_long()
        if not is_complete:
            return None
        self.starts.append(self.kept_end)
        self.normals.append(read.normal)
        self.trivial.append(read.trivial)
        self.ends.append(end)
        self.depth += read.net_closers
        cut = self._meets_suffix(indent) or self._repeats()
        if cut is not None:
            return cut
        self.kept_end = end
        self.blanks = 0
        is_first = len(self.normals) == 1
        if is_first and read.content[0] in ")]}" and self.context.is_open:
            closes = True  # it ends what the lines above began, and is all of it
        if closes and not read.reopens:
            return Cut(end, "closed")
        if self._opens_what_is_below(read, indent):
            return Cut(end, "suffix")
        if self._closes_the_cursors_bracket() and not read.reopens:
            return Cut(end, "closed")
        return None

    def _opens_what_is_below(self, read: _Line, indent: int) -> bool:
        """Return whether a line is the header of the body that stands below."""
        context = self.context
        if not context.is_near or context.below[0][0] <= indent:
            return False
        code = mask(read.content, self.shape.language_id)[0].rstrip()
        return code.endswith(":" if context.syntax.layout else "{")

    def _role(self, read: _Line, indent: int, is_complete: bool) -> str:
        """Return what a line is to the block.

        ``body``, ``closer`` (ends it and belongs to it), ``middle``, a reason to cut
        before it, or ``open`` where its first word is not complete yet.
        """
        content = read.content
        if content[0] == "#" and self.context.syntax.header is None:
            return "body"  # the C preprocessor keeps columns of its own
        is_dedent = indent < self._least(indent)
        is_break = self.blanks > 0 and self.kept_end > 0
        is_new = is_break and not self.shape.whole_body and indent <= self.block_indent
        if not is_dedent and not is_new:
            return "body"
        mark = self._closing_mark(content, is_complete)
        if mark == "open":
            return "open"
        if not is_dedent:
            return "body" if mark else "blank-lines"
        if not mark or indent < self.opener_indent or self.opener_indent < 0:
            return "dedent"
        if self._suffix_brings(content, indent):
            return "suffix"
        return mark

    def _least(self, indent: int) -> int:
        """Return the least column of the block; the first line may settle it."""
        if self.block_indent >= 0:
            return self.block_indent
        if indent >= self.shape.indent:
            self.block_indent = indent
            if not self.shape.whole_body:
                self.opener_indent, _ = enclosing(self.context.prefix, indent)
            return indent
        return self.shape.indent

    def _closing_mark(self, content: str, is_complete: bool) -> str:
        """Return ``closer``, ``middle``, ``open`` (not known yet) or nothing."""
        if content[0] in ")]}":
            return "closer"
        if content[0] == "<":
            if content == "<" and not is_complete:
                return "open"
            return "closer" if content[:2] == "</" else ""
        syntax = self.context.syntax
        words = syntax.closers | syntax.middles
        if not words:
            return ""
        match = re.match(r"\w+", content)
        if match is None:
            return ""
        word = match.group()
        if len(word) == len(content) and not is_complete:
            return "open" if any(w.startswith(word) for w in words) else ""
        if word in syntax.closers:
            return "closer"
        if word in syntax.middles and self._may_continue():
            return "middle"
        return ""

    def _may_continue(self) -> bool:
        # Python's `else` makes another block; `try` alone is no statement
        return not self.context.syntax.layout or self.shape.opener_word == "try"

    def _suffix_brings(self, content: str, indent: int) -> bool:
        if not self.context.below:
            return False
        below_indent, below = self.context.below[0]
        if below_indent != indent:
            return False
        if content[0] in ")]}" or content[:2] == "</":
            return below[0] == content[0]
        words = self.context.syntax.closers | self.context.syntax.middles
        match = re.match(r"\w+", below)
        return match is not None and match.group() in words

    def _meets_suffix(self, indent: int) -> Cut | None:
        below = self.context.below
        if not below:
            return None
        theirs, normal = below[0]
        last = len(self.normals) - 1
        if self.normals[last] == normal:
            is_same = _same_column(self.context, indent, theirs, normal)
            is_surplus = self.depth > 0 and is_closers_only(normal)
            says_enough = not self.trivial[last] or _SHORT_STATEMENT.search(normal)
            if is_same and (says_enough or is_surplus):
                return Cut(self.starts[last], "suffix")
        if (
            last > 0
            and len(below) > 1
            and self.normals[last - 1] == normal
            and self.normals[last] == below[1][1]
            and indent == below[1][0]
        ):
            return Cut(self.starts[last - 1], "suffix")
        return None

    def _repeats(self) -> Cut | None:
        normals, above = self.normals, self.context.above
        num = len(normals)
        for period in (1, 2, 3):
            if num < 3 * period or all(self.trivial[-period:]):
                continue
            cycle = normals[-period:]
            if (
                cycle
                == normals[-2 * period : -period]
                == normals[-3 * period : -2 * period]
            ):
                return Cut(self.ends[num - 2 * period - 1], "repetition")
        if num != 2 or not above or not self.context.is_blank:
            return None
        is_echo = tuple(normals) == above or normals == [above[-1]] * 2
        if is_echo and not all(self.trivial):
            return Cut(0, "repetition")
        return None

    def _too_long(self) -> Cut:
        """Return a cut at the last blank line of the block's second half, or here."""
        breaks = [n for n in self.breaks if n > MAX_BLOCK_LINES // 2]
        num = breaks[-1] if breaks else MAX_BLOCK_LINES
        return Cut(self.ends[num - 1], "max-lines")
