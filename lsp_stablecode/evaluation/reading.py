"""A source text read once for cutting: what is code, names, calls, brackets, lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from tree_sitter import Node, Tree

from lsp_stablecode import trees
from lsp_stablecode.lexis import Inside, indent_width, lex
from lsp_stablecode.syntax import syntax_of

PAIRS = {")": "(", "]": "[", "}": "{"}
MOST_STATEMENT_LINES = 60
"""What a line takes along with it when it is cut (its body) is at most so long."""

_KINDS: tuple[Inside, ...] = ("code", "string", "comment")
_STRING = re.compile(
    "string|char(?:acter)?_literal|rune_literal|regex|heredoc|raw_text|template_lit"
)
_NAME = re.compile(r"[^\W\d]\w*")
_NAME_TYPE = re.compile(r"identifier|name$|^word$|^constant$|_variable$")
_CALL = re.compile(r"([^\W\d]\w*)[!?]?\(")
_NO_CALLS = re.compile(
    "if|for|while|switch|catch|return|match|when|elif|elsif|and|or|not|in|def|fn|func"
    "|function|fun|sub|with|case|until|unless",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    "else|elif|elsif|elseif|except|finally|catch|ensure|rescue|then"
)


@dataclass(frozen=True)
class Reading:
    r"""A text with ``\n`` line ends. Offsets count characters, lines from 0."""

    text: str
    language_id: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.split("\n")

    @cached_property
    def starts(self) -> list[int]:
        """The offset at which each line begins."""
        return [0, *accumulate(len(line) + 1 for line in self.lines[:-1])]

    @cached_property
    def tree(self) -> Tree | None:
        """The syntax tree, where the language has a grammar."""
        return trees.parse(self.text, self.language_id)

    @cached_property
    def _offsets(self) -> list[int] | None:
        """The character at each byte, ``None`` where they are the same."""
        if self.text.isascii():
            return None
        offsets = []
        for index, character in enumerate(self.text):
            offsets += [index] * len(character.encode("utf-8", "replace"))
        return [*offsets, len(self.text)]

    def span(self, node: Node) -> tuple[int, int]:
        """Return where a node begins and ends."""
        if self._offsets is None:
            return node.start_byte, node.end_byte
        return self._offsets[node.start_byte], self._offsets[node.end_byte]

    def line_of(self, offset: int) -> int:
        """Return the line that holds an offset."""
        return bisect_right(self.starts, offset) - 1

    def end_of(self, line: int) -> int:
        """Return the offset of a line's end."""
        return self.starts[line] + len(self.lines[line])

    def inside(self, offset: int) -> Inside:
        """Return what the cursor at ``offset`` is inside of."""
        if not 0 < offset < len(self.text):
            return "code"
        # At a border the cursor is outside of it.
        left, right = self._marks[offset - 1], self._marks[offset]
        return _KINDS[left] if left == right else "code"

    @cached_property
    def _marks(self) -> bytearray:
        marks = bytearray(len(self.text))
        for start, end, kind in self._literals():
            marks[start:end] = bytes((kind,)) * (end - start)
        return marks

    def _literals(self) -> Iterator[tuple[int, int, int]]:
        if self.tree is None:
            for span in lex(self.text, self.language_id, is_window=False):
                yield span.start, span.end, 1 if span.kind == "string" else 2
            return
        pending = [self.tree.root_node]
        while pending:
            node = pending.pop()
            if node.is_named and "comment" in node.type:
                yield *self.span(node), 2
            elif node.is_named and _STRING.search(node.type):
                yield *self.span(node), 1
            else:
                pending.extend(node.children)

    @cached_property
    def code(self) -> str:
        """The text with comments blanked and strings underscored, of equal length."""
        return "".join(
            character if mark == 0 or character == "\n" else (" " if mark == 2 else "_")
            for character, mark in zip(self.text, self._marks, strict=True)
        )

    def code_line(self, line: int) -> str:
        """Return a line of `code`."""
        return self.code[self.starts[line] : self.end_of(line)]

    @cached_property
    def pairs(self) -> dict[int, int]:
        """Each bracket's partner, in both directions."""
        found: dict[int, int] = {}
        stack: list[int] = []
        for match in re.finditer(r"[()\[\]{}]", self.code):
            if match.group() in "([{":
                stack.append(match.start())
            elif stack and self.code[stack[-1]] == PAIRS[match.group()]:
                opener = stack.pop()
                found[opener], found[match.start()] = match.start(), opener
        return found

    @cached_property
    def names(self) -> list[tuple[int, int]]:
        """Where each identifier begins and ends; no keywords where there is a tree."""
        if self.tree is None:
            return [match.span() for match in _NAME.finditer(self.code)]
        found = []
        for node in trees.walk(self.tree.root_node):
            if node.is_named and not node.child_count and _NAME_TYPE.search(node.type):
                start, end = self.span(node)
                if _NAME.fullmatch(self.code, start, end):
                    found.append((start, end))
        return found

    @cached_property
    def calls(self) -> list[int]:
        """The offsets of the round brackets that open a call's arguments."""
        if self.tree is None:
            return [
                match.end() - 1
                for match in _CALL.finditer(self.code)
                if not _NO_CALLS.fullmatch(match[1])
            ]
        found = []
        for node in trees.walk(self.tree.root_node):
            parent = node.parent if node.type == "(" else None
            if parent is not None and (
                "argument" in parent.type
                or parent.type in ("token_tree", "call_expression")
            ):
                found.append(self.span(node)[0])
        return found

    # What belongs together ---------------------------------------------------------

    def opens_body(self, line: int) -> bool:
        """Return whether a line ends by opening a body on the lines below it."""
        bare = self.code_line(line).rstrip()
        if bare.endswith(("{", "(", "[")):
            return True
        syntax = syntax_of(self.language_id)
        return syntax.header is not None and bool(syntax.header.search(bare))

    def body_of(self, line: int) -> tuple[int, int] | None:
        """Return the first and last line of the body that a line opens.

        They are the deeper lines that follow. ``None`` where nothing or a blank line
        follows, or where a bracket's body does not end with its closer's line.
        """
        column = indent_width(self.lines[line])
        last = line
        for below in range(line + 1, len(self.lines)):
            if not self.lines[below].strip():
                continue
            if indent_width(self.lines[below]) <= column:
                break
            last = below
        if last == line or not self.lines[line + 1].strip():
            return None
        bare = self.code_line(line).rstrip()
        if bare.endswith(("{", "(", "[")):
            closer = self.pairs.get(self.starts[line] + len(bare) - 1, -1)
            if closer < 0 or not last < self.line_of(closer) <= last + 2:
                return None
            if self.lines[self.line_of(closer)].lstrip()[:1] != self.text[closer]:
                return None
        return line + 1, last

    def statement_end(self, offset: int) -> int | None:
        """Return where the line of ``offset`` ends, with what it alone brings.

        Whoever has not typed the rest of the line has not typed the body that it
        opens either. ``None`` where that cannot be told, or is too long.
        """
        line = first = self.line_of(offset)
        while True:
            # a closer of what opens right of the cursor
            furthest = max(
                (
                    self.pairs.get(place, place)
                    for place in range(offset, self.end_of(line))
                    if self.text[place] in "([{" and not self._marks[place]
                ),
                default=offset,
            )
            if self.line_of(furthest) > line:
                line = self.line_of(furthest)
            elif (last := self._layout_end(first, line)) is not None and last > line:
                line = last
            else:
                break
            if line - first > MOST_STATEMENT_LINES:
                return None
        following = next((one for one in self.lines[line + 1 :] if one.strip()), "")
        word = re.match(r"\s*(\w*)", following)
        if line > first and word and _CONTINUES.fullmatch(word[1]):
            return None
        return self.end_of(line)

    def _layout_end(self, first: int, line: int) -> int | None:
        """Return the last line of a body without brackets, its ``end`` included."""
        syntax = syntax_of(self.language_id)
        bare = self.code_line(line).rstrip()
        if syntax.header is None or not syntax.header.search(bare):
            return None
        column = indent_width(self.lines[first])
        last = line
        for below in range(line + 1, len(self.lines)):
            text = self.lines[below]
            if not text.strip():
                continue
            word = re.match(r"\s*(\w*)", text)
            name = word[1] if word else ""
            if indent_width(text) > column:
                last = below
            elif indent_width(text) == column and name in syntax.closers:
                return below
            elif indent_width(text) == column and name in syntax.middles:
                last = below
            else:
                break
        return last
