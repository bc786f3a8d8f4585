"""What a model's probabilities are worth, as data: fitted by ``eval calibration``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients of a logistic regression; each names what it is multiplied with.

    ``line`` belongs to the logit of the probability that the model gives the first
    line, ``least`` and ``first`` to the log-probability of its least likely and its
    first token, ``tokens`` and ``characters`` to the logarithms of their numbers.
    The others are added where they apply.
    """

    intercept: float = 0.0
    line: float = 1.0
    least: float = 0.0
    first: float = 0.0
    tokens: float = 0.0
    characters: float = 0.0
    block: float = 0.0
    healed: float = 0.0
    new_line: float = 0.0


# Believes the model as it is; models of code are overconfident by about this much.
CALIBRATION: Final = Calibration(intercept=-0.5)
"""The one in use."""
