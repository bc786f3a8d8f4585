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
