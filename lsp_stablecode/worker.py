"""The one thread that owns the engine; everything of torch happens on it."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import TypeVar

from model import Engine, EngineOptions, ProgressCallback, load_engine

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Priority(IntEnum):
    """Lower runs first: nobody who asked by hand waits for automatic requests."""

    CONTROL = 0
    EXPLICIT = 1
    AUTOMATIC = 2
    LOOK_AHEAD = 3


class EngineWorker:
    """Loads an engine and runs jobs on it, one at a time, most urgent first.

    The thread is a daemon: a model that is still loading must not keep the process
    when the editor is gone.
    """

    def __init__(self) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = (
            queue.PriorityQueue()
        )
        self._sequence = itertools.count()
        self._engine: Engine | None = None
        self._thread: threading.Thread | None = None

    @property
    def engine(self) -> Engine | None:
        """The loaded engine, if any."""
        return self._engine

    def load(
        self, options: EngineOptions, progress: ProgressCallback | None = None
    ) -> Future[Engine]:
        """Replace the engine; the future fails with a ``StablecodeError``."""

        def load() -> Engine:
            self._unload()
            self._engine = load_engine(options, progress)
            return self._engine

        return self._submit(load, Priority.CONTROL)

    def run(self, job: Callable[[Engine], T], priority: Priority) -> Future[T]:
        """Run ``job`` with the engine when its turn comes.

        The job reads its own cancel flag; a future cancelled before its turn is
        skipped.
        """

        def with_engine() -> T:
            if self._engine is None:
                raise RuntimeError("no engine is loaded")
            return job(self._engine)

        return self._submit(with_engine, priority)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Release the engine; return whether the thread got there in time."""
        if self._thread is None:
            return True
        released = self._submit(self._unload, Priority.CONTROL)
        try:
            released.result(timeout_s)
        except TimeoutError:
            return False
        return True

    def _unload(self) -> None:
        # Forgotten first: one that fails to close must not be in the next one's way.
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _submit(self, call: Callable[[], T], priority: Priority) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put((priority, next(self._sequence), job))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name="engine", daemon=True
            )
            self._thread.start()
        return future

    def _loop(self) -> None:
        while True:
            *_, job = self._jobs.get()
            job()
            # A finished job's closure would keep texts and tensors alive.
            del job, _
