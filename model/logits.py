"""Scores of next tokens as a plain array in memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from model.errors import WeightsCorruptError


class NumpyLogits:
    """``Logits`` over an fp32 array ``[positions, vocabulary]``."""

    def __init__(self, scores: npt.NDArray[np.float32]) -> None:
        self._scores = scores

    def __len__(self) -> int:
        """How many positions there are."""
        return len(self._scores)

    def greedy(self) -> list[tuple[int, float]]:
        """Return each position's most probable token and its log-probability."""
        # Row by row: a temporary of one row stays in the processor's cache.
        return [_best(scores) for scores in self._scores]

    def top(self, position: int, count: int) -> list[tuple[int, float]]:
        """Return the ``count`` most probable tokens of a position, best first."""
        scores = self._scores[position]
        count = min(count, len(scores))
        # Everything as good as the last one wanted, so that ties go by id here too.
        least = np.partition(scores, -count)[-count]
        likely = np.flatnonzero(scores >= least)
        best = likely[np.argsort(-scores[likely], kind="stable")][:count]
        normaliser = _log_sum_exp(scores)
        check_number(normaliser)
        return [
            (int(token_id), float(scores[token_id]) - normaliser) for token_id in best
        ]

    def row(self, position: int) -> npt.NDArray[np.float32]:
        """Return a position's scores, ``[vocabulary]``."""
        row: npt.NDArray[np.float32] = self._scores[position]
        return row


def _best(scores: npt.NDArray[np.float32]) -> tuple[int, float]:
    token_id = int(scores.argmax())
    logprob = float(scores[token_id]) - _log_sum_exp(scores)
    check_number(logprob)
    return token_id, logprob


def check_number(logprob: float) -> None:
    """Raise ``WeightsCorruptError`` for what no sound weights give.

    One number that is none makes a token the most probable for ever.
    """
    if not math.isfinite(logprob):
        raise WeightsCorruptError(
            "The model computes what is no number.",
            hint="Fetch or convert the model again.",
        )


def _log_sum_exp(scores: npt.NDArray[np.float32]) -> float:
    most = scores.max()
    with np.errstate(invalid="ignore"):  # who called says so
        return float(most) + float(np.log(np.exp(scores - most).sum()))
