"""How good a suggestion is, beside what stood there. Pure functions on text.

*Exact* means that the document after accepting has the original's line, blanks at
its end apart: the cursor's line where the rest of one is asked for, the first line
that is not blank where a new one is.

*Keystrokes* are those of somebody who types that line and accepts with one key what is
exactly right: the line, else word by word. A word is what VS Code's "Accept Next Word"
takes: a run of word characters, or the signs before one, blanks behind them included.
A line end with the indentation that an editor adds is one key, and a closer that the
editor put there itself is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from lsp_stablecode import trees
from lsp_stablecode.evaluation.gaps import BODY_PLACES, Gap

_PIECE = re.compile(r"\w+|[^\w\s]*\s+|[^\w\s]+")
_LINE_END = re.compile(r"\n[ \t]*")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What was suggested; it replaces ``num_replaced`` characters at the cursor."""

    text: str
    num_replaced: int = 0


@dataclass(frozen=True, slots=True)
class Measures:
    """A suggestion's quality; shares are 0 to 1, ``None`` where nothing was shown.

    ``exact_but_blanks`` takes no notice of any blanks. ``keys_used`` of
    ``keys_needed`` keys are pressed with the suggestion at hand.
    ``parses`` is ``None`` too where the language has no grammar.
    """

    exact: bool
    exact_but_blanks: bool
    keys_needed: int
    keys_used: int
    line_similarity: float | None = None
    similarity: float | None = None
    parses: bool | None = None
    name_right: bool | None = None


def measure(gap: Gap, suggestion: Suggestion | None) -> Measures:
    """Compare a suggestion, or none, with what stood at the gap."""
    needed = num_keys(wanted(gap))
    name_right = None
    if gap.name:
        name_right = suggestion is not None and completes_name(gap, suggestion)
    if suggestion is None:
        return Measures(False, False, needed, needed, name_right=name_right)
    return Measures(
        exact=first_line_exact(gap, suggestion),
        exact_but_blanks=_bare(offered(gap, suggestion)) == _bare(wanted(gap)),
        keys_needed=needed,
        keys_used=keys_used(gap, suggestion),
        line_similarity=line_similarity(gap, suggestion),
        similarity=similarity(gap, suggestion),
        parses=parses(gap, suggestion),
        name_right=name_right,
    )


def accepted(gap: Gap, suggestion: Suggestion) -> str:
    """Return the document with the suggestion in it."""
    return gap.prefix + suggestion.text + gap.suffix[suggestion.num_replaced :]


# The line -----------------------------------------------------------------------


def wanted(gap: Gap) -> str:
    """Return what is to be typed: up to the end of the line that counts.

    It begins with the line end where the cursor stands behind the line above.
    """
    if gap.truth.startswith("\n"):
        return "\n" + gap.truth[1:].split("\n")[0].rstrip()
    return gap.truth.split("\n")[0].rstrip()


def offered(gap: Gap, suggestion: Suggestion) -> str:
    """Return what the suggestion puts in the place of `wanted`.

    Blank lines before a line that is yet to come do not count. Empty where the
    suggestion does not reach that line.
    """
    text = suggestion.text
    if gap.place not in BODY_PLACES:
        first = text.split("\n")[0]
        if "\n" not in text:
            # What the editor had closed already may have been brought again.
            rest = gap.suffix[suggestion.num_replaced :].split("\n")[0]
            return _without_closers(gap, first + rest)
        return _without_closers(gap, first)
    lines = text.split("\n")
    if gap.truth.startswith("\n"):
        if lines[0].strip():
            return ""
        found = next((line for line in lines[1:] if line.strip()), "")
        return "\n" + found.rstrip() if found else ""
    if lines[0].strip():
        return lines[0].rstrip()
    found = next((line for line in lines[1:] if line.strip()), "")
    # The line as a whole has to be the original's: less what is typed of it.
    return found[len(gap.left) :].rstrip() if found.startswith(gap.left) else ""


def _without_closers(gap: Gap, rest: str) -> str:
    """Return the rest of the cursor's line as far as it is to be typed."""
    rest = rest.rstrip()
    if not gap.closers:
        return rest
    whole = (gap.truth + gap.closers + gap.after).split("\n")[0].rstrip()
    if rest in (whole, gap.truth + gap.closers):
        return gap.truth.split("\n")[0].rstrip()
    if rest.endswith(gap.closers):
        return rest[: -len(gap.closers)]
    return rest


