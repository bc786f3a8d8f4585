"""Strings, comments, lines and columns of source text, read roughly and quickly.

Columns count a tab as reaching the next multiple of `TAB_WIDTH`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from lsp_stablecode.syntax import JAVASCRIPT, syntax_of

Inside = Literal["code", "comment", "string"]

TAB_WIDTH = 4
CLOSERS = ")]}\"'`;,:"
"""What an editor or a habit puts right of the cursor without ending the thought."""


class Span(NamedTuple):
    """A string or comment at ``start:end``; ``closed`` if its end mark is there."""

    start: int
    end: int
    kind: Inside
    closed: bool
    close_length: int


# Literals that no quotes alone describe, after what they may begin with.
_RAW = {
    "rust": (
        ("r", r"\br(?P<hashes>#+)\"[\s\S]*?\"(?P=hashes)"),
        ("'", r"(?<!\w)'(?:\\.[^'\n]*|[^\\'\n])'"),
    ),
    "cpp": (
        (
            "uULR",
            r"\b(?:u8|[uUL])?R\"(?P<mark>[^()\s\\]{0,16})\([\s\S]*?\)(?P=mark)\"",
        ),
    ),
}


class _Lexer(NamedTuple):
    """What finds strings and comments, and what each kind of them is.

    ``beginning`` matches single characters, wherever ``pattern`` can match at all: a
    search for them is several times faster.
    """

    pattern: re.Pattern[str]
    kinds: dict[str, Span]
    beginning: re.Pattern[str]


@lru_cache(maxsize=128)
def _lexer(language_id: str) -> _Lexer | None:
    syntax = syntax_of(language_id)
    parts: list[str] = []
    kinds: dict[str, Span] = {}
    first: set[str] = set()

    def add(kind: Inside, opening: str, inner: str, close: str) -> None:
        name = f"g{len(parts)}"
        parts.append(f"(?P<{name}>{opening}{inner}(?P<c{name}>{re.escape(close)})?)")
        kinds[name] = Span(0, 0, kind, False, len(close))

    for opening, close in syntax.regions:
        mark = re.escape(opening)
        first.add(opening[0])
        add("comment", mark, rf"(?:(?!{re.escape(close)})[\s\S])*+", close)
    if language_id == "csharp":
        first.update("$@")
        add("string", r'(?:\$@|@\$?)"', r'(?:""|[^"])*+', '"')
    for begins, raw in _RAW.get(language_id, ()):
        first.update(begins)
        name = f"g{len(parts)}"
        parts.append(f"(?P<{name}>{raw})")
        kinds[name] = Span(0, 0, "string", True, 1)
    for opening, close in syntax.long_quotes:
        escape = "" if close == "]]" or language_id == "go" else r"\\[\s\S]|"
        inner = rf"(?:{escape}(?!{re.escape(close)})[\s\S])*+"
        first.add(opening[0])
        add("string", re.escape(opening), inner, close)
    for mark in syntax.comments:
        # elsewhere a number sign is also an operator, a colour or an argument count
        guard = "" if mark != "#" or language_id == "python" else r"(?<!\S)"
        first.add(mark[0])
        name = f"g{len(parts)}"
        parts.append(rf"(?P<{name}>{guard}{re.escape(mark)}[^\n\r]*)")
        kinds[name] = Span(0, 0, "comment", False, 0)
    for quote in syntax.quotes:
        guard = r"(?<!\\)"
        if quote == "'":  # an apostrophe in a word, a digit separator
            prefixes = "rRbBfFuU" if language_id == "python" else "LuU"
            guard += rf"(?:(?<!\w)|(?<=(?<!\w)[{prefixes}])|(?<=(?<!\w)[rRbBfF]{{2}}))"
        first.add(quote)
        add("string", guard + quote, rf"(?:\\[\s\S]|[^{quote}\\\n\r])*+", quote)
    beginning = "[" + "".join(map(re.escape, sorted(first))) + "]"
    if syntax is JAVASCRIPT:
        beginning = rf"{beginning}|(?<=[=(,:!&|?;])\s"
        name = f"g{len(parts)}"
        parts.append(
            rf"(?P<{name}>(?<=[=(,:!&|?;])\s*/(?![*/\s])"
            r"(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)"
        )
        kinds[name] = Span(0, 0, "string", True, 0)
    if not parts:
        return None
    return _Lexer(re.compile("|".join(parts)), kinds, re.compile(beginning))


_DEFINITION = re.compile(
    r"^[ \t]*(?:@\w|(?:(?:async|export|public|private|static|pub)\s+)*"
    r"(?:def|class|func|fn|fun|function|import|const|let)\b).*[:{;(]\s*$",
    re.MULTILINE,
)


def lex(text: str, language_id: str, *, is_window: bool = True) -> list[Span]:
    """Return the strings and comments of ``text``, in order, roughly.

    A window of a document may begin inside a string over several lines. It is taken
    so if fewer definitions then stand inside strings.
    """
    lexer = _lexer(language_id)
    if lexer is None:
        return []
    spans = _spans(lexer, text, 0)
    openings = tuple(opening for opening, _ in syntax_of(language_id).long_quotes)
    if not is_window or not openings:
        return spans
    longs = [s for s in spans if s.kind == "string" and text.startswith(openings, s[0])]
    num_defined = _num_definitions(text, longs)
    if not num_defined:
        return spans
    first_end = longs[0].start + longs[0].close_length
    rest = _spans(lexer, text, first_end)
    first = Span(0, first_end, "string", True, longs[0].close_length)
    strings = [first, *(span for span in rest if span.kind == "string")]
    if _num_definitions(text, strings) >= num_defined:
        return spans
    return [first, *rest]


def num_quoted_definitions(text: str, language_id: str) -> int:
    """Return how many definitions stand in long strings, if ``text`` begins as code."""
    openings = tuple(opening for opening, _ in syntax_of(language_id).long_quotes)
    spans = lex(text, language_id, is_window=False) if openings else []
    return _num_definitions(text, [s for s in spans if text.startswith(openings, s[0])])


def _num_definitions(text: str, strings: list[Span]) -> int:
    return sum(
        len(_DEFINITION.findall(text, span.start, span.end))
        for span in strings
        if span.end - span.start > 10
    )


def _spans(lexer: _Lexer, text: str, start: int) -> list[Span]:
    spans = []
    place = start
    while (begins := lexer.beginning.search(text, place)) is not None:
        match = lexer.pattern.match(text, begins.start())
        if match is None:
            place = begins.end()
            continue
        place = match.end()
        name = match.lastgroup or ""
        kind = lexer.kinds[name]
        closed = kind.closed or (
            kind.close_length > 0 and match.group("c" + name) is not None
        )
        spans.append(Span(match.start(), place, kind.kind, closed, kind.close_length))
    return spans


def mask(text: str, language_id: str) -> tuple[str, Inside]:
    """Return ``text`` with comments blanked and strings' insides underscored.

    The length and the line ends stay. The second value says what the end of the
    text is inside of.
    """
    pieces: list[str] = []
    position = 0
    inside: Inside = "code"
    for span in lex(text, language_id):
        pieces.append(text[position : span.start])
        piece = text[span.start : span.end]
        if span.kind == "comment":
            pieces.append(re.sub(r"[^\n\r]", " ", piece))
        else:
            close = span.close_length if span.closed else 0
            inner = re.sub(r"[^\n\r]", "_", piece[1 : len(piece) - min(close, 1)])
            pieces.append(piece[0] + inner + (piece[-1] if close else ""))
        position = span.end
        if span.end == len(text) and not span.closed:
            # an unclosed string reaches over a line end only if it is a long one
            inside = span.kind
    pieces.append(text[position:])
    return "".join(pieces), inside


def net_closers(code: str) -> int:
    """Return how many more brackets masked code closes than it opens."""
    return sum((c in ")]}") - (c in "([{") for c in code)


def unify_line_ends(text: str) -> str:
    r"""Return ``text`` with ``\r\n`` and ``\r`` turned into ``\n``."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


_LINE_END = re.compile(r"[\r\n]")


def split_at_cursor(prefix: str, suffix: str) -> tuple[str, str]:
    """Return what stands left and right of the cursor on its own line."""
    start = max(prefix.rfind("\n"), prefix.rfind("\r")) + 1
    end = _LINE_END.search(suffix)
    return prefix[start:], suffix[: end.start()] if end else suffix


def indent_width(line: str) -> int:
    """Return the column of the first character of ``line`` that is not blank."""
    column = 0
    for character in line:
        if character == " ":
            column += 1
        elif character == "\t":
            column += TAB_WIDTH - column % TAB_WIDTH
        else:
            break
    return column


def is_closers_only(right: str) -> bool:
    """Return whether ``right`` holds closers and terminators only, at least one."""
    bare = right.strip()
    return bool(bare) and all(c in CLOSERS or c.isspace() for c in bare)
