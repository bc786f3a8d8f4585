"""One request, from the text around the cursor to a named outcome."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from lsp_stablecode.asking import ask
from lsp_stablecode.context.rendering import display_path, repository_name
from lsp_stablecode.gathering import Gathered, token_limit
from lsp_stablecode.indentation import USUAL_UNIT, in_unit, lead_of
from lsp_stablecode.judgement.cliff import make_token_rule
from lsp_stablecode.judgement.judge import least_first_line_of
from lsp_stablecode.lexis import split_at_cursor
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.postprocess import Finished, dedupe, finish
from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings
from lsp_stablecode.shape import Shape, decide_shape
from lsp_stablecode.stops import make_stop_rule
from lsp_stablecode.suggestions import Known, Suggested
from model import (
    CancelFlag,
    Engine,
    FillRequest,
)

_NOTHING = Gathered()
# What editors put right of the cursor when its opener is typed.
_AUTO_CLOSED = {")": "(", "]": "[", "}": "{", '"': '"', "'": "'", "`": "`"}


def num_candidates_wanted(query: Query, settings: Settings) -> int:
    """Several candidates only for somebody who asked by hand and can cycle."""
    return settings.candidates if query.explicit else 1


def from_memory(query: Query, settings: Settings, known: Known) -> Outcome | None:
    """Answer from remembered suggestions, or ``None`` if that is not enough.

    Somebody who asks by hand where one automatic suggestion is known wants more, and
    where silence is known anything at all.
    """
    if query.explicit and not known.rest:
        return None
    if known.num_candidates < num_candidates_wanted(query, settings):
        return None
    prefix, suffix = query.near
    shape = decide_shape(prefix, suffix, query.language_id, settings.multi_line)
    suggestions = dedupe([_again(one, prefix, suffix, shape) for one in known.rest])
    if known.rest and not suggestions:
        return None
    return Outcome(
        name="type-through" if suggestions else "empty:known",
        suggestions=suggestions,
        finish_reasons=tuple(one.finish_reason for one in known.rest),
        shape=shape,
    )


def generate(
    engine: Engine,
    query: Query,
    settings: Settings,
    *,
    gathered: Gathered = _NOTHING,
    known: Known | None = None,
    cancel: CancelFlag | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Outcome:
    """Ask the model, with what was ``gathered``. Runs on the engine's thread.

    Unless it was asked for by hand, what is less sure than the query's thresholds is
    withheld. What is ``known`` here stays the first suggestion, so that asking by
    hand shows the ghost text that is on the screen, and then others.
    """
    started = time.perf_counter()
    prefix, suffix = query.near
    shape = decide_shape(prefix, suffix, query.language_id, settings.multi_line)
    lead = lead_of(prefix, suffix, shape, query.indent_unit or USUAL_UNIT)
    if lead and (known is None or not known.rest):
        # As if it had been typed; a suggestion then begins with it.
        typed = replace(query, prefix=query.prefix + lead, indent_unit="")
        outcome = generate(
            engine,
            typed,
            settings,
            gathered=gathered,
            cancel=cancel,
            on_text=on_text,
        )
        return _led_by(lead, outcome)
    around = query.surroundings
    threshold, token_rule = 0.0, None
    if query.thresholds is not None and not query.explicit:
        threshold = query.thresholds.of(shape)
        least = least_first_line_of(threshold, shape, prefix)
        token_rule = make_token_rule(shape, least_first_line=least)
    request = FillRequest(
        prefix=query.prefix,
        suffix=_told_suffix(query),
        max_new_tokens=token_limit(settings, engine.info.context_tokens),
        fim_order=settings.fim_order,
        temperature=settings.temperature,
        num_candidates=num_candidates_wanted(query, settings),
        stop_rule=make_stop_rule(shape, prefix, suffix),
        token_rule=token_rule,
        prefix_start_line=query.prefix_start_line,
        heal=True,
        context=gathered.context,
        path=display_path(around.path, around.folders) if around else "",
        repository=repository_name(around.folders, around.path) if around else "",
    )

    result, finished = ask(engine, request, query, shape, cancel, on_text)
    if query.indent_unit:
        finished = [_indented(one, query) for one in finished]
    offered = [
        (one, candidate.finish_reason)
        for one, candidate in zip(finished, result.candidates, strict=True)
    ]
    if known is not None and known.num_typed >= 0:
        before = [
            (_again(one, prefix, suffix, shape), one.finish_reason)
            for one in known.rest
        ]
        offered = before + offered
    distinct = dedupe([one for one, _ in offered])
    wanted = distinct[: num_candidates_wanted(query, settings)]
    suggestions = tuple(one for one in wanted if one.is_surer_than(threshold))
    reasons = {one.text: reason for one, reason in offered}
    finish_reasons = tuple(reasons[one.text] for one in suggestions)
    return Outcome(
        name="cancelled"
        if result.cancelled
        else _name(offered, suggestions, finish_reasons),
        suggestions=suggestions,
        finish_reasons=finish_reasons,
        shape=shape,
        candidates=result.candidates,
        fim_order=result.fim_order,
        statistics=result.statistics,
        total_ms=gathered.took_ms + (time.perf_counter() - started) * 1000,
        removed=finished[0].removed if finished else (),
        withheld=tuple(one for one in wanted if one not in suggestions),
        threshold=threshold,
        context=gathered.context,
        parts=result.parts,
        healed=result.healed,
        gather_ms=gathered.took_ms,
    )


def _indented(one: Finished, query: Query) -> Finished:
    """Return a suggestion indented as the editor does it."""
    before, _ = split_at_cursor(query.prefix[-2000:], "")
    text = in_unit(
        one.text, query.indent_unit, query.language_id, at_line_start=not before
    )
    return replace(one, text=text)


def _led_by(lead: str, outcome: Outcome) -> Outcome:
    """Return an outcome with its suggestions' indentation put before them."""
    return replace(
        outcome,
        suggestions=tuple(
            replace(one, text=lead + one.text) for one in outcome.suggestions
        ),
        withheld=tuple(replace(one, text=lead + one.text) for one in outcome.withheld),
    )


