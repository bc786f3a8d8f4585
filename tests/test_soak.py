"""The server's memory after much work is what it was after little."""

from __future__ import annotations

import pytest
from soaking import Sample, soak

_WARM_COMPLETIONS = 1_000


def growth(samples: list[Sample], warm_completions: int) -> float:
    """Return by what share memory has grown since so many completions."""
    warm = next(one for one in samples if one.num_completions >= warm_completions)
    return samples[-1].rss_bytes / warm.rss_bytes - 1


async def test_memory_is_flat_over_thousands_of_edits() -> None:
    """Documents come and go, suggestions are taken; a bound that a leak would break."""
    samples = [one async for one in soak("echo", 5_000, 500, sample_every=100)]
    assert samples[-1].num_edits >= 5_000
    assert samples[-1].num_completions >= 500
    assert growth(samples, 200) < 0.05, samples


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize(
    "model", ["echo", pytest.param("starter", marks=pytest.mark.model)]
)
async def test_memory_is_flat_over_a_hundred_thousand_edits(model: str) -> None:
    """After 100,000 edits and 10,000 completions as after 1,000, within 2 %."""
    samples = []
    async for one in soak(model, 100_000, 10_000, sample_every=_WARM_COMPLETIONS):
        print(one, flush=True)
        samples.append(one)
    assert abs(growth(samples, _WARM_COMPLETIONS)) < 0.02, samples
