"""Brackets of a text and of what stands before it, matched with each other."""

from __future__ import annotations

import re
from typing import NamedTuple

from lsp_stablecode.lexis import lex

PAIRS = {")": "(", "]": "[", "}": "{"}
_BRACKET = re.compile(r"[()\[\]{}]")
_QUOTE = re.compile(r"[\"'`\[]")  # a letter or a sign may come before it


class Closer(NamedTuple):
    """A closer in the text whose opener stands before the text, or nowhere (-1)."""

    position: int
    character: str
    opener: int


class Brackets(NamedTuple):
    """How the text's brackets and quotes stand to the prefix's.

    ``outside`` and ``inside`` are the openers still open after the text, by position
    in prefix + text: those of the prefix and those of the text.
    """

    closers: tuple[Closer, ...]
    outside: tuple[tuple[int, str], ...]
    inside: tuple[tuple[int, str], ...]
    in_code: bool


def match_brackets(prefix: str, text: str, language_id: str) -> Brackets:
    """Match the brackets and quotes of ``text`` with those before it.

    Both are read as one, with strings and comments left out.
    """
    whole = prefix + text
    start = len(prefix)
    stack: list[tuple[int, str]] = []
    closers: list[Closer] = []
    in_code = True

    def read_code(begin: int, end: int) -> None:
        for match in _BRACKET.finditer(whole, begin, end):
            character, position = match.group(), match.start()
            if character in "([{":
                stack.append((position, character))
                continue
            opener = -1
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth][1] == PAIRS[character]:
                    opener = stack[depth][0]
                    del stack[depth:]
                    break
            if position >= start and opener < start:
                closers.append(Closer(position - start, character, opener))

    position = 0
    for span in lex(whole, language_id):
        read_code(position, span.start)
        position = span.end
        if span.start < start < span.end or (
            span.end == start and not span.closed and span.end == len(whole)
        ):
            in_code = False
        if span.kind != "string":
            continue
        if not span.closed and span.end == len(whole):
            quote = _QUOTE.search(whole, span.start, span.end)
            stack.append((span.start, quote.group() if quote else ""))
        elif span.closed and span.start < start < span.end:
            begin = span.end - span.close_length
            closers.extend(
                Closer(place - start, whole[place], span.start)
                for place in range(max(begin, start), span.end)
            )
    read_code(position, len(whole))
    return Brackets(
        closers=tuple(closers),
        outside=tuple(one for one in stack if one[0] < start),
        inside=tuple(one for one in stack if one[0] >= start),
        in_code=in_code,
    )


def leading_unopened(right: str, kind: str) -> int:
    """Return how many closers of ``kind`` ``right`` has before any of another kind."""
    stack: list[str] = []
    num = 0
    for character in right:
        if character in "([{":
            stack.append(character)
        elif character in PAIRS:
            if stack and stack[-1] == PAIRS[character]:
                stack.pop()
            elif character == kind:
                num += 1
            else:
                break
    return num
