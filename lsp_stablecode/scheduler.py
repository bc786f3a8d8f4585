"""Which request may use the engine: the newest per document wins.

Everything here runs on the event loop; only the cancel flag is shared with the
engine's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from lsp_stablecode.worker import EngineWorker, Priority
from model import CancelFlag, Engine

T = TypeVar("T")

_MINIMUM_DEBOUNCE_S = 0.02
_MAXIMUM_DEBOUNCE_S = 0.15
_MAXIMUM_REST_S = 0.5


class Superseded(Exception):
    """A newer request or an edit of the same document made this one pointless."""


class Ticket:
    """One request's turn, from its arrival to its answer (a context manager).

    ``number`` is no other ticket's of this session.
    """

    def __init__(
        self, scheduler: Scheduler, uri: str, kind: str, *, explicit: bool
    ) -> None:
        self._scheduler = scheduler
        self.number = next(scheduler.numbers)
        self.uri = uri
        self.kind = kind
        self.explicit = explicit
        self._superseded: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )
        self.cancel = threading.Event()

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whatever ended the request (an answer, $/cancelRequest), its job is over.
        self.cancel.set()
        self._scheduler.leave(self)

    def supersede(self) -> None:
        """Stop the job within one step and wake whoever awaits it."""
        self.cancel.set()
        if not self._superseded.done():
            self._superseded.set_result(None)

    async def wait(self, delay_s: float) -> None:
        """Sleep, unless superseded (then ``Superseded`` is raised at once)."""
        if delay_s > 0 and not self._superseded.done():
            await asyncio.wait([self._superseded], timeout=delay_s)
        if self._superseded.done():
            raise Superseded

    async def run(
        self, job: Callable[[Engine, CancelFlag], T], priority: Priority
    ) -> T:
        """Run ``job`` on the engine's thread.

        Raises ``Superseded`` as soon as that is known; the job then stops by itself.
        """
        if self._superseded.done():
            raise Superseded
        future = self._scheduler.run(self, job, priority)
        return await self.attend(asyncio.wrap_future(future))

    async def attend(self, work: Awaitable[T]) -> T:
        """Wait for some work that is this request's.

        Raises ``Superseded`` as soon as that is known; what is still queued is skipped
        then, and what runs may read the flag.
        """
        future: asyncio.Future[Any] = asyncio.ensure_future(work)
        future.add_done_callback(_consume)
        try:
            await asyncio.wait(
                [future, self._superseded], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            # Nobody waits any more, be it that the request itself was cancelled.
            future.cancel()
        if self._superseded.done():
            raise Superseded
        result: T = future.result()
        return result


class Scheduler:
    """Hands out tickets and measures the typist.

    One ticket is alive per document and kind of request: an editor may well ask for
    ghost text and for its menu at the same place. Beside them there may be one spare
    ticket, for work that nobody waits for: whatever happens, it goes first.
    """

    def __init__(self, worker: Callable[[], EngineWorker]) -> None:
        self._worker = worker
        # Not those of a session before: an editor may still name its suggestions.
        self.numbers = itertools.count(time.time_ns() // 1_000_000)
        self._tickets: dict[tuple[str, str], Ticket] = {}
        self._spare: Ticket | None = None
        self._last_edit_s = 0.0
        self._key_gap_s = 0.2

    def run(
        self,
        ticket: Ticket,
        job: Callable[[Engine, CancelFlag], T],
        priority: Priority,
    ) -> Future[T]:
        """Run a ticket's job on the thread of the model that is used now.

        Work that nobody waits for is stopped as soon as anybody, be it another
        session, has something to do.
        """
        stop = ticket.cancel.set if priority is Priority.LOOK_AHEAD else None
        return self._worker().run(
            lambda engine: job(engine, ticket.cancel),
            priority,
            owner=id(self),
            stop=stop,
        )

    def enter(self, uri: str, kind: str, *, explicit: bool) -> Ticket:
        """Supersede the document's older request of this kind; start a new one.

        A request by hand also stops automatic ones in other documents: who asks is
        here now, and there is one engine.
        """
        self.stop_spare()
        for ticket in list(self._tickets.values()):
            is_older = (ticket.uri, ticket.kind) == (uri, kind)
            is_elsewhere = ticket.uri != uri and not ticket.explicit
            if is_older or (explicit and is_elsewhere):
                self._supersede(ticket)
        ticket = Ticket(self, uri, kind, explicit=explicit)
        self._tickets[uri, kind] = ticket
        return ticket

    def enter_spare(self, uri: str) -> Ticket:
        """Start work that nobody waits for, in place of what there is of it.

        Any request supersedes it, and so does an edit of the document.
        """
        self.stop_spare()
        self._spare = Ticket(self, uri, "spare", explicit=False)
        return self._spare

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._tickets

    def leave(self, ticket: Ticket) -> None:
        """Forget a ticket whose request was answered."""
        if self._spare is ticket:
            self._spare = None
        if self._tickets.get((ticket.uri, ticket.kind)) is ticket:
            del self._tickets[ticket.uri, ticket.kind]

    def stop(self, uri: str | None = None) -> None:
        """Supersede a document's requests, or all there are."""
        for ticket in list(self._tickets.values()):
            if uri is None or ticket.uri == uri:
                self._supersede(ticket)
        if self._spare is not None and uri in (None, self._spare.uri):
            self.stop_spare()

    def stop_spare(self) -> None:
        """Supersede the work that nobody waits for."""
        if self._spare is not None:
            self._supersede(self._spare)

    def _supersede(self, ticket: Ticket) -> None:
        self.leave(ticket)
        ticket.supersede()

    def note_edit(self, uri: str) -> None:
        """Supersede the document's request: the text it is about is gone."""
        self.stop(uri)
        now = time.monotonic()
        gap = now - self._last_edit_s
        self._last_edit_s = now
        # Longer gaps are pauses for thought and say nothing of the typing speed.
        if gap < 1.0:
            self._key_gap_s += 0.2 * (gap - self._key_gap_s)

    def debounce_s(self, setting_ms: int | None) -> float:
        """Return how long an automatic request should still wait.

        By default less than half of the typist's usual gap between keys: most keys
        of a word then start nothing, and one that does is cancelled cheaply. Time
        that passed since the edit (editors wait too) counts.
        """
        if setting_ms is not None:
            wanted = setting_ms / 1000
        else:
            wanted = min(
                max(0.4 * self._key_gap_s, _MINIMUM_DEBOUNCE_S), _MAXIMUM_DEBOUNCE_S
            )
        return max(0.0, wanted - (time.monotonic() - self._last_edit_s))

    def rest_s(self) -> float:
        """Return how long no key must come until the user is taken to read."""
        wanted = min(1.5 * self._key_gap_s, _MAXIMUM_REST_S)
        return max(0.0, wanted - (time.monotonic() - self._last_edit_s))


def _consume(future: asyncio.Future[Any]) -> None:
    """Take a late result or error, so that asyncio does not report it as lost."""
    if not future.cancelled():
        future.exception()
