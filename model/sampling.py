"""From logits to the next token: pure callables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Sampler = Callable[["torch.Tensor"], tuple[int, float]]
"""Logits ``[vocabulary]`` to a token id and its log-probability."""


def greedy(logits: torch.Tensor) -> tuple[int, float]:
    """Take the most probable token; the lowest id wins a tie."""
    token_id = int(logits.argmax())
    return token_id, float(logits[token_id] - logits.logsumexp(-1))


def make_sampler(temperature: float, seed: int) -> Sampler:
    """Return greedy choice at temperature 0, else seeded sampling."""
    if temperature <= 0:
        return greedy
    import torch

    generator = torch.Generator(device="cpu").manual_seed(seed)

    def sample(logits: torch.Tensor) -> tuple[int, float]:
        # Relative to the best, so that a tiny temperature cannot overflow.
        scaled = (logits.double() - float(logits.max())) / temperature
        log_probabilities = torch.log_softmax(scaled, dim=-1)
        token_id = int(
            torch.multinomial(log_probabilities.exp(), 1, generator=generator)
        )
        return token_id, float(log_probabilities[token_id])

    return sample


def top_tokens(logits: torch.Tensor, count: int) -> list[tuple[int, float]]:
    """Return the ``count`` most probable tokens with their log-probabilities."""
    values, indices = logits.topk(min(count, logits.shape[-1]))
    normaliser = logits.logsumexp(-1)
    return [
        (int(index), float(value - normaliser))
        for index, value in zip(indices, values, strict=True)
    ]
