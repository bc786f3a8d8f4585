"""Asking the model, and once more where its best text stands there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lsp_stablecode.judgement.judge import judge
from lsp_stablecode.lexis import split_at_cursor
from lsp_stablecode.postprocess import Finished, finish
from lsp_stablecode.query import Query
from lsp_stablecode.shape import Shape
from lsp_stablecode.syntax import syntax_of
from model import (
    CancelFlag,
    Cut,
    Engine,
    FillRequest,
    FillResult,
    Statistics,
    StopRule,
)

_SECOND_THOUGHTS = (["empty:already-there"], ["empty:dedent"])
_NUM_SECOND_THOUGHTS = 3


def ask(
    engine: Engine,
    request: FillRequest,
    query: Query,
    shape: Shape,
    cancel: CancelFlag | None,
    on_text: Callable[[str], None] | None,
) -> tuple[FillResult, list[Finished]]:
    """Return what the model says and what is to be shown of each candidate.

    Where the best text is only what stands there already, the next best ones are asked
    for: one of them may be what is missing. They differ in their first word, so the
    blanks before it are taken as typed, but for the last, which is part of the word.
    """
    result = engine.fill(request, cancel, on_text)
    finished = _finished(result, query, shape)
    if [one.reason for one in finished] not in _SECOND_THOUGHTS or result.cancelled:
        return result, finished
    before, _ = split_at_cursor(query.prefix, "")
    said = "".join(token.text for token in result.candidates[0].tokens)
    blanks = said[: len(said) - len(said.lstrip(" \t"))]
    told = "" if before.strip() else (before + blanks)[:-1]
    if told:
        request = replace(
            request,
            prefix=request.prefix.removesuffix(before) + told,
            heal=False,
            stop_rule=_from_column(len(before) - len(told), request.stop_rule),
        )
    second = engine.fill(replace(request, num_candidates=_NUM_SECOND_THOUGHTS), cancel)
    candidates = [
        replace(one, text=_since(before, told + one.text)) if told else one
        for one in second.candidates
    ]
    result = replace(
        second, candidates=tuple(candidates), statistics=_both(result, second)
    )
    marks = syntax_of(query.language_id).comments
    return result, [
        # Whoever wants a comment begins it.
        Finished("", reason="empty:already-there")
        if marks and one.text.lstrip().startswith(marks)
        else one
        for one in _finished(result, query, shape)
    ]


def _since(before: str, line: str) -> str:
    """Return what follows the cursor in a line told from its indentation on."""
    return line[len(before) :] if line.startswith(before) else ""


def _from_column(num_missing: int, rule: StopRule | None) -> StopRule | None:
    """Return a rule for a text that begins ``num_missing`` characters too early.

    Or, where that is negative, that lacks so many blanks at its beginning.
    """
    if rule is None:
        return None

    def shifted(text: str) -> Cut | None:
        if len(text) < num_missing:
            return None
        cut = rule(" " * -num_missing + text[max(0, num_missing) :])
        return cut and replace(cut, end=max(0, cut.end + num_missing))

    return shifted


def _finished(result: FillResult, query: Query, shape: Shape) -> list[Finished]:
    prefix, suffix = query.near
    return [
        judge(
            finish(one.text, prefix, suffix, shape, one.finish_reason),
            one,
            prefix,
            suffix,
            shape,
            is_healed=bool(result.healed),
        )
        for one in result.candidates
    ]


def _both(first: FillResult, second: FillResult) -> Statistics:
    """Return what two generations for one prompt cost together."""
    one, other = first.statistics, second.statistics
    return replace(
        one,
        **{
            name: getattr(one, name) + getattr(other, name)
            for name in (
                "generated_tokens",
                "forwards",
                "prefill_ms",
                "decode_ms",
                "drafted_tokens",
                "accepted_tokens",
            )
        },
    )
