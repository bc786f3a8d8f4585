"""What a text says again of the lines below the cursor's."""

from __future__ import annotations

from lsp_stablecode.brackets import Closer
from lsp_stablecode.finishing.draft import Draft
from lsp_stablecode.lexis import indent_width, is_closers_only
from lsp_stablecode.stops import is_trivial, normal_line
from lsp_stablecode.syntax import syntax_of

__all__ = ["cut_lines_below", "drop_closers_below"]


def cut_lines_below(draft: Draft) -> None:
    """Cut lines off the end that the suffix already has as its next ones."""
    lines = draft.text.split("\n")
    first = 0 if draft.is_blank else 1
    spots = [i for i in range(first, len(lines)) if lines[i].strip()]
    for at, spot in enumerate(spots):
        tail = [_indented(draft, lines, i) for i in spots[at:]][: len(draft.below)]
        if _goes_on_below(draft, tail, lines, spots[at:]):
            draft.set("\n".join(lines[:spot]).rstrip(), "suffix-lines")
            return


def _goes_on_below(
    draft: Draft, tail: list[str], lines: list[str], spots: list[int]
) -> bool:
    """Return whether lines are the next ones of the document."""
    below = draft.below[: len(tail)]
    if list(map(normal_line, tail)) != list(map(normal_line, below)):
        return False
    num_telling = sum(_is_telling(draft, line) for line in tail)
    if num_telling > 1:
        return True  # in whatever column
    if len(tail) < len(spots) or not _is_in_place(draft, tail, below):
        return False
    return _may_cut(draft, tail, lines, spots[0])


def _is_in_place(draft: Draft, tail: list[str], below: list[str]) -> bool:
    is_layout = syntax_of(draft.shape.language_id).layout
    return all(
        indent_width(a) == indent_width(b)
        or (not is_layout and (len(tail) > 1 or _is_telling(draft, a)))
        for a, b in zip(tail, below, strict=True)
    )


def _is_telling(draft: Draft, line: str) -> bool:
    closers = syntax_of(draft.shape.language_id).closers
    return not is_trivial(line) and line.strip(" \t();,") not in closers


def _indented(draft: Draft, lines: list[str], index: int) -> str:
    return draft.before + lines[0] if index == 0 else lines[index]


def _may_cut(draft: Draft, tail: list[str], lines: list[str], index: int) -> bool:
    if any(_is_telling(draft, line) for line in tail):
        return True
    if not is_closers_only(tail[0]):
        return len(tail) > 1
    start = sum(len(line) + 1 for line in lines[:index])
    brackets = draft.brackets()
    return any(c.position >= start for c in brackets.closers)


def drop_closers_below(draft: Draft) -> None:
    """Drop closers off the end that the next line holds for the same opener."""
    if not draft.below:
        return
    following = draft.below[0].strip()
    while run := _closers_at_end(draft):
        for number in range(len(run), 0, -1):
            characters = "".join(one.character for one in run[-number:])
            if following.startswith(characters) and _is_for(
                draft, run[-number].opener, indent_width(draft.below[0])
            ):
                bare = draft.text.rstrip()
                draft.set(bare[:-number].rstrip(), "duplicate-closer")
                break
        else:
            return


def _closers_at_end(draft: Draft) -> list[Closer]:
    """Return the run of closers that ends the text, for openers of lines above."""
    run: list[Closer] = []
    position = len(draft.text.rstrip()) - 1
    line_start = len(draft.prefix) - len(draft.before)
    for closer in reversed(draft.brackets().closers):
        if closer.position != position or not 0 <= closer.opener < line_start:
            break
        run.insert(0, closer)
        position -= 1
    return run


def _is_for(draft: Draft, opener: int, column: int) -> bool:
    """Return whether a closer at ``column`` is the one of the prefix's opener."""
    start = draft.prefix.rfind("\n", 0, opener) + 1
    if indent_width(draft.prefix[start:]) != column:
        return False
    others = draft.brackets().outside
    # two openers on one line: the text's closer and the suffix's are one each
    return not (others and others[-1][0] >= start)
