"""Whether the computer runs on its battery."""

from __future__ import annotations

import asyncio
import logging
import time

import psutil

logger = logging.getLogger(__name__)

_BELIEVED_S = 30.0


class PowerSource:
    """Read seldom, and never on the event loop: some batteries take long to answer."""

    def __init__(self) -> None:
        self._on_battery = False
        self._read_s: float | None = None

    async def on_battery(self) -> bool:
        """Return what was read in the last half a minute, or read it."""
        now = time.monotonic()
        if self._read_s is None or now - self._read_s > _BELIEVED_S:
            self._on_battery = await asyncio.to_thread(_read)
            self._read_s = now
        return self._on_battery


def _read() -> bool:
    """Return whether there is a battery and it is being emptied."""
    # Some platforms have no such function, some drivers no such file.
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError) as error:
        logger.info("the battery cannot be read (%s)", type(error).__name__)
        return False
    return battery is not None and battery.power_plugged is False
