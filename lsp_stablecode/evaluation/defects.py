"""What no suggestion may do, whatever it says: named, and found on the text.

``repeats-suffix``
    Its last lines are the next ones of the document, or two of those stand in it.
``doubled-bracket``
    The document has a closing bracket or quote too many, and one of the suggestion's
    is that. So has it with a word that ends a body (``end``).
``cut-line``
    It ends inside of a word, a string, a bracket or a statement of its last line.

Each is held against the original: what stands there too is no defect. Where the
language has a grammar and the document parses as well as the original, its lines are
whole, unless they stop in one of the original's words and for a reason of ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lsp_stablecode.evaluation.gaps import Gap
from lsp_stablecode.evaluation.measures import (
    Suggestion,
    accepted,
    finished_documents,
    parses,
)
from lsp_stablecode.lexis import Span, indent_width, lex
from lsp_stablecode.stops import is_trivial, normal_line
from lsp_stablecode.syntax import syntax_of

DefectName = Literal["repeats-suffix", "doubled-bracket", "cut-line"]

_PAIRS = {")": "(", "]": "[", "}": "{"}
_CLOSING = re.compile(r"[)\]}\"'`]")
_CLOSING_BRACKET = re.compile(r"[)\]}]")
_MOST_LINES_BELOW = 6
# A line may end so and go on below.
_OPENS = re.compile(r"[(\[{,;:\\]$")
_GOES_ON = re.compile(r"(?:[(\[{,;:\\+\-*/%&|<>]|\b(?:do|then|and|or|not|in))$")
_MODELS_OWN = ("line", "eos", "closed", "dedent", "suffix", "blank-lines", "fence")
"""Reasons to stop that the text itself gives, between two tokens."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect and what shows it."""

    name: DefectName
    detail: str


def find_defects(
    gap: Gap,
    suggestion: Suggestion | None,
    *,
    finish_reason: str = "",
    is_cut_off: bool = False,
) -> tuple[Defect, ...]:
    """Return a suggestion's defects; ``is_cut_off`` if the token limit ended it."""
    if suggestion is None:
        return ()
    found = []
    if repeated := _repeated(gap, suggestion):
        found.append(Defect("repeats-suffix", repeated))
    # A grammar is no witness: some read a bracket too many as a word.
    if doubled := _doubled(gap, suggestion) or _doubled_word(gap, suggestion):
        found.append(Defect("doubled-bracket", doubled))
    if is_cut_off and not suggestion.text.endswith("\n"):
        found.append(Defect("cut-line", "the token limit ended it"))
    elif cut := _cut(gap, suggestion, finish_reason):
        found.append(Defect("cut-line", cut))
    return tuple(found)


# Lines said again -----------------------------------------------------------------


def _repeated(gap: Gap, suggestion: Suggestion) -> str:
    lines = (gap.left + suggestion.text).split("\n")
    original = (gap.left + gap.truth + gap.closers + gap.after).split("\n")
    rest = gap.suffix[suggestion.num_replaced :].split("\n")[1:]
    below = [line for line in rest if line.strip()][:_MOST_LINES_BELOW]
    spots = [index for index, line in enumerate(lines) if line.strip()]
    for num in range(min(len(spots), len(below)), 0, -1):
        tail = spots[-num:]
        ours = [lines[index] for index in tail]
        is_original = tail[-1] < len(original) and all(
            normal_line(lines[index]) == normal_line(original[index]) for index in tail
        )
        if not is_original and _is_same(ours, below[:num], gap.language_id):
            return f"ends with {_shown(ours[0])}, as the next line does"
    return _runs_on(lines, spots, original, below, gap.language_id)


def _runs_on(
    lines: Sequence[str],
    spots: Sequence[int],
    original: Sequence[str],
    below: Sequence[str],
    language_id: str,
) -> str:
    """Find the next two telling lines anywhere in the suggestion, one after another."""
    if len(below) < 2 or any(is_trivial(line) for line in below[:2]):
        return ""
    for first, second in pairwise(spots):
        ours = [lines[first], lines[second]]
        is_original = [normal_line(line) for line in ours] == [
            normal_line(line)
            for line in (*original[first : first + 1], *original[second : second + 1])
        ]
        if not is_original and _is_same(ours, below[:2], language_id):
            return f"goes on into the lines below, from {_shown(ours[0])}"
    return ""


def _is_same(ours: Sequence[str], below: Sequence[str], language_id: str) -> bool:
    if [normal_line(line) for line in ours] != [normal_line(line) for line in below]:
        return False
    closers = syntax_of(language_id).closers
    telling = [line for line in ours if not is_trivial(line) or line.strip() in closers]
    # In another column it may be a line of its own (`return` in a branch).
    is_in_place = indent_width(ours[0]) == indent_width(below[0])
    return bool(telling) and (is_in_place or len(telling) > 1)


# Brackets and quotes --------------------------------------------------------------


