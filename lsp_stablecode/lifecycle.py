"""How the process ends: with its client, at Ctrl-C, and never by hanging."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

import psutil

logger = logging.getLogger(__name__)

_POLL_S = 1.0


def watch_client(process_id: int, release: Callable[[], object]) -> None:
    """End this process soon after the client's process is gone.

    ``release`` is called before, to stop what runs.

    Standard input normally says so first; but another process may have inherited
    the pipe. A client whose id means nothing here (a container, another machine)
    is not watched.
    """

    def watch() -> None:
        if not await_end(process_id):
            return
        try:
            release()
        finally:
            leave(0)

    threading.Thread(target=watch, name="client watch", daemon=True).start()


def await_end(process_id: int) -> bool:
    """Wait until a process is gone; return at once, false, if it cannot be seen."""
    try:
        process = psutil.Process(process_id)
    except (psutil.Error, ValueError):
        logger.info("the client's process %s cannot be seen from here", process_id)
        return False
    while _is_alive(process):
        time.sleep(_POLL_S)
    logger.info("the client's process is gone")
    return True


def leave(exit_code: int) -> None:
    """End the process now, with whatever its threads are at.

    Python's own exit would wait for the thread that reads standard input, and may
    crash while torch still computes on a daemon thread.
    """
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)


def _is_alive(process: psutil.Process) -> bool:
    try:
        # is_running also notices that the id was given to another process.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
