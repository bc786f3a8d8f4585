"""When to stop writing because the model has stopped knowing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from lsp_stablecode.shape import Shape
from model import Cut, GeneratedToken, TokenRule

__all__ = ["LEAST_LINE_PROBABILITY", "is_begun", "make_token_rule"]

LEAST_LINE_PROBABILITY = 0.08
"""A further line that is less probable than this is not shown."""

# A line that ends so is only begun.
_OPENS = re.compile(r"(?:[\[({:\\]|=>|->|\b(?:do|then|else|begin|try|where))$")
_OPEN_TAG = re.compile(r"<[A-Za-z][^<>]*$")


def make_token_rule(
    shape: Shape,
    *,
    least_first_line: float,
    least_line_probability: float = LEAST_LINE_PROBABILITY,
) -> TokenRule:
    """Return the rule for one automatic request.

    The first line is given up, with nothing kept (``unsure``), when its probability
    falls below ``least_first_line``. A block ends before the first further line that
    falls below ``least_line_probability`` (``cliff``), unless it would end within a
    tag. A token that ends a line counts to that line.
    """
    least_first = math.log(max(least_first_line, 1e-12))
    # Only a block is cut at its lines; the body of one line belongs to it.
    least_further = (
        math.log(max(least_line_probability, 1e-12))
        if shape.kind == "block"
        else -math.inf
    )

    def rule(tokens: Sequence[GeneratedToken]) -> Cut | None:
        # Read again each time, so that one rule serves several candidates; there are
        # at most some hundred tokens.
        logprob = 0.0
        text = ""
        start = 0  # of the line being written
        lines: list[tuple[int, str]] = []  # whole ones with something in them
        for token in tokens:
            logprob += token.logprob
            if not lines and logprob < least_first:
                return Cut(0, "unsure")
            if lines and logprob < least_further:
                end = _end_of_whole(lines)
                if end is not None:
                    return Cut(end, "cliff")
            text += token.text
            while (end := text.find("\n", start)) >= 0:
                bare = text[start:end].rstrip()
                if bare:
                    lines.append((start + len(bare), bare))
                    logprob = 0.0
                start = end + 1
        return None

    return rule


def is_begun(line: str) -> bool:
    """Return whether a line opens something that is to follow below it."""
    return _OPENS.search(line.rstrip()) is not None


def _end_of_whole(lines: list[tuple[int, str]]) -> int | None:
    """Return the end of the last line that opens nothing; the first one's at least.

    ``None`` where that is half a tag, which is half a line.
    """
    for end, line in reversed(lines[1:]):
        if not _OPENS.search(line) and not _OPEN_TAG.search(line):
            return end
    end, line = lines[0]
    return None if _OPEN_TAG.search(line) else end
