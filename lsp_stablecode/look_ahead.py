"""What follows a suggestion is computed while it is shown.

Nobody waits for it: it has the lowest priority, any request stops it within one step
or prefill chunk, and so does an edit of its document. What comes out is remembered
for the place where the user will be, so that a request there is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from lsp_stablecode.completion import generate, to_remember
from lsp_stablecode.errors import FilesSilentError
from lsp_stablecode.gathering import Gathered
from lsp_stablecode.history import History
from lsp_stablecode.lexis import split_at_cursor
from lsp_stablecode.load import MachineLoad
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.postprocess import Finished
from lsp_stablecode.query import Query
from lsp_stablecode.scheduler import Scheduler, Superseded, Ticket
from lsp_stablecode.settings import Settings
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.suggestions import SuggestionMemory
from lsp_stablecode.worker import Priority
from model import CancelFlag, Engine

logger = logging.getLogger(__name__)

_LINE_END = re.compile(r"\r\n|\r|\n")
_HEAD_CHARACTERS = 400
_TAIL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class _Shown:
    """The suggestions that are on the screen, and what they were an answer to."""

    number: int
    uri: str
    query: Query
    suggestions: tuple[Finished, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the user will be: a document and the text around the cursor there."""

    uri: str
    head: str
    tail: str


class LookAhead:
    """Computes one place ahead of the last suggestion that was shown."""

    def __init__(
        self,
        scheduler: Scheduler,
        memory: SuggestionMemory,
        history: History,
        gather: Callable[[Query, Settings], Awaitable[Gathered]],
    ) -> None:
        self._scheduler = scheduler
        self._memory = memory
        self._history = history
        self._gather = gather
        self._load = MachineLoad()
        self._shown: _Shown | None = None
        self._begun: tuple[_Place, Ticket] | None = None
        self._computed: tuple[_Place, str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(
        self, ticket: Ticket, query: Query, outcome: Outcome, settings: Settings
    ) -> None:
        """Look ahead from a request that is about to be answered."""
        self._note_use(ticket.uri, query, outcome)
        if outcome.suggestions:
            self._shown = _Shown(
                ticket.number, ticket.uri, query, outcome.suggestions, settings
            )
            ahead = after_accepting(query, outcome.suggestions[0], settings)
            self._start(ticket.uri, ahead, settings)
        elif self._begun is not None:
            # An editor asks at the end of what was accepted, where often nothing is
            # to be said, and that has stopped the work for the line below.
            ahead = _on_next_line(query)
            if self._begun[0] == _place(ticket.uri, ahead):
                self._start(ticket.uri, ahead, settings, is_accepted=True)

    def follow_accepted(self, identifier: str, settings: Settings) -> None:
        """Look ahead from the suggestion that was chosen, unless that is done."""
        number, _, index = identifier.partition(".")
        shown = self._shown
        if shown is None or number != str(shown.number):
            return
        # Other settings may well forbid it now.
        if settings is not shown.settings or index not in map(
            str, range(len(shown.suggestions))
        ):
            return
        finished = shown.suggestions[int(index)]
        ahead = after_accepting(shown.query, finished, settings)
        self._start(shown.uri, ahead, settings, is_accepted=True)

    def _start(
        self, uri: str, ahead: Query, settings: Settings, *, is_accepted: bool = False
    ) -> None:
        place = _place(uri, ahead)
        if settings.look_ahead == "never":
            return
        if self._begun is not None:
            begun, ticket = self._begun
            if begun == place and not ticket.cancel.is_set():
                return
        if self._memory.recall(uri, ahead.prefix, ahead.suffix) is not None:
            return
        ticket = self._scheduler.enter_spare(uri)
        self._begun = place, ticket
        # Who typed may well type on; who accepted will be there next.
        rest_s = 0.0 if is_accepted else self._scheduler.rest_s()
        task = asyncio.ensure_future(self._work(ticket, rest_s, ahead, settings))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(
        self, ticket: Ticket, rest_s: float, ahead: Query, settings: Settings
    ) -> None:
        try:
            with ticket:
                await ticket.wait(rest_s)
                if settings.look_ahead == "auto" and await self._load.need():
                    return
                if self._scheduler.is_idle and not ticket.cancel.is_set():
                    await self._compute(ticket, ahead, settings)
        except (Superseded, FilesSilentError):
            pass
        except Exception:
            # Whoever asks for the same will be told.
            logger.exception("looking ahead failed")

    async def _compute(self, ticket: Ticket, ahead: Query, settings: Settings) -> None:
        gathered = await ticket.attend(self._gather(ahead, settings))

        def job(engine: Engine, cancel: CancelFlag) -> Outcome:
            if cancel.is_set():
                return Outcome("cancelled")
            return generate(
                engine,
                ahead,
                settings,
                gathered=gathered,
                cancel=cancel,
            )

        # Superseded, it still ends by itself, and what it cost is known.
        outcome = await asyncio.wrap_future(
            self._scheduler.run(ticket, job, Priority.LOOK_AHEAD)
        )
        is_whole = outcome.name != "cancelled" and not ticket.cancel.is_set()
        if is_whole:
            suggested = to_remember(outcome, ticket.number)
            self._memory.remember(ticket.uri, ahead.prefix, ahead.suffix, suggested, 1)
            text = suggested[0].text if suggested else ""
            self._computed = _place(ticket.uri, ahead), text
            self._begun = None
        self._history.note_look_ahead(ticket.uri, outcome, is_whole=is_whole)

    def _note_use(self, uri: str, query: Query, outcome: Outcome) -> None:
        """Count an answer from memory that is the last look-ahead's."""
        if self._computed is None or outcome.name not in (
            "type-through",
            "empty:known",
        ):
            return
        place, text = self._computed
        start = query.prefix.rfind(place.head)
        typed = query.prefix[start + len(place.head) :]
        if place.uri == uri and start >= 0 and text.startswith(typed):
            self._history.note_look_ahead_used()
            self._computed = None


def after_accepting(query: Query, finished: Finished, settings: Settings) -> Query:
    """Return what will be asked once a suggestion is accepted.

    Where it ends its line, that is the line below: the model's answer brings its own
    indentation, into which the editor's is typed. Where its line opens a block, the
    answer at its end begins with the line end anyway.
    """
    ahead = replace(
        query,
        prefix=query.prefix + finished.text,
        suffix=query.suffix[finished.replace_right :],
        explicit=False,
    )
    prefix, suffix = ahead.near
    if split_at_cursor(prefix, suffix)[1].strip():
        return ahead
    shape = decide_shape(prefix, suffix, ahead.language_id, settings.multi_line)
    return ahead if shape.kind == "block" else _on_next_line(ahead)


def _on_next_line(query: Query) -> Query:
    """Return the query with its document's line end before the cursor."""
    ends = _LINE_END.findall(query.suffix[:4000]) or _LINE_END.findall(
        query.prefix[-4000:]
    )
    line_end = ends[0] if ends else "\n"
    return replace(query, prefix=query.prefix + line_end, explicit=False)


def _place(uri: str, query: Query) -> _Place:
    return _Place(
        uri, query.prefix[-_HEAD_CHARACTERS:], query.suffix[:_TAIL_CHARACTERS]
    )
