"""The one thread of a session that looks at the user's files.

A file system may be silent for minutes (a network's, a sleeping disk's), and nobody can
stop a call that waits for it. Whom that keeps waiting is this session: neither the
event loop nor the model's thread, which other editors may share, looks at such files.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from lsp_stablecode.errors import FilesSilentError

T = TypeVar("T")

# The first look at a large workspace takes a second.
_PATIENCE_S = 3.0


class FileThread:
    """Runs calls one after the other, on a daemon: none can hold the process."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def ask(self, call: Callable[[], T]) -> T:
        """Run a call and return its result. One that is cancelled may be skipped.

        Raises ``FilesSilentError`` after some seconds; a call that runs then goes on.
        """
        future = asyncio.wrap_future(self.run(call))
        try:
            return await asyncio.wait_for(future, _PATIENCE_S)
        except TimeoutError:
            raise FilesSilentError("The file system does not answer.") from None

    def run(self, call: Callable[[], T]) -> Future[T]:
        """Run a call that nobody waits for."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name="files", daemon=True
            )
            self._thread.start()
        return future

    def close(self) -> None:
        """End the thread after what was asked before."""
        self._calls.put(None)

    def _loop(self) -> None:
        while (one := self._calls.get()) is not None:
            future, call = one
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # They would keep texts alive.
            del one, future, call
