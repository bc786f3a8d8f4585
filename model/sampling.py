"""From a position's scores to the next token: pure callables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Scored = tuple[int, float]
"""A token id and its log-probability."""

Sampler = Callable[[npt.ArrayLike], Scored]
"""Scores ``[vocabulary]`` to a token id and its log-probability."""


def make_sampler(temperature: float, seed: int) -> Sampler:
    """Return seeded sampling at a temperature above 0.

    The log-probabilities are those of the distribution sampled from.
    """
    generator = np.random.default_rng(seed)

    def sample(scores: npt.ArrayLike) -> Scored:
        exact = np.asarray(scores, dtype=np.float64)
        # Relative to the best, so that a tiny temperature cannot overflow.
        with np.errstate(over="ignore"):
            scaled = (exact - exact.max()) / temperature
        cumulative = np.exp(scaled).cumsum()
        total = cumulative[-1]
        # The last sum is the total itself, and the draw lies below it.
        token_id = int(cumulative.searchsorted(generator.random() * total, "right"))
        return token_id, float(scaled[token_id] - np.log(total))

    return sample


def choose_of(
    scores: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.int64],
    sampler: Sampler | None = None,
) -> Scored:
    """Return the best of the ``allowed`` tokens, or a sample; the rest is impossible.

    The log-probability is that of the distribution over those allowed.
    """
    if sampler is None:
        return top_of(scores, allowed, 1)[0]
    position, logprob = sampler(scores[allowed])
    return int(allowed[position]), logprob


def top_of(
    scores: npt.NDArray[np.float32], allowed: npt.NDArray[np.int64], count: int
) -> list[Scored]:
    """Return the ``count`` best of the ``allowed`` tokens, which are ascending."""
    some = scores[allowed].astype(np.float64)
    best = np.argsort(-some, kind="stable")[:count]
    most = some.max()
    normaliser = most + np.log(np.exp(some - most).sum())
    return [(int(allowed[one]), float(some[one] - normaliser)) for one in best]
