"""Coefficients from what was right and what was not: logistic regression in numpy."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from lsp_stablecode.judgement.calibration import Calibration
from lsp_stablecode.judgement.confidence import Features, columns, confidence

_RIDGE = 1.0
_MOST_STEPS = 50
_CLOSE = 1e-8
_NUM_BUCKETS = 10
_LEAST = 1e-6

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """One suggestion, and whether its first line was exactly right.

    Records of one ``group``, a file, resemble each other and stay in one fold.
    """

    features: Features
    is_right: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The suggestions whose confidence lies between two bounds."""

    lower: float
    upper: float
    number: int
    mean_confidence: float
    share_right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well confidences say how often suggestions are right.

    ``log_loss`` is in nats a suggestion; ``calibration_error`` is the mean distance of
    confidence and share right over ten buckets (expected calibration error).
    """

    number: int
    share_right: float
    log_loss: float
    brier: float
    calibration_error: float
    buckets: tuple[Bucket, ...]


def fit(records: Sequence[Record]) -> Calibration:
    """Return the coefficients that make what happened most probable.

    A small ridge pulls them towards those that believe the model as it is, so that
    what never varied stays as it was. Newton's method (iteratively reweighted least
    squares) with halved steps where a whole one does not help.
    """
    believing = np.array(astuple(Calibration()))
    if not records:
        return Calibration()
    inputs = np.array([columns(one.features) for one in records])
    right = np.array([one.is_right for one in records], dtype=np.float64)
    weights = believing.copy()
    loss = _penalised(weights, believing, inputs, right)
    for _ in range(_MOST_STEPS):
        probable = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (probable - right) + _RIDGE * (weights - believing)
        curvature = (inputs.T * (probable * (1 - probable))) @ inputs
        curvature += _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > _CLOSE:
            better = weights - length * step
            less = _penalised(better, believing, inputs, right)
            if less <= loss:
                break
            length /= 2
        else:
            break
        gained, weights, loss = loss - less, better, less
        if gained < _CLOSE:
            break
    return Calibration(*(round(float(one), 4) for one in weights))


def held_out(records: Sequence[Record], *, folds: int = 5) -> list[float]:
    """Return each record's confidence by coefficients that were fitted to the others.

    Whole groups are held out, where there are enough of them.
    """
    names = sorted({one.group for one in records})
    if len(names) < folds:
        of = [index % folds for index in range(len(records))]
    else:
        random.Random(0).shuffle(names)
        fold = {name: index % folds for index, name in enumerate(names)}
        of = [fold[one.group] for one in records]
    fitted = [
        fit([one for one, its in zip(records, of, strict=True) if its != number])
        for number in range(folds)
    ]
    return [
        confidence(one.features, fitted[its])
        for one, its in zip(records, of, strict=True)
    ]


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> Reliability:
    """Return how far at least one confidence can be relied upon."""
    pairs = list(zip(confidences, right, strict=True))
    buckets = []
    for index in range(_NUM_BUCKETS):
        inside = [
            pair
            for pair in pairs
            if min(int(pair[0] * _NUM_BUCKETS), _NUM_BUCKETS - 1) == index
        ]
        if inside:
            buckets.append(
                Bucket(
                    lower=index / _NUM_BUCKETS,
                    upper=(index + 1) / _NUM_BUCKETS,
                    number=len(inside),
                    mean_confidence=sum(one for one, _ in inside) / len(inside),
                    share_right=sum(is_right for _, is_right in inside) / len(inside),
                )
            )
    return Reliability(
        number=len(pairs),
        share_right=sum(is_right for _, is_right in pairs) / len(pairs),
        log_loss=-sum(_log(p if is_right else 1 - p) for p, is_right in pairs)
        / len(pairs),
        brier=sum((p - is_right) ** 2 for p, is_right in pairs) / len(pairs),
        calibration_error=sum(
            one.number * abs(one.mean_confidence - one.share_right) for one in buckets
        )
        / len(pairs),
        buckets=tuple(buckets),
    )


def _log(probability: float) -> float:
    return math.log(min(max(probability, _LEAST), 1.0))


def _sigmoid(logits: _Array) -> _Array:
    result: _Array = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return result


def _penalised(
    weights: _Array, believing: _Array, inputs: _Array, right: _Array
) -> float:
    logits = inputs @ weights
    # log(1 + exp(x)) - y x, for large x as well
    losses = np.logaddexp(0, logits) - right * logits
    away = weights - believing
    return float(losses.sum() + _RIDGE / 2 * (away @ away))
