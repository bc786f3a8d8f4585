"""How probably the first line of a suggestion is exactly right."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import product

from lsp_stablecode.judgement.calibration import CALIBRATION, Calibration
from lsp_stablecode.lexis import split_at_cursor
from lsp_stablecode.shape import Shape
from model import Candidate, GeneratedToken

__all__ = ["Features", "columns", "confidence", "features", "least_first_line"]

_LEAST_LOGPROB = -20.0
_MOST_LOGIT = 8.0
_MOST_TOKENS = 32.0
_MOST_CHARACTERS = 80.0


@dataclass(frozen=True, slots=True)
class Features:
    """What a confidence is made from; log-probabilities are natural ones.

    ``line_logprob`` is the sum over the tokens that make the first shown line, with
    the one that ended it; ``least_logprob`` is the least of them. ``is_block``,
    ``is_healed`` and ``is_new_line`` are 0 or 1; a new line begins where nothing but
    blanks stands left of the cursor, or below it.
    """

    line_logprob: float
    least_logprob: float
    first_logprob: float
    num_tokens: float
    num_characters: float
    is_block: float
    is_healed: float
    is_new_line: float


def features(
    candidate: Candidate,
    shown_text: str,
    shape: Shape,
    *,
    prefix: str,
    healed: bool,
) -> Features | None:
    """Return what is known of a candidate of which ``shown_text`` is shown.

    ``prefix`` is the text before the cursor. ``None`` where the engine tells no
    probabilities, or where nothing is shown.
    """
    line = next((one.strip() for one in shown_text.splitlines() if one.strip()), "")
    tokens = line_tokens(candidate.tokens, line)
    if not tokens or not line:
        return None
    logprobs = [max(one.logprob, _LEAST_LOGPROB) for one in tokens]
    before, _ = split_at_cursor(prefix, "")
    is_new_line = not before.strip() or not shown_text.splitlines()[0].strip()
    return Features(
        line_logprob=max(sum(logprobs), _LEAST_LOGPROB),
        least_logprob=min(logprobs),
        first_logprob=logprobs[0],
        num_tokens=float(len(logprobs)),
        num_characters=float(len(line)),
        is_block=float(shape.kind == "block"),
        is_healed=float(healed),
        is_new_line=float(is_new_line),
    )


def line_tokens(
    tokens: tuple[GeneratedToken, ...], line: str
) -> tuple[GeneratedToken, ...]:
    """Return the tokens that make ``line``, with the one that ended it.

    What was changed after decoding may not be found; it is the first line then.
    """
    text = "".join(one.text for one in tokens)
    start = text.find(line)
    if start < 0:
        start = len(text) - len(text.lstrip())
        line = text[start:].partition("\n")[0].rstrip()
    end = start + len(line)
    position = 0
    for index, one in enumerate(tokens):
        position += len(one.text)
        # The token that reaches over the line's end, or the next one: the model's
        # decision that the line ends here is in its probability.
        if position > end or (position == end and not one.text):
            return tokens[: index + 1]
    return tokens


def columns(features: Features) -> tuple[float, ...]:
    """Return what the coefficients are multiplied with, in a calibration's order."""
    return (
        1.0,
        _logit(features.line_logprob),
        features.least_logprob,
        features.first_logprob,
        math.log(max(features.num_tokens, 1.0)),
        math.log(max(features.num_characters, 1.0)),
        features.is_block,
        features.is_healed,
        features.is_new_line,
    )


def confidence(features: Features, calibration: Calibration = CALIBRATION) -> float:
    """Return how probably the first line is exactly right, 0 to 1."""
    weights = astuple(calibration)
    total = sum(w * x for w, x in zip(weights, columns(features), strict=True))
    return 1 / (1 + math.exp(-min(max(total, -30.0), 30.0)))


def _logit(logprob: float) -> float:
    """Return the logit of a probability, kept away from certainty."""
    rest = -math.expm1(min(logprob, 0.0))
    if rest <= 0.0:
        return _MOST_LOGIT
    return min(max(logprob - math.log(rest), _LEAST_LOGPROB), _MOST_LOGIT)


@lru_cache(maxsize=256)
def least_first_line(
    threshold: float,
    *,
    is_block: bool,
    is_blank: bool,
    calibration: Calibration = CALIBRATION,
) -> float:
    """Return the probability below which a line cannot come to ``threshold`` any more.

    The product of a line's probabilities only falls, so whoever writes it may stop
    there. ``is_blank`` says that nothing but blanks stands left of the cursor. The
    rest of what counts is taken to turn out as well as it can.
    """
    low, high = _LEAST_LOGPROB, 0.0
    for _ in range(24):
        middle = (low + high) / 2
        most = _most_confidence(middle, is_block, is_blank, calibration)
        low, high = (low, middle) if most >= threshold else (middle, high)
    return math.exp(low)


def _most_confidence(
    line_logprob: float, is_block: bool, is_blank: bool, calibration: Calibration
) -> float:
    """Return the greatest confidence of any line of this probability."""
    # The confidence is monotone in each of the others: the best is in a corner.
    return max(
        confidence(Features(line_logprob, *corner), calibration)
        for corner in product(
            (line_logprob, 0.0),
            (line_logprob, 0.0),
            (1.0, _MOST_TOKENS),
            (1.0, _MOST_CHARACTERS),
            (float(is_block),),
            (0.0, 1.0),
            (1.0,) if is_blank else (0.0, 1.0),
        )
    )
