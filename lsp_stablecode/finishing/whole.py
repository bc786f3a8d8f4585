"""A text joined with what is right of it, cut until the document is whole."""

from __future__ import annotations

from lsp_stablecode.finishing.closers import Document, cut_surplus
from lsp_stablecode.finishing.draft import Draft
from lsp_stablecode.finishing.endings import (
    comment_start,
    cut_end_words,
    ends_unfinished,
)
from lsp_stablecode.finishing.right import join_right
from lsp_stablecode.syntax import syntax_of

__all__ = ["join_whole"]


def join_whole(draft: Draft) -> None:
    """Settle how the text meets the rest of the line, and what of it may stay."""
    while draft.text.strip():
        num_before = len(draft.text)
        join_right(draft)
        kept, name = _whole(draft)
        if not draft.text[len(kept) :].strip():
            return
        draft.set(kept[:num_before], name)
        # what was covered is not any more
        draft.replace_right = 0
        draft.is_above = False


def _whole(draft: Draft) -> tuple[str, str]:
    """Return what of the text leaves the document whole, and what the rest did."""
    text, replaced, document = draft.text, draft.replace_right, draft.document
    language_id = draft.shape.language_id
    if draft.is_above:
        pushed_down = "\n" + draft.before + draft.suffix
        document = Document(draft.prefix, pushed_down, language_id)
    kept = cut_surplus(document, text, replaced)
    if kept != text:
        head, _, line = kept.rpartition("\n")
        is_end = line.strip() in syntax_of(language_id).closers
        return head.rstrip() if is_end else kept, "duplicate-closer"
    kept = cut_end_words(draft.prefix, text, document.suffix[replaced:], language_id)
    if kept != text:
        return kept, "duplicate-closer"
    reading = document.reading(text, replaced)
    place = comment_start(reading)
    if place >= 0:
        return text[:place].rstrip(), "line-comment"
    if ends_unfinished(reading):
        return text.rstrip().rpartition("\n")[0].rstrip(), "unfinished"
    return text, ""
