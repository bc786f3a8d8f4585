"""``eval repo``'s answers as JSON data."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lsp_stablecode.evaluation.figures import (
    Figures,
    by_language,
    by_place,
    figures_of,
    outcomes_of,
)
from lsp_stablecode.evaluation.infilling_report import versions
from lsp_stablecode.evaluation.repository import Answered, PathAnswers
from lsp_stablecode.settings import Settings, to_wire


def to_json(
    results: Sequence[PathAnswers], settings: Settings, *, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that was asked, answered and measured as JSON data.

    It holds lines of the source. ``asked`` says how the gaps were chosen.
    """
    return {
        "benchmark": "gaps in own files",
        **asked,
        "settings": to_wire(settings),
        "versions": versions(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "paths": {
            result.path: {
                "model": result.model,
                "figures": figures_of(result.answers).rounded(),
                "by_language": _rounded(by_language(result.answers)),
                "by_place": _rounded(by_place(result.answers)),
                "outcomes": outcomes_of(result.answers),
                "answers": [_answer_json(one) for one in result.answers],
            }
            for result in results
        },
    }


def _rounded(groups: dict[str, Figures]) -> dict[str, Any]:
    return {name: one.rounded() for name, one in groups.items()}


def _answer_json(answered: Answered) -> dict[str, Any]:
    gap, suggestion = answered.gap, answered.suggestion
    return {
        "where": gap.where,
        "language": gap.language_id,
        "place": gap.place,
        "inside": gap.inside,
        "left": gap.left,
        "truth": gap.truth,
        "closers": gap.closers,
        "after": gap.after,
        **({"name": gap.name} if gap.name else {}),
        "suggestion": suggestion.text if suggestion else None,
        "replaced": suggestion.num_replaced if suggestion else 0,
        "outcome": answered.outcome,
        "shape": answered.shape,
        "finish_reason": answered.finish_reason,
        "tokens": answered.num_tokens,
        "ms": round(answered.elapsed_ms, 1),
        "confidence": answered.confidence,
        **asdict(answered.measures),
        "defects": [asdict(one) for one in answered.defects],
        "explanation": answered.explanation,
    }
