"""How a text meets what stands right of the cursor."""

from __future__ import annotations

from lsp_stablecode.brackets import PAIRS, Brackets, leading_unopened
from lsp_stablecode.finishing.draft import Draft
from lsp_stablecode.lexis import indent_width, is_closers_only

__all__ = ["cut_overlap", "join_right"]

_JOINS_NEXT = " \t([{.=!-+*/&|~@<,:?%^\\$#"
_TERMINATORS = ";,:"


def cut_overlap(draft: Draft) -> None:
    """Cut off what repeats the beginning of the text right of the cursor."""
    right = "".join(draft.right.split())
    head, newline, line = draft.text.rpartition("\n")
    places = [i for i, c in enumerate(line) if not c.isspace()]
    bare = "".join(line[i] for i in places)
    offset = len(head) + len(newline)
    # before a whole line, its first word at the text's end is no overlap
    least = len(right) if draft.is_blank else 1
    for length in range(min(len(bare), len(right)), least - 1, -1):
        if not bare.endswith(right[:length]):
            continue
        start = offset + places[-length]
        # all of it: then the text's line is the whole line, token or not
        is_all = length == len(right) and not draft.is_blank
        is_token = _is_token_start(draft, start) and _ends_token(length, right)
        if (is_all or is_token) and _cut_at_right(draft, start):
            return
    found = bare.find(right) if len(right) >= 3 else -1
    if found >= 0 and _is_token_start(draft, offset + places[found]):
        _cut_at_right(draft, offset + places[found])


def _is_token_start(draft: Draft, index: int) -> bool:
    left = draft.text[index - 1] if index else draft.prefix[-1:]
    return not (_is_word(left) and _is_word(draft.text[index]))


def _ends_token(length: int, right: str) -> bool:
    if length == len(right):
        return True
    return not (_is_word(right[length - 1]) and _is_word(right[length]))


def _cut_at_right(draft: Draft, start: int) -> bool:
    if not _repeats_right(draft, start):
        return False
    kept = draft.text[:start]
    if draft.right[:1].isspace():
        kept = kept.rstrip(" \t")
    draft.set(kept, "suffix-overlap")
    draft.is_joined = True
    return True


def _repeats_right(draft: Draft, start: int) -> bool:
    """Return whether the closers from ``start`` on are not the text's own.

    The text may bring as many of its own as it closes of the prefix's.
    """
    kept = draft.brackets(draft.text[:start])
    own = len(kept.inside) - len(draft.brackets().inside)
    return own <= len(kept.closers)


def join_right(draft: Draft) -> None:
    """Settle how the text's end meets the rest of the line."""
    if not draft.text.strip() or not draft.right.strip():
        draft.set(draft.text.rstrip(), "trailing-blanks")
        return
    draft.is_above = _is_line_above(draft)
    if not draft.is_above and not draft.is_joined:
        draft.replace_right = _covered(draft)
        if not draft.replace_right:
            _drop_closers_right(draft)
        elif draft.is_blank and _is_other_closing_line(draft):
            draft.replace_right = 0
    if draft.is_blank and not draft.has_text_right and not draft.replace_right:
        draft.is_above = draft.ended_line
    rest = draft.right[draft.replace_right :]
    is_closed = not rest.strip() or is_closers_only(rest)
    if draft.is_above or is_closed or rest[0].isspace():
        draft.set(draft.text.rstrip(), "trailing-blanks")
    if draft.text.startswith("\n") and rest[:1] in PAIRS and rest:
        column = len(draft.before) - len(draft.before.lstrip())
        draft.text += "\n" + draft.before[:column]


def _is_line_above(draft: Draft) -> bool:
    """Return whether the text is a line of its own above the code to its right."""
    if not draft.is_blank or not draft.has_text_right or draft.is_joined:
        return False
    if draft.ended_line or draft.finish_reason != "eos":
        return True
    return draft.text[-1] not in _JOINS_NEXT and not draft.brackets().inside


def _is_other_closing_line(draft: Draft) -> bool:
    """Return whether text and right are two lines of closers, in two columns."""
    column = indent_width(draft.before + draft.right)
    return (
        is_closers_only(draft.text)
        and indent_width(draft.before + draft.text) != column
    )


def _covered(draft: Draft) -> int:
    """Return how much of the closers right of the cursor the text brings."""
    brackets = draft.brackets()
    bare = draft.text.rstrip()
    if not brackets.in_code and not brackets.closers:
        return _textual_overlap(bare, draft.right)
    whole = draft.right.strip()
    is_all = not draft.has_text_right and bare.endswith(whole)
    if is_all and _repeats_right(draft, len(bare) - len(whole)):
        return len(draft.right.rstrip())
    queue = _closing_marks(bare, brackets)
    opened = [character for _, character in brackets.inside]
    covered = 0
    for index, character in enumerate(draft.right):
        if character.isspace():
            continue
        if opened and opened[-1] == PAIRS.get(character, character):
            break  # it closes what the text opens
        if character not in _TERMINATORS:
            while queue and queue[0] in _TERMINATORS:
                queue.pop(0)
        if not queue or queue[0] != character:
            break
        queue.pop(0)
        covered = index + 1
    return covered


def _closing_marks(text: str, brackets: Brackets) -> list[str]:
    """Return the closers of what the prefix opened, and the marks after them."""
    closers = {closer.position for closer in brackets.closers}
    tail = len(text.rstrip(_TERMINATORS))
    marks = []
    follows = False
    for position, character in enumerate(text):
        is_mark = character in _TERMINATORS and (follows or position >= tail)
        if position in closers or is_mark:
            marks.append(character)
            follows = True
        elif not character.isspace():
            follows = False
    return marks


def _drop_closers_right(draft: Draft) -> None:
    """Drop closers off the end that the rest of the line holds already."""
    while True:
        bare = draft.text.rstrip()
        brackets = draft.brackets()
        closers = brackets.closers
        if not closers or closers[-1].position != len(bare) - 1:
            return
        kind = closers[-1].character
        if kind not in PAIRS:
            return
        held = leading_unopened(draft.right, kind)
        opened = 0
        for _, character in reversed(draft.brackets("").outside):
            if character != PAIRS[kind]:
                break
            opened += 1
        used = sum(closer.character == kind for closer in closers)
        if not held or used + held <= opened:
            return
        draft.set(bare[:-1].rstrip(), "duplicate-closer")


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _textual_overlap(text: str, right: str) -> int:
    for length in range(min(len(text), len(right.rstrip())), 0, -1):
        if text.endswith(right[:length]) and right[:length].strip():
            return length
    return 0
