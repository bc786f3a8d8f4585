"""What a prompt may hold of other documents, for one query."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings
from model import ContextChunk, Engine

if TYPE_CHECKING:
    # Its grammars and ranking are imported on the files' thread, at the first need.
    from lsp_stablecode.context.gather import Gatherer

logger = logging.getLogger(__name__)

# Of a prompt, how much other documents may take.
_CONTEXT_SHARE = 0.375


@dataclass(frozen=True, slots=True)
class Gathered:
    """Context for a prompt, and how long finding it took."""

    context: tuple[ContextChunk, ...] = ()
    took_ms: float = 0.0


def prepare() -> None:
    """Import what gathering needs, so that the first request need not wait for it."""
    from lsp_stablecode.context.gather import prepare as prepare_ranking

    prepare_ranking()


def wants_context(query: Query, settings: Settings) -> bool:
    """Tell whether anything is to be gathered."""
    return query.surroundings is not None and settings.context


def gather(
    engine: Engine, query: Query, settings: Settings, gatherer: Gatherer
) -> Gathered:
    """Gather what a prompt should hold of other documents."""
    if query.surroundings is None or not settings.context:
        return Gathered()
    started = time.perf_counter()
    num_tokens = engine.info.context_tokens
    room = num_tokens - token_limit(settings, num_tokens)
    budget = int(room * _CONTEXT_SHARE)
    try:
        context = gatherer.gather(query.surroundings, budget, engine.count_tokens)
    except (OSError, RuntimeError, ValueError):
        # What is odd about another file must not cost this one its suggestions.
        logger.exception("no context could be gathered")
        context = ()
    return Gathered(context, (time.perf_counter() - started) * 1000)


def token_limit(settings: Settings, context_tokens: int) -> int:
    """Return the most tokens worth generating.

    At least half of the context is the prompt's. A line has as many as a block: few
    are long, and half a long one is of no use.
    """
    return min(settings.max_new_tokens, context_tokens // 2)
