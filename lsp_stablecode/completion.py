"""One request, from the text around the cursor to a named outcome.

An outcome is ``shown``, ``shown:token-limit`` (the text was cut back to a whole line
or word because the token limit struck), ``type-through`` (answered from memory),
``superseded``, ``cancelled``, or ``empty:<why>``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lsp_stablecode.context.place import Surroundings
from lsp_stablecode.context.rendering import display_path, repository_name
from lsp_stablecode.documents import Document
from lsp_stablecode.postprocess import Finished, dedupe, finish
from lsp_stablecode.settings import Settings
from lsp_stablecode.shape import Shape, decide_shape
from lsp_stablecode.stops import make_stop_rule
from lsp_stablecode.suggestions import Known, Suggested
from model import (
    CancelFlag,
    Candidate,
    ContextChunk,
    Engine,
    FillRequest,
    PromptPart,
    Statistics,
)

if TYPE_CHECKING:
    # Its grammars and ranking are imported on the engine's thread, at the first need.
    from lsp_stablecode.context.gather import Gatherer

_PREFIX_LINES = 3000
_SUFFIX_LINES = 1000
_LINE_TOKENS = 64
_NEAR_CHARACTERS = 12_000
# Of a prompt, how much other documents may take.
_CONTEXT_SHARE = 0.375


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: the text around the cursor and how it came to be asked.

    ``surroundings`` is what else is known of the place, in other documents too.
    """

    prefix: str
    suffix: str
    prefix_start_line: int
    language_id: str
    explicit: bool
    surroundings: Surroundings | None = None

    @property
    def near(self) -> tuple[str, str]:
        """The text that shape, stops and postprocessing look at, cut at a line."""
        prefix, suffix = self.prefix[-_NEAR_CHARACTERS:], self.suffix
        if len(self.prefix) > _NEAR_CHARACTERS:
            prefix = prefix[prefix.find("\n") + 1 :]
        return prefix, suffix[:_NEAR_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, with everything that explains it."""

    name: str
    suggestions: tuple[Finished, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    shape: Shape | None = None
    candidates: tuple[Candidate, ...] = ()
    fim_order: str = ""
    statistics: Statistics = field(default_factory=Statistics)
    total_ms: float = 0.0
    removed: tuple[str, ...] = ()
    context: tuple[ContextChunk, ...] = ()
    parts: tuple[PromptPart, ...] = ()
    healed: str = ""
    gather_ms: float = 0.0


def make_query(
    document: Document,
    line: int,
    character: int,
    *,
    explicit: bool,
    cells: tuple[list[str], list[str]] = ([], []),
    selected: str | None = None,
    selected_start: tuple[int, int] | None = None,
) -> Query:
    """Take the windows before and after a wire position.

    ``cells`` are the texts of a notebook's cells around the document. ``selected``
    is the text of the pop-up menu's selected item, which would replace everything
    from ``selected_start`` to the position.
    """
    prefix, start_line = document.prefix_window(
        *(selected_start or (line, character)), _PREFIX_LINES
    )
    suffix = document.suffix_window(line, character, _SUFFIX_LINES)
    before, after = cells
    if before:
        prefix = "".join(f"{cell.rstrip()}\n\n" for cell in before) + prefix
    if after:
        suffix = suffix + "".join(f"\n\n{cell.rstrip()}" for cell in after)
    return Query(
        prefix=prefix + (selected or ""),
        suffix=suffix,
        prefix_start_line=start_line,
        language_id=document.language_id,
        explicit=explicit,
    )


def num_candidates_wanted(query: Query, settings: Settings) -> int:
    """Several candidates only for somebody who asked by hand and can cycle."""
    return settings.candidates if query.explicit else 1


def from_memory(query: Query, settings: Settings, known: Known) -> Outcome | None:
    """Answer from remembered suggestions, or ``None`` if that is not enough.

    Somebody who asks by hand where one automatic suggestion is known wants more.
    """
    if known.num_candidates < num_candidates_wanted(query, settings):
        return None
    prefix, suffix = query.near
    shape = decide_shape(prefix, suffix, query.language_id, settings.multi_line)
    suggestions = dedupe(
        [
            finish(one.text, prefix, suffix, shape, one.finish_reason)
            for one in known.rest
        ]
    )
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
    gatherer: Gatherer | None = None,
    known: Known | None = None,
    cancel: CancelFlag | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Outcome:
    """Ask the model, with what ``gatherer`` finds. Runs on the engine's thread.

    What is ``known`` here stays the first suggestion, so that asking by hand shows
    the ghost text that is on the screen, and then others.
    """
    started = time.perf_counter()
    prefix, suffix = query.near
    shape = decide_shape(prefix, suffix, query.language_id, settings.multi_line)
    context = _gather(engine, query, settings, gatherer)
    gather_ms = (time.perf_counter() - started) * 1000
    around = query.surroundings
    result = engine.fill(
        FillRequest(
            prefix=query.prefix,
            suffix=query.suffix,
            max_new_tokens=_token_limit(shape, settings, engine.info.context_tokens),
            fim_order=settings.fim_order,
            temperature=settings.temperature,
            num_candidates=num_candidates_wanted(query, settings),
            stop_rule=make_stop_rule(shape, prefix, suffix),
            prefix_start_line=query.prefix_start_line,
            heal=True,
            context=context,
            path=display_path(around.path, around.folders) if around else "",
            repository=repository_name(around.folders, around.path) if around else "",
        ),
        cancel,
        on_text,
    )
    offered = [(one.text, one.finish_reason) for one in result.candidates]
    if known is not None and known.num_typed >= 0:
        offered = [(one.text, one.finish_reason) for one in known.rest] + offered
    finished = [finish(text, prefix, suffix, shape, reason) for text, reason in offered]
    suggestions = dedupe(finished)[: num_candidates_wanted(query, settings)]
    reasons = {
        one.text: reason for one, (_, reason) in zip(finished, offered, strict=True)
    }
    finish_reasons = tuple(reasons.get(one.text, "eos") for one in suggestions)
    return Outcome(
        name=_name(finished, suggestions, finish_reasons, result.cancelled),
        suggestions=suggestions,
        finish_reasons=finish_reasons,
        shape=shape,
        candidates=result.candidates,
        fim_order=result.fim_order,
        statistics=result.statistics,
        total_ms=(time.perf_counter() - started) * 1000,
        removed=finished[0].removed if finished else (),
        context=context,
        parts=result.parts,
        healed=result.healed,
        gather_ms=gather_ms,
    )


def _gather(
    engine: Engine, query: Query, settings: Settings, gatherer: Gatherer | None
) -> tuple[ContextChunk, ...]:
    """Return what of other documents the prompt should hold."""
    if gatherer is None or query.surroundings is None or not settings.context:
        return ()
    limit = min(settings.max_new_tokens, engine.info.context_tokens // 2)
    budget = int((engine.info.context_tokens - limit) * _CONTEXT_SHARE)
    return gatherer.gather(query.surroundings, budget, engine.count_tokens)


def _token_limit(shape: Shape, settings: Settings, context_tokens: int) -> int:
    """Return the most tokens worth generating.

    One line is rarely a long one, and at least half of the context is the prompt's.
    """
    limit = min(settings.max_new_tokens, context_tokens // 2)
    return min(limit, _LINE_TOKENS) if shape.kind == "line" else limit


def to_remember(outcome: Outcome) -> tuple[Suggested, ...]:
    """Return an outcome's suggestions as they should be remembered.

    A text that a token limit ended is whole by now; it must not be cut again.
    """
    return tuple(
        Suggested(one.text, "eos" if reason == "length" else reason)
        for one, reason in zip(outcome.suggestions, outcome.finish_reasons, strict=True)
    )


def _name(
    finished: list[Finished],
    suggestions: tuple[Finished, ...],
    finish_reasons: tuple[str, ...],
    cancelled: bool,
) -> str:
    if cancelled:
        return "cancelled"
    if suggestions:
        return "shown:token-limit" if "length" in finish_reasons else "shown"
    return finished[0].reason if finished else "empty:nothing-generated"
