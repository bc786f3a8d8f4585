"""Whether brackets still close what they closed before a text came between them.

A text between prefix and suffix may close what is open in the prefix, but not what
the suffix closes already. Two readings of the document say so, without the text and
with it: each closer of the suffix keeps an opener, and in the same column if it stands
first on its line. What was not closed before, since somebody is typing it, is free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from lsp_stablecode.brackets import PAIRS
from lsp_stablecode.lexis import Span, indent_width, lex, mask
from lsp_stablecode.syntax import syntax_of

__all__ = ["Document", "Opener", "Pairing", "cut_surplus", "pair_brackets"]

_MARK = re.compile(r"[()\[\]{}\n]")
_MOST_LINES_BELOW = 200
_WINDOW_CHARACTERS = 6000
"""A prefix as long as that may be a window, with an opener out of sight above it."""

_FIRST_LINE = re.compile(r"\s*?([ \t]*)[\w@\"'/#$]")
_STATEMENT = re.compile(r"\n[ \t]*(?!(?:case|default)\b|\w+:)(@|\w+)")
_CASE = re.compile(r"\bcase\b.*\bin\b")
_SHELLS = frozenset(("shellscript", "sh", "bash", "zsh"))


class Opener(NamedTuple):
    """An opening bracket and the column of the line that its statement begins on."""

    position: int
    character: str
    column: int


class Pair(NamedTuple):
    """A closer's opener; the closer's column if it is first on its line, else -1."""

    opener: Opener | None
    column: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """The brackets of a text. ``closers`` are by position; nothing closes ``left``."""

    closers: dict[int, Pair]
    left: tuple[Opener, ...]
    spans: tuple[Span, ...]


# Whoever types what is suggested leaves the whole as it was; several editors do.
@lru_cache(maxsize=64)
def pair_brackets(text: str, language_id: str) -> Pairing:
    """Pair a text's brackets, those in strings and comments left out.

    A closer that is first on its line prefers an opener in its own column to nearer
    ones in deeper columns, which nobody closed.
    """
    stack: list[Opener] = []
    passed: list[Opener] = []  # a closer of another kind has gone by
    closers: dict[int, Pair] = {}
    spans = lex(text, language_id)
    end_words = syntax_of(language_id).closers
    line_start, column = 0, indent_width(text)
    for position in _marks(text, spans):
        mark = text[position]
        if mark == "\n":
            line_start = position + 1
            column = indent_width(text[line_start : line_start + 200])
        elif mark in "([{":
            stack.append(Opener(position, mark, column))
        else:
            head = text[line_start:position].strip()
            is_first = not head or head in end_words  # `end)`
            depth = _depth(stack, PAIRS[mark], column if is_first else -1)
            opener = stack[depth] if depth >= 0 else None
            closers[position] = Pair(opener, column if is_first else -1)
            if opener is not None:
                column = opener.column  # `} else {` and `b) {` go on with its line
                passed += stack[depth + 1 :]
                del stack[depth:]
    return Pairing(closers, (*passed, *stack), tuple(spans))


def _marks(text: str, spans: list[Span]) -> Iterator[int]:
    """Yield where brackets stand in code, and line ends anywhere."""
    position = 0
    for span in (*spans, Span(len(text), len(text), "code", True, 0)):
        for match in _MARK.finditer(text, position, span.start):
            yield match.start()
        for match in re.finditer("\n", text[span.start : span.end]):
            yield span.start + match.start()
        position = span.end


def _depth(stack: list[Opener], kind: str, column: int) -> int:
    """Return which opener a closer of ``kind`` closes, -1 if none."""
    nearest = -1
    for depth in range(len(stack) - 1, -1, -1):
        one = stack[depth]
        if one.character != kind:
            continue
        if column < 0 or one.column == column:
            return depth
        if nearest < 0:
            nearest = depth
        if one.column < column:
            break
    return nearest


class Document:
    """What stands around the cursor, read once; ``suffix`` with the whole line's rest.

    Line ends are line feeds.
    """

    def __init__(self, prefix: str, suffix: str, language_id: str) -> None:
        self.prefix = prefix
        self.suffix = _lines(suffix, _MOST_LINES_BELOW)
        self.language_id = language_id

    @cached_property
    def before(self) -> Pairing:
        """The brackets as they were."""
        return pair_brackets(self.prefix + self.suffix, self.language_id)

    def reading(self, text: str, replaced: int) -> Reading:
        """Read the document with ``text`` in the place of ``replaced`` characters."""
        whole = self.prefix + text + self.suffix[replaced:]
        return Reading(self, text, replaced, pair_brackets(whole, self.language_id))

    @cached_property
    def kept(self) -> dict[int, Pair]:
        """The closers of the suffix for openers of the prefix, by place in the suffix.

        One that begins its line left of its opener's column, or below a statement in
        its column, belongs to another.
        """
        start = len(self.prefix)
        return {
            position - start: pair
            for position, pair in self.before.closers.items()
            if position >= start
            and pair.opener
            and pair.opener.position < start
            and not 0 <= pair.column < pair.opener.column
            and pair.column < self._least_column(position - start)
        }

    def _least_column(self, place: int) -> int:
        """Return the least column of a statement below the cursor, above a place."""
        return min(
            (column for position, column in self._statements if position < place),
            default=10_000,
        )

    @cached_property
    def _statements(self) -> list[tuple[int, int]]:
        """Where lines below the cursor begin, with their columns, if with a word."""
        end_words = syntax_of(self.language_id).closers
        return [
            (one.start(1), indent_width(one.group()[1:]))
            for one in _STATEMENT.finditer(self.suffix)
            if one[1] not in end_words
        ]

    def may_lack_opener(self, closer: str, column: int) -> bool:
        """Return whether an opener may stand above all that is seen of the document.

        What is between the two is deeper than a closer that begins its line.
        """
        start = len(self.prefix)
        head = self.prefix.lstrip("\n")
        is_window = start >= _WINDOW_CHARACTERS or head[:1] in (" ", "\t")
        has_others = any(
            position < start and pair.opener is None and self.prefix[position] == closer
            for position, pair in self.before.closers.items()
        )
        if column < 0 or not (is_window or has_others):
            return False
        lines = self.prefix.split("\n")[:-1]
        return not any(line.strip() and indent_width(line) < column for line in lines)


@dataclass(frozen=True)
class Reading:
    """A document with a text at the cursor."""

    document: Document
    text: str
    replaced: int
    pairing: Pairing

    @property
    def end(self) -> int:
        """Where the text ends."""
        return len(self.document.prefix) + len(self.text)

    def own_left(self) -> list[Opener]:
        """Return the text's openers that nothing closes."""
        start = len(self.document.prefix)
        return [one for one in self.pairing.left if start <= one.position < self.end]

    def own_closers(self) -> list[int]:
        """Return where in the text closers stand, those of its own openers too."""
        start = len(self.document.prefix)
        return [
            position - start
            for position in self.pairing.closers
            if start <= position < self.end
        ]

    def is_at_peace(self) -> bool:
        """Return whether no closer is surplus or takes another's opener."""
        return not (self._has_surplus() or self._robs() or self._leaves_early())

    def _leaves_early(self) -> bool:
        """Return whether the text closes a block of which more stands right below.

        It does if that is deeper than the line that opened it, wherever its end is.
        """
        document = self.document
        right, _, below = document.suffix[self.replaced :].partition("\n")
        line = _FIRST_LINE.match(below)
        if right.strip() or line is None or self.own_left():
            return False
        start = len(document.prefix)
        line_start = document.prefix.rfind("\n") + 1
        return any(
            start <= position < self.end
            and pair.opener is not None
            and pair.opener.character == "{"
            and pair.opener.position < line_start
            and pair.opener.column < indent_width(line[1])
            for position, pair in self.pairing.closers.items()
        )

    def _has_surplus(self) -> bool:
        document = self.document
        start = len(document.prefix)
        for position, pair in self.pairing.closers.items():
            if pair.opener is not None or not start <= position < self.end:
                continue
            mark = (document.prefix + self.text)[position]
            if mark == ")" and self._is_in_case(position):
                continue
            if not document.may_lack_opener(mark, pair.column):
                return True
        return False

    def _is_in_case(self, position: int) -> bool:
        """Return whether a round bracket may end a pattern of a shell's ``case``."""
        document = self.document
        if document.language_id not in _SHELLS:
            return False
        code = mask((document.prefix + self.text)[:position], document.language_id)[0]
        line = code[code.rfind("\n") + 1 :]
        num_open = len(_CASE.findall(code)) - len(re.findall(r"\besac\b", code))
        return num_open > 0 and not re.search("[(=]", line)

    def _robs(self) -> bool:
        """Return whether the suffix's closers have lost what they closed."""
        document = self.document
        start = len(document.prefix)
        shift = self.end - self.replaced
        left = {one.position for one in self.pairing.left}
        for position, before in document.kept.items():
            if position < self.replaced:
                continue
            now = self.pairing.closers.get(position + shift)
            if now is None:
                continue  # it is inside of a string or a comment now
            if now.opener is None:
                return True
            opener = before.opener
            assert opener is not None
            is_in_column = before.column == opener.column
            if is_in_column and now.column >= 0 and now.opener.column != before.column:
                return True
            is_taken = start <= now.opener.position < self.end
            if is_taken and opener.position in left:
                return True
        return False


def cut_surplus(document: Document, text: str, replaced: int) -> str:
    """Return as much of ``text`` as leaves each closer of the suffix its opener.

    It is cut before a closer or at a line's end, where it leaves no more open than
    the whole of it did.
    """
    if not any(mark in text for mark in "()[]{}") or not _has_brackets(document):
        return text
    whole = document.reading(text, replaced)
    if whole.is_at_peace():
        return text
    most_open = len(whole.own_left())
    places = {match.start() for match in re.finditer("\n", text)}
    for place in sorted(places.union(whole.own_closers()), reverse=True):
        kept = text[:place].rstrip()
        if not kept:
            break
        less = document.reading(kept, replaced)
        if less.is_at_peace() and len(less.own_left()) <= most_open:
            return kept
    return ""


def _has_brackets(document: Document) -> bool:
    """Return whether brackets pair in this language at all: in prose they need not."""
    return bool(syntax_of(document.language_id).quotes)


def _lines(text: str, most: int) -> str:
    """Return the first lines of ``text``."""
    end = -1
    for _ in range(most):
        end = text.find("\n", end + 1)
        if end < 0:
            return text
    return text[:end]
