"""What an editor needs to know of a text to help: closers and levels of indentation."""

from __future__ import annotations

import re

from lsp_stablecode.bench.scripts import Script
from lsp_stablecode.brackets import PAIRS
from lsp_stablecode.lexis import lex

OPENERS = frozenset(PAIRS.values())


def find_partners(script: Script) -> dict[int, int]:
    """Return the closers of the openers in the text, by position.

    Brackets outside strings and comments, and quotes of strings on one line. One
    whose closer lies outside the text gets none from the editor here.
    """
    start = len(script.before)
    whole = script.before + script.typed
    partners: dict[int, int] = {}
    stack: list[int] = []

    def read_code(begin: int, end: int) -> None:
        for position in range(max(begin, start), end):
            character = whole[position]
            if character in OPENERS:
                stack.append(position)
            elif character in PAIRS:
                depth = len(stack)
                while depth and whole[stack[depth - 1]] != PAIRS[character]:
                    depth -= 1
                if depth:
                    partners[stack[depth - 1] - start] = position - start
                    del stack[depth - 1 :]

    position = 0
    for span in lex(whole, script.language_id, is_window=False):
        read_code(position, span.start)
        position = span.end
        first, last = span.start, span.end - 1
        if (
            span.kind == "string"
            and span.closed
            and span.close_length == 1
            and first >= start
            and whole[first] == whole[last]
            and "\n" not in whole[first:last]
        ):
            partners[first - start] = last - start
    read_code(position, len(whole))
    return partners


def indentation_unit(text: str) -> str:
    """Return what one level of indentation is: a tab, or the fewest blanks used."""
    indents = re.findall(r"^([ \t]+)\S", text, re.MULTILINE)
    if sum(one[0] == "\t" for one in indents) * 2 > len(indents):
        return "\t"
    widths = [len(one) for one in indents if one[0] == " "]
    usual = [one for one in (2, 4, 8) if widths.count(one) > len(widths) * 0.05]
    return " " * (usual[0] if usual else 4)
