"""One editor's session: the life of a request, from the wire to its answer.

Lives on the event loop and knows nothing of pygls: ``server.py`` translates. The
engine is on the worker's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lsp_stablecode.completion import (
    from_memory,
    generate,
    num_candidates_wanted,
    to_remember,
)
from lsp_stablecode.document_store import Change
from lsp_stablecode.documents import Document
from lsp_stablecode.errors import DocumentNotOpenError
from lsp_stablecode.explanation import explain
from lsp_stablecode.history import History
from lsp_stablecode.items import Item, Position, Selected, items_of
from lsp_stablecode.look_ahead import LookAhead
from lsp_stablecode.model_host import ModelHost
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.notices import Client, Notices
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.query import Query, make_query
from lsp_stablecode.scheduler import Scheduler, Superseded, Ticket
from lsp_stablecode.settings import Settings, model_options
from lsp_stablecode.settings_sources import SettingsSource, SettingsSources
from lsp_stablecode.snooze import Snooze
from lsp_stablecode.suggestions import Known, SuggestionMemory
from lsp_stablecode.taste import Taste
from lsp_stablecode.trace import Tracer
from lsp_stablecode.worker import Priority
from lsp_stablecode.workspace import Workspace
from model import CancelFlag, Engine, StablecodeError

if TYPE_CHECKING:
    from lsp_stablecode.context.gather import Gatherer

logger = logging.getLogger(__name__)


class Session:
    """Everything that belongs to one connected editor."""

    def __init__(
        self,
        base_settings: Settings,
        client: Client,
        tracer: Tracer | None = None,
        pool: ModelPool | None = None,
    ) -> None:
        self.workspace = Workspace(base_settings.exclude)
        self.documents = self.workspace.documents
        self.model = ModelHost(pool or ModelPool(), client.show_progress)
        self.notices = Notices(client)
        self._sources = SettingsSources(base_settings)
        self._snooze = Snooze()
        self._scheduler = Scheduler(lambda: self.model.worker)
        self._memory = SuggestionMemory()
        self._history = History(tracer)
        self._taste = Taste(learns=base_settings.learn_from_use)
        self._gatherer: Gatherer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_ahead = LookAhead(
            self._scheduler, self._memory, self._history, self._gatherer_there
        )

    # --- settings and model ------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return self._sources.current

    @property
    def is_on(self) -> bool:
        """Whether the user wants suggestions now, in some language at least."""
        return self.settings.enable and not self._snooze.is_on

    def apply_settings(self, source: SettingsSource, raw: object) -> None:
        """Take what the client sent, in place of what the same source said before.

        ``load_model`` follows, if another model is named.
        """
        before = self.settings
        for problem in self._sources.take(source, raw):
            self.notices.say(problem.message, "error")
        if self.settings is not before:
            self.workspace.exclude(self.settings.exclude)
            self._taste.learn(self.settings.learn_from_use)
            self._memory.clear()
            # What waits its turn was asked under the old ones.
            self._scheduler.stop()

    def toggle(self) -> bool:
        """Switch suggestions off or on for this session; return whether on.

        A pause counts as off: who toggles then wants suggestions.
        """
        is_on = not self.is_on
        self._snooze.end()
        if self.settings.enable != is_on:
            self._sources.toggle()
        if not is_on:
            self._scheduler.stop()
        return is_on

    def toggle_language(self, language_id: str) -> bool:
        """Switch them off or on for a language; return whether on for it."""
        is_on = self._sources.toggle_language(language_id)
        if not is_on:
            self._scheduler.stop()
        return is_on

    def snooze(self, minutes: float) -> int:
        """Suggest nothing for so long; at 0 suggest again. Return the seconds left."""
        self._snooze.end()
        if minutes:
            self._snooze.begin(minutes)
            self._scheduler.stop()
        return self._snooze.seconds_left

    async def load_model(self, *, again: bool = False) -> None:
        """Load the model the settings name; meanwhile answers are empty, at once.

        One that is loaded or loading already stays, unless asked for ``again``.
        """
        options = model_options(self.settings)
        self.model.rest_after_s = self.settings.rest_after_s
        if self.model.has(options) and not again:
            return
        self._scheduler.stop()
        self._memory.clear()
        state = await self.model.load(options, again=again)
        if state is not None and state.name == "ready":
            # Else the first request would wait for what it imports.
            self.model.worker.run(lambda _: self._gatherer_there(), Priority.LOOK_AHEAD)
        if state is not None and state.name == "failed":
            # After each failed attempt: somebody just asked for it.
            self.notices.say(state.message, "error", again=True)

    def stop(self) -> None:
        """Stop what runs: ``shutdown`` came."""
        self._scheduler.stop()

    def close(self) -> bool:
        """Stop everything; return whether the engine was released in time."""
        self._scheduler.stop()
        self._history.close()
        self._taste.close()
        return self.model.close()

    # --- documents ---------------------------------------------------------

    def note_edit(self, document: Document, changes: Iterable[Change]) -> None:
        """Stop a changed document's request: the text it is about is gone."""
        self._scheduler.note_edit(document.uri)
        self._taste.note_edit()
        self.workspace.note_edit(document, changes)

    def note_close(self, uri: str) -> None:
        """Forget a closed document."""
        self._scheduler.stop(uri)
        self._history.forget(uri)
        self.workspace.note_close(uri)

    # --- completion --------------------------------------------------------

    async def complete(
        self,
        uri: str,
        position: Position,
        *,
        explicit: bool,
        selected: Selected | None = None,
        kind: str = "inline",
    ) -> list[Item]:
        """Answer one request; an empty list where there is nothing to say.

        A newer request of the same ``kind`` in the document supersedes this one.
        ``$/cancelRequest`` cancels the task this runs in; the generation then stops
        within one step or prefill chunk.
        """
        try:
            document = self.documents.get(uri)
        except DocumentNotOpenError as error:
            logger.warning("%s", error)
            outcome = Outcome("empty:not-open")
            self._history.note_outcome(uri, outcome, explicit=explicit)
            return []
        uri = document.uri
        try:
            with self._scheduler.enter(uri, kind, explicit=explicit) as ticket:
                outcome = await self._outcome(ticket, document, position, selected)
        except Superseded:
            outcome = Outcome("superseded")
        except asyncio.CancelledError:
            self._history.note_outcome(uri, Outcome("cancelled"), explicit=explicit)
            raise
        self._history.note_outcome(uri, outcome, explicit=explicit)
        self._taste.note_outcome(outcome, ticket.number, explicit=explicit)
        return items_of(outcome, document, position, selected, ticket.number)

    async def _outcome(
        self,
        ticket: Ticket,
        document: Document,
        position: Position,
        selected: Selected | None,
    ) -> Outcome:
        silence = self._reason_for_silence(document)
        if silence:
            return Outcome(f"empty:{silence}")
        query = make_query(
            document,
            *(selected.end if selected else position),
            explicit=ticket.explicit,
            cells=self.documents.notebook_context(document.uri),
            selected=selected.text if selected else None,
            selected_start=selected.start if selected else None,
        )
        query = replace(
            query,
            surroundings=self.workspace.surroundings(
                document,
                position[0],
                query.prefix,
                query.suffix,
                explicit=ticket.explicit,
            ),
            thresholds=self._taste.thresholds(self.settings.least_confidence),
        )
        known = self._memory.recall(document.uri, query.prefix, query.suffix)
        outcome = None if known is None else from_memory(query, self.settings, known)
        if outcome is None:
            if self.model.state.name == "resting":
                self._wake()
            if self.model.state.name != "ready":
                return Outcome(f"empty:model-{self.model.state.name}")
            if not ticket.explicit:
                await ticket.wait(self._scheduler.debounce_s(self.settings.debounce_ms))
            outcome = await self._generated(ticket, query, known)
        self._look_ahead.follow(ticket, query, outcome, self.settings)
        return outcome

    def _wake(self) -> None:
        """Load the weights again that were released because nobody used them."""
        task = asyncio.ensure_future(self.load_model())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _generated(
        self, ticket: Ticket, query: Query, known: Known | None
    ) -> Outcome:
        """Ask the model, and remember what it says."""
        settings = self.settings

        def job(engine: Engine, cancel: CancelFlag) -> Outcome:
            # A request cancelled while it waited its turn costs nothing.
            if cancel.is_set():
                return Outcome("cancelled")
            outcome = generate(
                engine,
                query,
                settings,
                gatherer=self._gatherer_there(),
                known=known,
                cancel=cancel,
            )
            self._history.note_generation(outcome)
            return outcome

        priority = Priority.EXPLICIT if ticket.explicit else Priority.AUTOMATIC
        try:
            outcome = await ticket.run(job, priority)
        except Superseded:
            raise
        except StablecodeError as error:
            self.notices.say(str(error), "error")
            return Outcome("empty:error")
        except Exception as error:
            logger.exception("a completion failed")
            self.notices.say(
                f"A completion failed ({type(error).__name__}); the server's log "
                "says more.",
                "error",
            )
            return Outcome("empty:error")
        if outcome.name != "cancelled" and settings is self.settings:
            self._memory.remember(
                ticket.uri,
                query.prefix,
                query.suffix,
                to_remember(outcome, ticket.number),
                num_candidates_wanted(query, settings),
            )
        return outcome

    def _gatherer_there(self) -> Gatherer:
        """Return what gathers context; only the engine's thread calls this."""
        if self._gatherer is None:
            from lsp_stablecode.context.gather import Gatherer, prepare

            prepare()
            self._gatherer = Gatherer()
        return self._gatherer

    def _reason_for_silence(self, document: Document) -> str:
        """Name why nothing is suggested in this document, or return nothing."""
        if not self.settings.enable:
            return "disabled"
        if self._snooze.is_on:
            return "snoozed"
        if document.language_id in self.settings.disabled_languages:
            return "language-disabled"
        return self.workspace.why_private(document)

    # --- what the user asks about -------------------------------------------

    def accepted(self, identifier: str, num_characters: int | None) -> None:
        """Record that a suggestion, or its first characters, was accepted."""
        self._history.note_accepted(identifier, num_characters)
        self._taste.note_accepted(identifier, in_part=num_characters is not None)
        self._look_ahead.follow_accepted(identifier, self.settings)

    def explain(self, uri: str | None) -> dict[str, Any] | None:
        """Return the last outcome of a document, or of the latest one."""
        if uri is not None and uri in self.documents:
            uri = self.documents.get(uri).uri
        uris = [one.uri for one in self.documents] if uri is None else [uri]
        for one in uris:
            outcome = self._history.last(one)
            if outcome is not None:
                return {"uri": one, **explain(outcome)}
        return None

    def status(self) -> dict[str, Any]:
        """Return the state of the model and what the requests came to."""
        info = self.model.info
        return {
            "enabled": self.is_on,
            "snoozeSeconds": self._snooze.seconds_left,
            "disabledLanguages": list(self.settings.disabled_languages),
            "state": self.model.state.name,
            "message": self.model.state.message,
            "engine": asdict(info) if info is not None else None,
            "documents": len(self.documents),
            **self._history.counts(),
        }
