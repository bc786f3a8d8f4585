"""An outcome explained: what the prompt held, what was reused, how sure, why it ended.

For the user's own eyes: unlike a trace it holds source text.
"""

from __future__ import annotations

import math
from typing import Any

from lsp_stablecode.outcome import Outcome
from lsp_stablecode.trace import describe
from model import GeneratedToken


def explain(outcome: Outcome) -> dict[str, Any]:
    """Return everything that explains an outcome, as JSON data.

    To what a trace holds come the texts: of the suggestions, of their tokens with the
    probability of each, and of what was taken back and generated again.
    """
    told = describe(outcome)
    for one, candidate in zip(told["candidates"], outcome.candidates, strict=True):
        one["text"] = candidate.text
        one["probabilities"] = [_token(token) for token in candidate.tokens]
    for one, suggestion in zip(told["suggestions"], outcome.suggestions, strict=True):
        one["text"] = suggestion.text
    for one, suggestion in zip(told["withheld"], outcome.withheld, strict=True):
        one["text"] = suggestion.text
    return {**told, "healed": outcome.healed}


def explanation_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the same for people: a name and a sentence each."""
    shape = outcome.shape
    statistics = outcome.statistics
    lines = [
        ("outcome", outcome.name),
        ("shape", f"{shape.kind}, because {shape.reason}" if shape else ""),
        ("prompt order", outcome.fim_order),
        (
            "prompt",
            f"{statistics.prompt_tokens} tokens, {statistics.reused_tokens} reused, "
            f"{statistics.prompt_tokens - statistics.reused_tokens} computed",
        ),
    ]
    for part in outcome.parts:
        about = " ".join(filter(None, (part.path, part.source and f"({part.source})")))
        counts = f"{part.num_tokens} tokens, {part.num_reused} reused"
        lines.append((f"  {part.kind}", f"{counts}{' · ' + about if about else ''}"))
    if outcome.healed:
        lines.append(("healed", f"{outcome.healed!r} was taken back"))
    for number, one in enumerate(outcome.candidates, 1):
        lines.append(
            (
                f"candidate {number}",
                f"{one.num_tokens} tokens, ended by {one.finish_reason}, "
                f"mean probability {math.exp(one.mean_logprob):.0%}",
            )
        )
        spelled = (
            f"{t.text!r} {math.exp(t.logprob):.0%}" for t in one.tokens if t.text
        )
        lines.append(("  tokens", "  ".join(spelled)))
    for kind, some in (
        ("suggestion", outcome.suggestions),
        ("withheld", outcome.withheld),
    ):
        for suggestion in some:
            sure = "unknown"
            if suggestion.confidence is not None:
                sure = f"{suggestion.confidence:.0%}"
            removed = ", ".join(suggestion.removed) or "nothing"
            lines.append((kind, f"confidence {sure}; removed: {removed}"))
    if not outcome.suggestions and outcome.removed:
        lines.append(("removed", ", ".join(outcome.removed)))
    if outcome.threshold:
        lines.append(("threshold", f"{outcome.threshold:.0%}"))
    drafts = f"{statistics.accepted_tokens} of {statistics.drafted_tokens}"
    lines += [
        ("passes", f"{statistics.forwards}; {drafts} guessed tokens were right"),
        (
            "milliseconds",
            f"context {outcome.gather_ms:.0f}, prompt {statistics.prefill_ms:.0f}, "
            f"tokens {statistics.decode_ms:.0f}, together {outcome.total_ms:.0f}",
        ),
    ]
    return lines


def _token(token: GeneratedToken) -> dict[str, Any]:
    return {"text": token.text, "probability": round(math.exp(token.logprob), 4)}
