"""Places in a source text at which somebody may have been typing, and the gaps there.

======================  ==============================================================
``end-of-line``         at a border of tokens; the rest of the line is not typed yet
``call``                in a call's arguments; the editor closed brackets and quotes
``after-opener``        behind a line that opens a body, or on the next one, indented
``empty-line``          on a line of a body, indented, with the body around it
``mid-identifier``      two characters or more into a name
======================  ==============================================================

What a line opens goes with it: the body of ``if (`` is not there before the line is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from lsp_stablecode.evaluation.gaps import Gap, Place
from lsp_stablecode.evaluation.reading import Reading

_LEAST_CHARACTERS = 3
_LEAST_LETTERS = 2
_MOST_BODY_LINES = 40
_LITERAL_SHARE = 0.1
"""How many of the lines with strings or comments are cut there, at most."""

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_BORDER = re.compile(r"(?<=[\s.,;=+\-*/<>:|&!%^(\[{?@])(?=[^\s])|(?<=[=,:])(?= )")
_NOT_TYPED = (")", "]", "}", '"""', "'''")
_OPERATORS = frozenset("=+-*/<>:|&!%^.?")
_TERMINATORS = re.compile(r"[\s;,:{]*")

Offsets = dict[int, list[int]]
"""Offsets at which to cut, by line."""


def gaps_at(
    reading: Reading, path: str, place: Place, shuffler: random.Random
) -> Iterator[Gap]:
    """Yield gaps of one kind in a text, at most one a line, in a shuffled order."""
    find, cut = _KINDS[place]
    offsets = find(reading, shuffler)
    lines = sorted(offsets)
    shuffler.shuffle(lines)
    for line in lines:
        gap = cut(reading, path, shuffler.choice(offsets[line]), shuffler)
        if gap is not None:
            yield gap


# Where --------------------------------------------------------------------------


def _borders(reading: Reading, shuffler: random.Random) -> Offsets:
    found: Offsets = {}
    for number, line in enumerate(reading.lines):
        start = reading.starts[number]
        in_code: list[int] = []
        elsewhere: list[int] = []
        for column in _border_columns(line):
            if _is_within(line, column):
                is_code = reading.inside(start + column) == "code"
                (in_code if is_code else elsewhere).append(start + column)
        takes_literal = shuffler.random() < _LITERAL_SHARE
        chosen = elsewhere if takes_literal else in_code
        if chosen:
            found[number] = chosen
    return found


def _arguments(reading: Reading, shuffler: random.Random) -> Offsets:
    found: Offsets = {}
    for opener in reading.calls:
        closer = reading.pairs.get(opener, -1)
        number = reading.line_of(opener)
        if closer - opener <= _LEAST_LETTERS or reading.line_of(closer) != number:
            continue
        offsets = found.setdefault(number, [])
        for column in _border_columns(reading.lines[number]):
            offset = reading.starts[number] + column
            if opener + 1 < offset < closer and reading.inside(offset) == "code":
                offsets.append(offset)
        # Most stop right behind the bracket.
        offsets += [opener + 1] * max(1, len(offsets))
    return {number: offsets for number, offsets in found.items() if offsets}


def _openers(reading: Reading, shuffler: random.Random) -> Offsets:
    return {
        number: [reading.starts[number] + len(line.rstrip())]
        for number, line in enumerate(reading.lines)
        if line.strip() and reading.opens_body(number)
    }


def _body_lines(reading: Reading, shuffler: random.Random) -> Offsets:
    found: Offsets = {}
    for number, line in enumerate(reading.lines):
        content = line.lstrip(" \t")
        start = reading.end_of(number) - len(content)
        if start == reading.starts[number] or _num_letters(content) < _LEAST_LETTERS:
            continue
        has_literal = reading.inside(start + 1) != "code" and content[0] not in "\"'`"
        if has_literal or content.startswith(_NOT_TYPED) or reading.opens_body(number):
            continue
        if reading.code_line(number).strip() and _is_balanced(reading, start, number):
            found[number] = [start]
    return found


def _name_insides(reading: Reading, shuffler: random.Random) -> Offsets:
    found: Offsets = {}
    for start, end in reading.names:
        offsets = range(start + _LEAST_LETTERS, end - _LEAST_LETTERS + 1)
        if offsets:
            found.setdefault(reading.line_of(start), []).extend(offsets)
    return found


def _border_columns(line: str) -> Iterator[int]:
    """Yield the columns between two tokens, but those inside of an operator."""
    for match in _BORDER.finditer(line):
        column = match.start()
        if not {line[column - 1], line[column]} <= _OPERATORS:
            yield column


def _is_within(line: str, column: int) -> bool:
    left, right = line[:column].split(), line[column:].split()
    return min(len("".join(left)), len("".join(right))) >= _LEAST_CHARACTERS


def _num_letters(text: str) -> int:
    return sum(character.isalnum() for character in text)


