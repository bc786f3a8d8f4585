"""The one thread that owns an engine; everything of torch happens on it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from model import (
    Engine,
    EngineOptions,
    ProgressCallback,
    StablecodeError,
    load_engine,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


class NoEngineError(StablecodeError):
    """The engine was released, or failed to load, before a job's turn came."""


class Priority(IntEnum):
    """Lower runs first: nobody who asked by hand waits for automatic requests."""

    CONTROL = 0
    EXPLICIT = 1
    AUTOMATIC = 2
    LOOK_AHEAD = 3


@dataclass(slots=True)
class _Job:
    """A call that waits for its turn or has it."""

    number: int
    priority: Priority
    call: Callable[[], Any]
    future: Future[Any]
    owner: object = None
    stop: Callable[[], object] | None = None

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


@dataclass(slots=True)
class _Jobs:
    """What waits, what runs, and whose turn it was when."""

    waiting: list[_Job] = field(default_factory=list)
    running: _Job | None = None
    num_served: int = 0
    served: dict[object, int] = field(default_factory=dict)

    def take(self) -> _Job:
        """Take the most urgent job; of equals, of who was served the longest ago."""
        job = min(
            self.waiting,
            key=lambda one: (one.priority, self.served.get(one.owner, 0), one.number),
        )
        self.waiting.remove(job)
        self.num_served += 1
        self.served[job.owner] = self.num_served
        # Who has nothing waiting and was not served lately is nobody to remember.
        if len(self.served) > 64:
            del self.served[min(self.served, key=lambda one: self.served[one])]
        return job


class EngineWorker:
    """Loads an engine and runs jobs on it, one at a time, most urgent first.

    Among jobs of equal urgency the owners take turns, so that a fast typist does not
    keep the others waiting. The thread is a daemon: a model that is still loading must
    not keep the process when the editor is gone.
    """

    def __init__(self) -> None:
        self._jobs = _Jobs()
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._engine: Engine | None = None
        self._thread: threading.Thread | None = None
        self._used_s = time.monotonic()
        self._is_over = False

    @property
    def engine(self) -> Engine | None:
        """The loaded engine, if any."""
        return self._engine

    @property
    def num_waiting(self) -> int:
        """How many jobs wait for their turn."""
        return len(self._jobs.waiting)

    def idle_s(self, now_s: float) -> float:
        """Return for how long there was nothing to do, at this monotonic time."""
        with self._changed:
            is_busy = self._jobs.running is not None or self._jobs.waiting
            return 0.0 if is_busy else now_s - self._used_s

    def load(
        self,
        options: EngineOptions,
        progress: ProgressCallback | None = None,
    ) -> Future[Engine]:
        """Replace the engine; the future fails with a ``StablecodeError``."""

        def load() -> Engine:
            self._release()
            self._engine = load_engine(options, progress)
            return self._engine

        return self._submit(load, Priority.CONTROL)

    def unload(self) -> Future[None]:
        """Release the engine when what runs has ended."""
        return self._submit(self._release, Priority.CONTROL)

    def run(
        self,
        job: Callable[[Engine], T],
        priority: Priority,
        owner: object = None,
        stop: Callable[[], object] | None = None,
    ) -> Future[T]:
        """Run ``job`` with the engine when its turn comes.

        The job reads its own cancel flag; a future cancelled before its turn is
        skipped. ``owner`` is who takes turns with others. ``stop`` is called on work
        that nobody waits for as soon as there is anything else to do.
        """

        def with_engine() -> T:
            if self._engine is None:
                raise NoEngineError("No model is loaded.")
            return job(self._engine)

        return self._submit(with_engine, priority, owner, stop)

    def finish(self) -> Future[None]:
        """Release the engine and end the thread, when what runs has ended."""
        return self._submit(self._finish, Priority.CONTROL)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Do that, and return whether it was done in time."""
        if self._thread is None:
            return True
        try:
            self.finish().result(timeout_s)
        except TimeoutError:
            return False
        return True

    def _finish(self) -> None:
        self._is_over = True
        self._release()

    def _release(self) -> None:
        # Forgotten first: one that fails to close must not be in the next one's way.
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _submit(
        self,
        call: Callable[[], T],
        priority: Priority,
        owner: object = None,
        stop: Callable[[], object] | None = None,
    ) -> Future[T]:
        future: Future[T] = Future()
        job = _Job(next(self._numbers), priority, call, future, owner, stop)
        with self._changed:
            self._jobs.waiting.append(job)
            running = self._jobs.running
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="engine", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        if running is not None and running.stop and priority < running.priority:
            running.stop()
        return future

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._jobs.waiting:
                    self._changed.wait()
                job = self._jobs.running = self._jobs.take()
            job.run()
            with self._changed:
                self._jobs.running = None
                self._used_s = time.monotonic()
                if self._is_over and not self._jobs.waiting:
                    # Whoever comes yet begins a thread of his own.
                    self._is_over, self._thread = False, None
                    return
            # A finished job's closure would keep texts and tensors alive.
            del job
