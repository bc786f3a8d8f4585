"""The one thread of a session that looks at the user's files.

A file system may be silent for minutes (a network's, a sleeping disk's), and nobody can
stop a call that waits for it. Whom that keeps waiting is this session: neither the
event loop nor the model's thread, which other editors may share, looks at such files.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from lsp_stablecode.errors import FilesSilentError

T = TypeVar("T")

SLOW_FILES = "slow-files"
"""Why nothing is suggested where the file system does not answer."""

# The first look at a large workspace takes a second.
_PATIENCE_S = 3.0


class Turn(IntEnum):
    """Lower goes first: an answer from memory waits for no gathering to come."""

    VERDICT = 0
    GATHER = 1
    END = 2


@dataclass(order=True, slots=True)
class _Call:
    turn: Turn
    number: int
    call: Callable[[], Any] | None = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)


class FileThread:
    """Runs calls one after the other, on a daemon: none can hold the process."""

    def __init__(self) -> None:
        self._calls: queue.PriorityQueue[_Call] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._began_s: float | None = None
        self._is_closed = False

    async def ask(self, call: Callable[[], T], turn: Turn) -> T:
        """Run a call and return its result. One that is cancelled may be skipped.

        Raises ``FilesSilentError`` when this call, or one before it, has been running
        for some seconds; it goes on then.
        """
        if self._is_closed:
            raise FilesSilentError("Nobody looks at files any more.")
        future = asyncio.wrap_future(self._run(call, turn))
        try:
            while not future.done():
                left_s = _PATIENCE_S - self._running_s()
                if left_s <= 0:
                    raise FilesSilentError("The file system does not answer.")
                await asyncio.wait([future], timeout=left_s)
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        """End the thread after what was asked before."""
        self._is_closed = True
        self._calls.put(_Call(Turn.END, next(self._numbers), None))

    def _running_s(self) -> float:
        """Return for how long the call has been running that runs now."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    def _run(self, call: Callable[[], T], turn: Turn) -> Future[T]:
        one = _Call(turn, next(self._numbers), call)
        self._calls.put(one)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name="files", daemon=True
            )
            self._thread.start()
        return one.future

    def _loop(self) -> None:
        while (one := self._calls.get()).call is not None:
            if one.future.set_running_or_notify_cancel():
                self._began_s = time.monotonic()
                try:
                    result = one.call()
                except BaseException as error:
                    one.future.set_exception(error)
                else:
                    one.future.set_result(result)
                    del result
                self._began_s = None
            # It would keep texts alive.
            del one