def _is_balanced(reading: Reading, start: int, number: int) -> bool:
    """Return whether each bracket of a line has its partner on that line."""
    for place in range(start, reading.end_of(number)):
        if reading.code[place] in "()[]{}":
            partner = reading.pairs.get(place, -1)
            if partner < start or reading.line_of(partner) != number:
                return False
    return True


# What ---------------------------------------------------------------------------


def cut_rest(
    reading: Reading,
    path: str,
    offset: int,
    shuffler: random.Random,
    place: Place = "end-of-line",
    name: str = "",
) -> Gap | None:
    """Return the gap from ``offset`` to the line's end, its body included."""
    inside = reading.inside(offset)
    line = reading.line_of(offset)
    end = reading.statement_end(offset)
    if end is None or not reading.text[offset : reading.end_of(line)].strip():
        return None
    if inside == "code" and _has_comment(reading, offset, line):
        return None  # nobody can know what the remark at the end will be
    return Gap(
        path=path,
        language_id=reading.language_id,
        place=place,
        prefix=reading.text[:offset],
        suffix=reading.text[end:],
        truth=reading.text[offset:end].rstrip(),
        inside=inside,
        name=name,
    )


def _cut_name(
    reading: Reading, path: str, offset: int, shuffler: random.Random
) -> Gap | None:
    return cut_rest(reading, path, offset, shuffler, "mid-identifier")


def _cut_call(
    reading: Reading, path: str, offset: int, shuffler: random.Random
) -> Gap | None:
    """Return the gap up to where all brackets open left of the cursor close at once.

    Other calls are not cut: what stands between two closers has no place to be typed.
    """
    line = reading.line_of(offset)
    end = reading.end_of(line)
    stack = [
        place
        for place in range(reading.starts[line], offset)
        if reading.code[place] in _CLOSING and reading.pairs.get(place, end) >= offset
    ]
    places = [reading.pairs.get(place, -1) for place in reversed(stack)]
    if not places or places != list(range(places[0], places[0] + len(places))):
        return None
    if places[-1] >= end:
        return None
    begin, behind = places[0], places[-1] + 1
    truth = reading.text[offset:begin]
    statement_end = reading.statement_end(offset)
    if statement_end is None or _num_letters(truth) < _LEAST_LETTERS:
        return None
    if not _TERMINATORS.fullmatch(reading.code[behind:end]):
        return None
    return Gap(
        path=path,
        language_id=reading.language_id,
        place="call",
        prefix=reading.text[:offset],
        suffix=reading.text[begin:behind] + reading.text[statement_end:],
        truth=truth,
        closers=reading.text[begin:behind],
        after=reading.text[behind:statement_end],
        inside=reading.inside(offset),
    )


def _cut_body(
    reading: Reading, path: str, offset: int, shuffler: random.Random
) -> Gap | None:
    body = reading.body_of(reading.line_of(offset))
    if body is None or body[1] - body[0] >= _MOST_BODY_LINES:
        return None
    first, last = body
    content = reading.starts[first] + len(reading.lines[first])
    content -= len(reading.lines[first].lstrip(" \t"))
    # A comment or a docstring is prose, and the code below it would be asked for.
    if reading.inside(content + 1) != "code" or not reading.code_line(first).strip():
        return None
    line_end = reading.end_of(reading.line_of(offset))
    if reading.text[offset:line_end].strip():
        return None
    begin = line_end if shuffler.random() < 0.5 else content
    prefix = reading.text[:begin]
    return Gap(
        path=path,
        language_id=reading.language_id,
        place="after-opener",
        prefix=prefix,
        suffix=reading.text[reading.end_of(last) :],
        truth=reading.text[begin : reading.end_of(last)],
    )


def _cut_line(
    reading: Reading, path: str, offset: int, shuffler: random.Random
) -> Gap | None:
    end = reading.end_of(reading.line_of(offset))
    if _has_comment(reading, offset, reading.line_of(offset)):
        return None
    return Gap(
        path=path,
        language_id=reading.language_id,
        place="empty-line",
        prefix=reading.text[:offset],
        suffix=reading.text[end:],
        truth=reading.text[offset:end],
    )


def _has_comment(reading: Reading, offset: int, line: int) -> bool:
    end = reading.end_of(line)
    bare = reading.text[offset:end].rstrip()
    return len(reading.code[offset:end].rstrip()) < len(bare)


_Find = Callable[[Reading, random.Random], Offsets]
_CutAt = Callable[[Reading, str, int, random.Random], Gap | None]
_KINDS: dict[Place, tuple[_Find, _CutAt]] = {
    "end-of-line": (_borders, cut_rest),
    "call": (_arguments, _cut_call),
    "after-opener": (_openers, _cut_body),
    "empty-line": (_body_lines, _cut_line),
    "mid-identifier": (_name_insides, _cut_name),
}
