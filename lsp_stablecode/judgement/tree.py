"""What of a block leaves the document readable, by its syntax tree."""

from __future__ import annotations

import re
from typing import Final

from tree_sitter import Parser, Tree

from lsp_stablecode import trees
from lsp_stablecode.judgement.cliff import is_begun
from lsp_stablecode.lexis import mask, net_closers, split_at_cursor

__all__ = ["trim_to_syntax"]

_BYTES_BEFORE: Final = 12_000
_BYTES_AFTER: Final = 4_000
_MOST_TRIES: Final = 10
_MOST_ERRORS: Final = 5
"""Where there are more already, it is another dialect, and the tree tells nothing."""

_TOP_LEVEL = re.compile(rb"\n(?=[\w@#])")


def trim_to_syntax(
    prefix: str, text: str, suffix: str, replace_right: int, language_id: str
) -> tuple[str, str]:
    """Return what to keep of a text over several lines, and why less, if it is less.

    Lines are taken off its end until the document has no more errors with it than
    without. It stays as it is where its first line alone brings some, for a line in
    the making often does; where text stands right of the cursor; and where the
    language has no grammar.
    """
    lines = text.split("\n")
    _, right = split_at_cursor(prefix, suffix)
    if len(lines) < 2 or replace_right or right.strip():
        return text, ""
    grammar = trees.grammar_of(language_id)
    if grammar is None:
        return text, ""
    ends = [number for number, line in enumerate(lines, start=1) if line.strip()]
    if len(ends) < 2:
        return text, ""
    first = "\n".join(lines[: ends[0]]).rstrip()
    document = _Document(Parser(grammar), prefix, suffix)
    num_errors = document.num_errors(text)
    if not 0 < num_errors <= 4 * _MOST_ERRORS:
        return text, ""
    # Often the first line mends what the cursor's place has broken.
    most = min(document.num_errors(""), document.num_errors(first))
    if num_errors <= most or most > _MOST_ERRORS:
        return text, ""
    most_open = max(0, _num_open(text, language_id))
    for number in reversed(ends[-_MOST_TRIES - 1 : -1]):
        kept = "\n".join(lines[:number]).rstrip()
        # Recovering from an error, a parser may prefer less to all of it.
        if is_begun(lines[number - 1]) or _num_open(kept, language_id) > most_open:
            continue
        if document.num_errors(kept) <= most:
            return kept, "syntax"
    return text, ""


def _num_open(text: str, language_id: str) -> int:
    return -net_closers(mask(text, language_id)[0])


class _Document:
    """The text around the cursor, parsed again with one insertion after the other."""

    def __init__(self, parser: Parser, prefix: str, suffix: str) -> None:
        self._parser = parser
        before = prefix.encode("utf-8", "replace")
        after = suffix.encode("utf-8", "replace")
        # Far from the cursor everything is as it was, and reading it takes time.
        if len(before) > _BYTES_BEFORE:
            before = before[-_BYTES_BEFORE:]
            top = _TOP_LEVEL.search(before, 0, _BYTES_BEFORE // 2)
            before = before[top.end() if top else before.find(b"\n") + 1 :]
        if len(after) > _BYTES_AFTER:
            after = after[: after.rfind(b"\n", 0, _BYTES_AFTER) + 1]
        self._before, self._after = before, after
        self._point = _point(before)
        self._tree: Tree | None = None
        self._inserted = b""

    def num_errors(self, text: str) -> int:
        """Return how many places are unreadable with ``text`` at the cursor."""
        inserted = text.encode("utf-8", "replace")
        start = len(self._before)
        old = self._tree
        if old is not None:
            old.edit(
                start,
                start + len(self._inserted),
                start + len(inserted),
                self._point,
                _point(self._inserted, self._point),
                _point(inserted, self._point),
            )
        source = self._before + inserted + self._after
        self._tree = (
            self._parser.parse(source)
            if old is None
            else self._parser.parse(source, old)
        )
        self._inserted = inserted
        return len(trees.errors(self._tree))


def _point(text: bytes, start: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Return row and byte column of the end of ``text``, which begins at ``start``."""
    row = text.count(b"\n")
    column = len(text) - (text.rfind(b"\n") + 1)
    return (start[0] + row, column) if row else (start[0], start[1] + column)
