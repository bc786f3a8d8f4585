"""A pause in all suggestions that ends by itself."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable


class Snooze:
    """Begun by the user, for some minutes. Lives on the event loop.

    ``on_end`` is called when the time is over, and not when the user ends it.
    """

    def __init__(self, on_end: Callable[[], object]) -> None:
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = 0.0

    @property
    def is_on(self) -> bool:
        """Whether there is to be silence now."""
        return self._timer is not None

    @property
    def seconds_left(self) -> int:
        """How long it still lasts, rounded up; 0 where there is none."""
        if self._timer is None:
            return 0
        left_s = self._timer.when() - asyncio.get_running_loop().time()
        return max(1, math.ceil(left_s))

    @property
    def until_s(self) -> float | None:
        """When it ends, in seconds since the epoch."""
        return self._until_s if self.is_on else None

    def begin(self, minutes: float) -> None:
        """Begin one that lasts so long from now on, in place of any there is."""
        self.end()
        loop = asyncio.get_running_loop()
        self._until_s = time.time() + 60 * minutes
        self._timer = loop.call_later(60 * minutes, self._time_is_over)

    def end(self) -> None:
        """End it now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_over(self) -> None:
        self._timer = None
        self._on_end()
