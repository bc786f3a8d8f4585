"""Whether this computer should be spared: on its battery, or short of memory."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Literal

import psutil

from model import memory_is_short

logger = logging.getLogger(__name__)

_BELIEVED_S = 30.0
Need = Literal["", "battery", "memory"]


class MachineLoad:
    """What speaks against work that nobody waits for.

    The battery is read seldom, and never on the event loop: some take long to answer.
    """

    def __init__(self) -> None:
        self._on_battery = False
        self._read_s: float | None = None

    async def need(self) -> Need:
        """Return what has to be spared now, or nothing."""
        if memory_is_short():
            return "memory"
        now = time.monotonic()
        if self._read_s is None or now - self._read_s > _BELIEVED_S:
            self._on_battery = await asyncio.to_thread(_on_battery)
            self._read_s = now
        return "battery" if self._on_battery else ""


def _on_battery() -> bool:
    """Return whether there is a battery and it is being emptied."""
    # Some platforms have no such function, some drivers no such file.
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError) as error:
        logger.info("the battery cannot be read (%s)", type(error).__name__)
        return False
    return battery is not None and battery.power_plugged is False