def first_line_exact(gap: Gap, suggestion: Suggestion) -> bool:
    """Return whether the line that counts is the original's after accepting."""
    return bool(suggestion.text.strip()) and offered(gap, suggestion) == wanted(gap)


def line_similarity(gap: Gap, suggestion: Suggestion) -> float:
    """Return the edit similarity of the line that counts, 0 to 1."""
    return Levenshtein.normalized_similarity(offered(gap, suggestion), wanted(gap))


def similarity(gap: Gap, suggestion: Suggestion) -> float:
    """Return the edit similarity of all lines suggested with as many of the truth."""
    text = suggestion.text.rstrip()
    lines = (gap.truth + gap.closers + gap.after).split("\n")[: text.count("\n") + 1]
    truth = "\n".join(lines).rstrip()
    if gap.closers and "\n" not in text:
        truth = gap.truth
        covered = gap.suffix[: suggestion.num_replaced]
        text = text.removesuffix(covered)
    return Levenshtein.normalized_similarity(text, truth)


# The typist ---------------------------------------------------------------------


def num_keys(text: str) -> int:
    """Return how many keys a text is, the editor indenting new lines."""
    return len(_LINE_END.sub("\n", text))


def keys_used(gap: Gap, suggestion: Suggestion) -> int:
    """Return the keys pressed by who accepts only what is exactly right."""
    if first_line_exact(gap, suggestion):
        return 1
    truth, offer = wanted(gap), offered(gap, suggestion)
    used = at = 0
    for match in _PIECE.finditer(offer):
        piece = match.group()
        if not _is_next(truth, at, piece):
            break
        # Nobody presses a key to accept what typing takes one key for as well.
        used += 1
        at += len(piece)
    return min(used + num_keys(truth[at:]), num_keys(truth))


def _is_next(truth: str, at: int, piece: str) -> bool:
    """Return whether a piece is what comes next, as whole words."""
    if not truth.startswith(piece, at):
        return False
    end = at + len(piece)
    ends_in_word = end < len(truth) and _is_word(piece[-1]) and _is_word(truth[end])
    return not ends_in_word


def completes_name(gap: Gap, suggestion: Suggestion) -> bool:
    """Return whether the name at the cursor is the original's after accepting."""
    line = gap.left + suggestion.text.split("\n")[0]
    typed = re.search(r"\w*$", gap.left)
    start = typed.start() if typed else len(gap.left)
    found = re.match(r"\w*", line[start:])
    return found is not None and found.group() == gap.name


# The tree -----------------------------------------------------------------------


def parses(gap: Gap, suggestion: Suggestion) -> bool | None:
    """Return whether the document has no more errors than the original.

    All of the suggestion counts. What stood behind closed brackets may be missing:
    nobody asked for it.
    """
    most = num_errors(gap.source, gap.language_id)
    if most is None:
        return None
    return any(
        (num_errors(text, gap.language_id) or 0) <= most
        for text in finished_documents(gap, suggestion)
    )


def finished_documents(gap: Gap, suggestion: Suggestion) -> list[str]:
    """Return the document with the suggestion, and with what is still to be typed.

    That is what stood behind closed brackets, or the lines below as many as were
    suggested: whoever writes a header goes on with its body.
    """
    documents = [accepted(gap, suggestion)]
    rest = gap.suffix[suggestion.num_replaced :]
    if gap.after:
        below = gap.suffix[len(gap.closers) :]
        head = gap.prefix + suggestion.text + rest[: len(rest) - len(below)]
        documents.append(head + gap.after + below)
    num_lines = suggestion.text.rstrip("\n").count("\n") + 1
    missing = (gap.truth + gap.closers + gap.after).split("\n")[num_lines:]
    if missing:
        head, newline, below = rest.partition("\n")
        text = "\n".join((gap.prefix + suggestion.text + head, *missing))
        documents.append(text + newline + below)
    return documents


@lru_cache(maxsize=16)
def num_errors(text: str, language_id: str) -> int | None:
    """Return how many places a grammar cannot read, ``None`` where there is none."""
    tree = trees.parse(text, language_id)
    return None if tree is None else len(trees.errors(tree))


def _bare(text: str) -> str:
    return "".join(text.split())


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
