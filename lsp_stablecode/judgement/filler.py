"""What nobody wants to be offered: echoes, repetitions, filler. Pure functions on text.

What is hidden here would have been right sometimes; each rule asks for so much that
this is rare. What repeats inside of a suggestion is the stop rule's affair, and one
that is as a whole what stands above is postprocessing's.
"""

from __future__ import annotations

import re
from typing import Final

from lsp_stablecode.lexis import split_at_cursor, unify_line_ends
from lsp_stablecode.shape import Shape
from lsp_stablecode.stops import is_trivial, normal_line
from lsp_stablecode.syntax import syntax_of

__all__ = ["filler_reason"]

_LOOK_BACK_CHARACTERS: Final = 4000
_LEAST_ECHO_WORDS: Final = 3
_LEAST_REPEATED_LINES: Final = 2
_LEAST_REPEATED_CHARACTERS: Final = 24

_PROSE: Final = frozenset(
    (
        *("markdown", "mdx", "quarto", "restructuredtext"),
        *("plaintext", "latex", "git-commit"),
    )
)

# What a text for learners says in the place of code.
_PLACEHOLDER: Final = re.compile(
    r"(?:\W|todo|fixme|xxx)*(?:"
    r"(?:add|insert|put|write|place|enter|type)? ?(?:your|some|the|more)?"
    r" ?(?:own )?(?:code|implementation|logic|solution)"
    r" ?(?:goes|comes|is)? ?(?:here|below)"
    r"|(?:your|the|add|insert|actual)? ?implementation(?: here| goes here)?"
    r"|implement(?: me| this| here)?(?: function| method)?"
    r"|(?:the )?rest of (?:the|your) (?:code|file|function|class|implementation)"
    r"|(?:existing|other|more|remaining|previous) code(?: here)?"
    r"|(?:same|code) as (?:above|before)"
    r"|and so on|to be (?:continued|implemented)|your answer here"
    r"|(?:todo|fixme|xxx)(?:[:.]|\(\w*\):?)?"
    r"|\.\.\.|…"
    r")\W*",
    re.IGNORECASE,
)
_NO_BODY: Final = re.compile(r"(?:pass|\.\.\.);?")
# A class or a handler often has no more to it than that.
_EMPTY_ELSEWHERE: Final = frozenset(("class", "except", "finally", "case"))
_STUBS: Final = re.compile(
    r"\b(?:Protocol|overload|abstractmethod|ABC)\b|^\s*>>>", re.M
)
_CODE: Final = re.compile(r"[=;(){}<>\[\]\"'`@/\\|]|--|: |\d\s|\.\w")
_LICENCE: Final = re.compile(
    r"\bcopyright\s+(?:\(c\)|©|\d{4})|\ball rights reserved|\bspdx-license-identifier"
    r"|\blicensed under the|^@?author\b\s*:|^created by\b",
    re.IGNORECASE,
)


def filler_reason(text: str, prefix: str, suffix: str, shape: Shape) -> str:
    """Name why nobody wants ``text`` between ``prefix`` and ``suffix``.

    ``licence``, ``filler``, ``echo`` or ``repeats-above``; empty where it may be
    wanted. Only whole lines are judged: who began one knows what is to be in it.
    """
    before, _ = split_at_cursor(prefix, suffix)
    lines = [line.strip() for line in unify_line_ends(text).split("\n")]
    head = unify_line_ends(prefix[-_LOOK_BACK_CHARACTERS:])
    above = [line.strip() for line in head.split("\n") if line.strip()]
    if before.strip() and lines[0]:
        return ""
    lines = [line for line in lines if line]
    if not lines:
        return ""
    language_id = shape.language_id
    said = [_comment_of(line, language_id) for line in lines]
    said_above = [_comment_of(line, language_id) for line in above]
    if language_id not in _PROSE:
        if _is_licence(said, said_above):
            return "licence"
        if _is_placeholder(lines, said, said_above, head, shape):
            return "filler"
        if _echoes_comment(said[0], said_above):
            return "echo"
    if _repeats(lines, above):
        return "repeats-above"
    return ""


def _comment_of(line: str, language_id: str) -> str | None:
    """Return what a line that is a comment says, ``None`` if it is none."""
    syntax = syntax_of(language_id)
    for mark in syntax.comments:
        if line.startswith(mark):
            return line.lstrip(mark[0]).strip(" \t!-*")
    for opening, close in syntax.regions:
        opening = opening.strip()
        if line.startswith(opening):
            return line[len(opening) :].removesuffix(close).strip(" \t*")
    if line.startswith(("*", '"""', "'''")):  # further lines of one, or a docstring
        return line.strip(" \t*\"'/")
    return None


def _is_licence(said: list[str | None], above: list[str | None]) -> bool:
    """Return whether a comment says whose the file is, below code."""
    if all(one is not None for one in above) or (above and above[-1] is not None):
        return False  # at the file's beginning, or in a comment begun
    for one in said:
        if one is None:
            return False
        if _LICENCE.search(one):
            return True
    return False


def _is_placeholder(
    lines: list[str],
    said: list[str | None],
    said_above: list[str | None],
    head: str,
    shape: Shape,
) -> bool:
    """Return whether lines stand for code that somebody else is to write."""
    if shape.reason in ("comment", "string"):
        return False
    rest = [
        line
        for line, one in zip(lines, said, strict=True)
        if one is None or not _PLACEHOLDER.fullmatch(one)
    ]
    if not rest:
        # In a comment it may be an example of one.
        return not said_above or said_above[-1] is None
    if shape.kind != "block" or shape.opener_word in _EMPTY_ELSEWHERE:
        return False
    if not shape.whole_body or _STUBS.search(head):
        return False
    return all(_NO_BODY.fullmatch(line) for line in rest)


def _echoes_comment(ours: str | None, above: list[str | None]) -> bool:
    """Return whether a comment is said again right below it."""
    words = re.findall(r"\w+", ours or "")
    # An example of code or of data may well say the same twice.
    if len(words) < _LEAST_ECHO_WORDS or _CODE.search(ours or ""):
        return False
    for theirs in reversed(above):
        if theirs is None:
            return False
        if re.findall(r"\w+", theirs) == words:
            return True
    return False


def _repeats(lines: list[str], above: list[str]) -> bool:
    """Return whether the first lines are once more the last ones above."""
    ours = [normal_line(line) for line in lines]
    theirs = [normal_line(line) for line in above[-len(ours) :]]
    for number in range(len(theirs), _LEAST_REPEATED_LINES - 1, -1):
        if theirs[-number:] != ours[:number]:
            continue
        telling = {line for line in ours[:number] if not is_trivial(line)}
        if len(telling) >= _LEAST_REPEATED_LINES:
            return sum(map(len, telling)) >= _LEAST_REPEATED_CHARACTERS
    return False