def _doubled(gap: Gap, suggestion: Suggestion) -> str:
    """Find a closing mark of the suggestion without which more would fit together."""
    most = num_unmatched(gap.source, gap.language_id)
    for document in finished_documents(gap, suggestion):
        if num_unmatched(document, gap.language_id) <= most:
            return ""
    document = accepted(gap, suggestion)
    now = num_unmatched(document, gap.language_id)
    start = len(gap.prefix)
    text = suggestion.text.rstrip()
    right = gap.suffix[suggestion.num_replaced :].split("\n")[0]
    # A quote may be one too many only where one stands right of it.
    has_quotes = any(mark in right for mark in "\"'`")
    closing = _CLOSING if has_quotes else _CLOSING_BRACKET
    run = len(text) - len(text.rstrip(")]};\"'`" if has_quotes else ")]};"))
    spans = [match.span() for match in closing.finditer(text)]
    spans += [(len(text) - length, len(text)) for length in range(2, run + 1)]
    for begin, end in reversed(spans):
        less = document[: start + begin] + document[start + end :]
        if num_unmatched(less, gap.language_id) < now:
            return f"{text[begin:end]} too many, in {_shown(text[:end])}"
    return ""


def _doubled_word(gap: Gap, suggestion: Suggestion) -> str:
    """Find an ``end`` at the suggestion's end without which the document parses."""
    text = suggestion.text.rstrip()
    last = re.search(r"(?<!\w)\w+$", text)
    if last is None or last[0] not in syntax_of(gap.language_id).closers:
        return ""
    less = Suggestion(text[: last.start()].rstrip(), suggestion.num_replaced)
    if parses(gap, suggestion) is False and parses(gap, less):
        return f"{last[0]} too many, in {_shown(text)}"
    return ""


def num_unmatched(text: str, language_id: str) -> int:
    """Return how many brackets and quotes of a text lack their partner."""
    stack: list[str] = []
    num = position = 0
    for span in (*lex(text, language_id, is_window=False), _END):
        end = len(text) if span is _END else span.start
        for match in re.finditer(r"[()\[\]{}]", text[position:end]):
            mark = match.group()
            if mark not in _PAIRS:
                stack.append(mark)
                continue
            depth = len(stack) - 1
            while depth >= 0 and stack[depth] != _PAIRS[mark]:
                depth -= 1
            if depth < 0:
                num += 1
            else:
                num += len(stack) - 1 - depth
                del stack[depth:]
        position = span.end
        num += span.kind == "string" and not span.closed
    return num + len(stack)


_END = Span(0, 0, "code", True, 0)


# Lines cut ------------------------------------------------------------------------


def _cut(gap: Gap, suggestion: Suggestion, finish_reason: str) -> str:
    """Find out how the last line is less than a line."""
    text = suggestion.text
    if text.endswith("\n"):
        return ""
    document = accepted(gap, suggestion)
    end = len(gap.prefix) + len(text)
    line = document[document.rfind("\n", 0, end) + 1 : end].rstrip()
    original = gap.source.split("\n")[gap.line - 1 + text.count("\n") :][:1]
    truth = original[0].rstrip() if original else ""
    rest = truth[len(line) :] if truth.startswith(line) else ""
    if line == truth or not line.strip():
        return ""
    if rest and _is_word(line[-1]) and _is_word(rest[0]):
        is_ours = finish_reason and finish_reason not in _MODELS_OWN
        if is_ours or parses(gap, suggestion) is False:
            return f"inside of a word, after {_shown(line)}"
    if parses(gap, suggestion):
        return ""
    if _ends_in_string(gap, document, end):
        return f"inside of a string, after {_shown(line)}"
    if _leaves_open(gap, suggestion, document, end):
        return f"inside of a bracket, after {_shown(line)}"
    is_open = _OPENS.search(line)
    if rest.strip(" ;,") and not is_open and parses(gap, suggestion) is False:
        return f"before the statement's end, after {_shown(line)}"
    return ""


def _ends_in_string(gap: Gap, document: str, end: int) -> bool:
    """Return whether a string that does not end holds the suggestion's end."""
    mine = [
        span
        for span in lex(document, gap.language_id, is_window=False)
        if span.kind == "string" and not span.closed and span.start < end <= span.end
    ]
    if not mine:
        return False
    kept = [
        span
        for span in lex(gap.source, gap.language_id, is_window=False)
        if span.kind == "string" and not span.closed and span.start == mine[0].start
    ]
    return not kept


def _leaves_open(gap: Gap, suggestion: Suggestion, document: str, end: int) -> bool:
    """Return whether the last line stops inside of a bracket that it has opened."""
    start = document.rfind("\n", 0, end) + 1
    line_end = document.find("\n", end)
    line_end = len(document) if line_end < 0 else line_end
    literals = [
        (max(span.start, start), min(span.end, line_end))
        for span in lex(document, gap.language_id, is_window=False)
        if span.end > start and span.start < line_end
    ]
    code = list(document[start:line_end])
    for begin, stop in literals:
        code[begin - start : stop - start] = "_" * (stop - begin)
    stack: list[str] = []
    for mark in code:
        if mark in "([{":
            stack.append(mark)
        elif mark in _PAIRS and stack and stack[-1] == _PAIRS[mark]:
            stack.pop()
    below = document[line_end:].lstrip()
    if not stack or _GOES_ON.search("".join(code).rstrip()):
        return False
    return _PAIRS.get(below[:1]) != stack[-1]


def _shown(text: str) -> str:
    """Return the end of a text, as one short line."""
    line = text.rstrip().rpartition("\n")[2].strip()
    return repr(line if len(line) <= 50 else "…" + line[-49:])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
