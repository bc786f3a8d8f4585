"""How a query comes to its answer: remembered, or computed on the engine's thread.

What other documents say is gathered before, on the thread of the files.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lsp_stablecode.completion import (
    from_memory,
    generate,
    num_candidates_wanted,
    to_remember,
)
from lsp_stablecode.errors import FilesSilentError
from lsp_stablecode.file_thread import SLOW_FILES, FileThread, Turn
from lsp_stablecode.gathering import Gathered, gather, prepare, wants_context
from lsp_stablecode.history import History
from lsp_stablecode.look_ahead import LookAhead
from lsp_stablecode.model_host import ModelHost
from lsp_stablecode.notices import Notices
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.query import Query
from lsp_stablecode.scheduler import Scheduler, Superseded, Ticket
from lsp_stablecode.settings import Settings
from lsp_stablecode.status import StatusReporter
from lsp_stablecode.suggestions import Known, SuggestionMemory
from lsp_stablecode.worker import NoEngineError, Priority
from model import CancelFlag, Engine, StablecodeError

if TYPE_CHECKING:
    from lsp_stablecode.context.gather import Gatherer

logger = logging.getLogger(__name__)


class Answerer:
    """Answers queries. Lives on the event loop; the files' thread gathers context."""

    def __init__(
        self,
        scheduler: Scheduler,
        files: FileThread,
        model: ModelHost,
        history: History,
        notices: Notices,
        status: StatusReporter,
    ) -> None:
        self._scheduler = scheduler
        self._files = files
        self._model = model
        self._history = history
        self._notices = notices
        self._status = status
        self._memory = SuggestionMemory()
        self._num_forgotten = 0
        self._gatherer: Gatherer | None = None
        self._look_ahead = LookAhead(scheduler, self._memory, history, self._gather)

    async def answer(self, ticket: Ticket, query: Query, settings: Settings) -> Outcome:
        """Answer a request, and look ahead from its answer.

        Raises ``Superseded``, and what cancels the task this runs in.
        """
        known = self._memory.recall(ticket.uri, query.prefix, query.suffix)
        outcome = None if known is None else from_memory(query, settings, known)
        if outcome is None:
            if self._model.state.name != "ready":
                return Outcome(f"empty:model-{self._model.state.name}")
            if not ticket.explicit:
                await ticket.wait(self._scheduler.debounce_s(settings.debounce_ms))
            with self._status.computing():
                outcome = await self._compute(ticket, query, settings, known)
        self._look_ahead.follow(ticket, query, outcome, settings)
        return outcome

    def follow_accepted(self, identifier: str, settings: Settings) -> None:
        """Look ahead from a suggestion that was accepted."""
        self._look_ahead.follow_accepted(identifier, settings)

    def prepare(self) -> None:
        """Import what gathers context, so that the first request need not wait."""
        self._model.worker.run(lambda _: prepare(), Priority.LOOK_AHEAD)

    def note_close(self, uri: str) -> None:
        """Let what was read of a closed document go."""
        if self._gatherer is not None:
            self._gatherer.note_close(uri)

    def forget(self) -> None:
        """Drop what was suggested: another model or other settings answer now."""
        self._memory.clear()
        self._num_forgotten += 1

    async def _compute(
        self, ticket: Ticket, query: Query, settings: Settings, known: Known | None
    ) -> Outcome:
        """Ask the model, and remember what it says."""
        num_forgotten = self._num_forgotten
        gathered = Gathered()

        def job(engine: Engine, cancel: CancelFlag) -> Outcome:
            # A request cancelled while it waited its turn costs nothing.
            if cancel.is_set():
                return Outcome("cancelled")
            outcome = generate(
                engine,
                query,
                settings,
                gathered=gathered,
                known=known,
                cancel=cancel,
            )
            self._history.note_generation(outcome)
            return outcome

        priority = Priority.EXPLICIT if ticket.explicit else Priority.AUTOMATIC
        try:
            gathered = await ticket.attend(self._gather(query, settings))
            outcome = await ticket.run(job, priority)
        except Superseded:
            raise
        except FilesSilentError as error:
            logger.warning("%s", error)
            self._status.note_place(SLOW_FILES)
            return Outcome(f"empty:{SLOW_FILES}")
        except NoEngineError:
            # Released, or gone with a reload of somebody else's.
            return Outcome(f"empty:model-{self._model.state.name}")
        except StablecodeError as error:
            return self._failed(str(error))
        except Exception as error:
            logger.exception("a completion failed")
            return self._failed(
                f"A completion failed ({type(error).__name__}); the server's log "
                "says more."
            )
        self._status.note_failure("")
        if outcome.name != "cancelled" and num_forgotten == self._num_forgotten:
            self._memory.remember(
                ticket.uri,
                query.prefix,
                query.suffix,
                to_remember(outcome, ticket.number),
                num_candidates_wanted(query, settings),
            )
        return outcome

    def _failed(self, message: str) -> Outcome:
        self._notices.say(message, "error")
        self._status.note_failure(message)
        return Outcome("empty:error")

    async def _gather(self, query: Query, settings: Settings) -> Gathered:
        """Gather context. Raises ``FilesSilentError``."""
        engine = self._model.worker.engine
        if engine is None or not wants_context(query, settings):
            return Gathered()
        return await self._files.ask(
            lambda: gather(engine, query, settings, self._gatherer_there()), Turn.GATHER
        )

    def _gatherer_there(self) -> Gatherer:
        """Return what gathers context; only the files' thread calls this."""
        if self._gatherer is None:
            from lsp_stablecode.context.gather import Gatherer

            prepare()
            self._gatherer = Gatherer()
        return self._gatherer