def _told_suffix(query: Query) -> str:
    """Return the suffix less the closers that the editor added with their openers.

    They come and go while somebody types, and in SPM order each change would have the
    whole prompt computed again. The model closes what is open by itself, and the
    suggestion's range covers those that stand there.
    """
    before, right = split_at_cursor(query.prefix[-2000:], query.suffix[:2000])
    bare = right.strip()
    if not bare or any(one not in _AUTO_CLOSED for one in bare):
        return query.suffix
    opened = Counter(_AUTO_CLOSED[one] for one in bare)
    if any(before.count(opener) < number for opener, number in opened.items()):
        return query.suffix
    return query.suffix[len(right) :]


def _again(one: Suggested, prefix: str, suffix: str, shape: Shape) -> Finished:
    """Return what is left of a remembered suggestion, as it is to be shown."""
    finished = finish(
        one.text, prefix, suffix, shape, one.finish_reason, is_remembered=True
    )
    return replace(finished, confidence=one.confidence, origin=one.origin)


def to_remember(outcome: Outcome, request: int = 0) -> tuple[Suggested, ...]:
    """Return an outcome's suggestions as they should be remembered.

    A text that a token limit ended is whole by now; it must not be cut again.
    ``request`` is the number that they are told to the editor with, if they are.
    """
    return tuple(
        Suggested(
            one.text,
            "eos" if reason == "length" else reason,
            one.confidence,
            one.origin or (f"{request}.{index}" if request else ""),
        )
        for index, (one, reason) in enumerate(
            zip(outcome.suggestions, outcome.finish_reasons, strict=True)
        )
    )


def _name(
    offered: list[tuple[Finished, str]],
    suggestions: tuple[Finished, ...],
    finish_reasons: tuple[str, ...],
) -> str:
    if suggestions:
        return "shown:token-limit" if "length" in finish_reasons else "shown"
    if not offered:
        return "empty:nothing-generated"
    first, reason = offered[0]
    if first.text or reason == "unsure":
        return "empty:unsure"
    return first.reason
