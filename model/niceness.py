"""How far the threads that compute stand back for other programs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger(__name__)

_WINDOWS_IDLE_FROM = 10


def stand_back(niceness: int) -> None:
    """Lower the priority of this thread and of those it starts: 0 is none, 19 most.

    Where threads have no priority of their own that others inherit, the whole process
    gets it. It is never raised again: systems forbid that, so 0 changes nothing.
    """
    if niceness <= 0:
        return
    import psutil

    try:
        if sys.platform.startswith("linux"):
            thread = threading.get_native_id()
            present = os.getpriority(os.PRIO_PROCESS, thread)
            if present < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
        else:
            _lower_process(psutil.Process(), niceness)
    except (OSError, psutil.Error) as error:
        logger.warning("the niceness stays as it is: %s", error)


def _lower_process(process: psutil.Process, niceness: int) -> None:
    import psutil

    if sys.platform == "win32":
        if niceness < _WINDOWS_IDLE_FROM:
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            process.nice(psutil.IDLE_PRIORITY_CLASS)
    elif process.nice() < niceness:
        process.nice(niceness)
