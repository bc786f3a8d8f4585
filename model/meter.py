"""Statistics of a request that is still running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from model.interface import Statistics


class Meter:
    """Adds to ``statistics``, field by field."""

    def __init__(self) -> None:
        self.statistics = Statistics()

    def add(self, **amounts: float) -> None:
        """Add to the fields of these names."""
        held = self.statistics
        sums: dict[str, Any] = {
            name: getattr(held, name) + amount for name, amount in amounts.items()
        }
        self.statistics = replace(held, **sums)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the milliseconds the block takes, however it ends."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(**{name: (time.perf_counter() - started) * 1000})
