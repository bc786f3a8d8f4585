"""One editor's session: the life of a request, from the wire to its answer.

Lives on the event loop and knows nothing of pygls: ``server.py`` translates. The
engine is on the worker's thread, and files are looked at on another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from lsp_stablecode.answering import Answerer
from lsp_stablecode.document_store import Change
from lsp_stablecode.documents import Document, PositionEncoding, num_characters
from lsp_stablecode.errors import DocumentNotOpenError, FilesSilentError
from lsp_stablecode.explanation import explain
from lsp_stablecode.file_thread import SLOW_FILES, FileThread, Turn
from lsp_stablecode.history import History
from lsp_stablecode.items import Item, Position, Selected, items_of
from lsp_stablecode.metrics import Metrics
from lsp_stablecode.model_host import ModelHost
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.notices import Client, Notices
from lsp_stablecode.offered import Offered
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.overview import bug_report, overview
from lsp_stablecode.query import make_query
from lsp_stablecode.scheduler import Scheduler, Superseded, Ticket
from lsp_stablecode.settings import Settings, model_options, to_report
from lsp_stablecode.settings_sources import SettingsSource, SettingsSources
from lsp_stablecode.status import StatusReporter
from lsp_stablecode.switch import Switch
from lsp_stablecode.taste import Taste
from lsp_stablecode.trace import Tracer
from lsp_stablecode.workspace import Workspace
from model import LoadProgress

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
        self._client = client
        self.pool = pool or ModelPool()
        self.pool.sessions.append(self)
        self.workspace = Workspace(base_settings.exclude)
        self.documents = self.workspace.documents
        self.model = ModelHost(self.pool, self._show_progress)
        self.notices = Notices(client)
        self._sources = SettingsSources(base_settings)
        self.switch = Switch(self._sources, self._switched)
        self.status = StatusReporter(self.model, self.switch, client.show_status)
        self.editor = ""
        self._is_closed = False
        self._place: Document | None = None
        self._num_looks = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scheduler = Scheduler(lambda: self.model.worker)
        self._history = History(tracer)
        self._offered = Offered()
        self._taste = Taste(learns=base_settings.learn_from_use)
        self._files = FileThread()
        self._answerer = Answerer(
            self._scheduler,
            self._files,
            self.model,
            self._history,
            self.notices,
            self.status,
        )

    # --- settings and model ------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return self._sources.current

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
            self._answerer.forget()
            self._switched()

    async def load_model(self, *, again: bool = False) -> None:
        """Load the model the settings name; meanwhile answers are empty, at once.

        One that is loaded or loading already stays, unless asked for ``again``.
        """
        if self._is_closed:
            return
        options = model_options(self.settings)
        self.model.rest_after_s = self.settings.rest_after_s
        if self.model.has(options) and not again:
            return
        self._scheduler.stop()
        self._answerer.forget()
        state = await self.model.load(options, again=again)
        if state is not None and state.name == "ready":
            self._answerer.prepare()
        if state is not None and state.name == "failed":
            # After each failed attempt: somebody just asked for it.
            self.notices.say(state.message, "error", again=True)

    def _switched(self) -> None:
        """Take in other settings, or a turn of the switch."""
        # What waits its turn was asked before.
        self._scheduler.stop()
        self._look_at(self._place)
        self.status.update()

    def _show_progress(self, progress: LoadProgress | None) -> None:
        self._client.show_progress(progress)
        self.status.note_progress(progress)

    def stop(self) -> None:
        """Stop what runs: ``shutdown`` came."""
        self._scheduler.stop()

    def close(self) -> bool:
        """Stop everything; return whether the engine was released in time."""
        self._scheduler.stop()
        self.switch.close()
        self.status.close()
        self._history.close()
        self._taste.close()
        self._files.close()
        for task in self._tasks:
            task.cancel()
        self._is_closed = True
        self.pool.depart(self)
        return self.model.close()

    # --- documents ---------------------------------------------------------

    def note_edit(self, document: Document, changes: Iterable[Change]) -> None:
        """Stop a changed document's request: the text it is about is gone."""
        self._scheduler.note_edit(document.uri)
        self._taste.note_edit()
        self.workspace.note_edit(document, changes)

    def note_focus(self, uri: str) -> None:
        """Take in which document the user looks at."""
        if uri in self.documents:
            self._look_at(self.documents.get(uri))

    def note_close(self, uri: str) -> None:
        """Forget a closed document."""
        self._scheduler.stop(uri)
        if self._place is not None and self._place.uri == uri:
            self._look_at(None)
        self._history.forget(uri)
        self._answerer.note_close(uri)
        self.workspace.note_close(uri)

    # --- completion --------------------------------------------------------

    async def complete(
        self,
        uri: str,
        position: Position,
        *,
        explicit: bool,
        selected: Selected | None = None,
        indent_unit: str = "",
        kind: str = "inline",
    ) -> list[Item]:
        """Answer one request; an empty list where there is nothing to say.

        ``indent_unit`` is by what the editor indents, where the document does not say.
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
            self._history.forget(uri)
            return []
        uri, language_id = document.uri, document.language_id
        started_s = time.perf_counter()

        def note(outcome: Outcome) -> None:
            self._history.note_outcome(
                uri,
                outcome,
                explicit=explicit,
                latency_ms=(time.perf_counter() - started_s) * 1000,
                language_id=language_id,
            )

        try:
            with self._scheduler.enter(uri, kind, explicit=explicit) as ticket:
                outcome = await self._outcome(
                    ticket, document, position, selected, indent_unit
                )
        except Superseded:
            outcome = Outcome("superseded")
        except asyncio.CancelledError:
            note(Outcome("cancelled"))
            raise
        note(outcome)
        self._taste.note_outcome(outcome, ticket.number, explicit=explicit)
        items = items_of(outcome, document, position, selected, ticket.number)
        if self._offered.remember(items):
            self._history.note_offered()
        return items

    async def _outcome(
        self,
        ticket: Ticket,
        document: Document,
        position: Position,
        selected: Selected | None,
        indent_unit: str,
    ) -> Outcome:
        query = make_query(
            document,
            *(selected.end if selected else position),
            explicit=ticket.explicit,
            cells=self.documents.notebook_context(document.uri),
            selected=selected.text if selected else None,
            selected_start=selected.start if selected else None,
            indent_unit=indent_unit,
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
        # All that may change meanwhile was read before.
        silence = await ticket.attend(self._look_at(document))
        if silence:
            return Outcome(f"empty:{silence}")
        if self.model.state.name == "resting":
            self._wake()
        return await self._answerer.answer(ticket, query, self.settings)

    def _wake(self) -> None:
        """Load the weights again that were released because nobody used them."""
        task = asyncio.ensure_future(self.load_model())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_at(self, document: Document | None) -> asyncio.Task[str]:
        """Begin to find out why nothing is suggested where the user is now, if so.

        What that depends on is taken as it is now.
        """
        self._place, silence, why_private = document, "", None
        if document is not None:
            silence = self.switch.why_off(document.language_id)
            why_private = self.workspace.why_private(document)
        self._num_looks += 1
        look = self._look(silence, why_private, self._num_looks)
        task = asyncio.ensure_future(look)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look(
        self, silence: str, why_private: Callable[[], str] | None, number: int
    ) -> str:
        if not silence and why_private is not None:
            try:
                silence = await self._files.ask(why_private, Turn.VERDICT)
            except FilesSilentError as error:
                logger.warning("%s", error)
                silence = SLOW_FILES
        if number == self._num_looks:  # else somebody looked somewhere else since
            self.status.note_place(silence)
        return silence

    # --- what becomes of suggestions ----------------------------------------

    def shown(self, identifier: str) -> None:
        """Record that the editor says it shows a suggestion."""
        if self._offered.show(identifier):
            self._history.note_shown(identifier)
        self._taste.note_shown(identifier)

    def accepted(self, identifier: str, num_characters: int | None = None) -> bool:
        """Record that a suggestion, or its first characters, was accepted.

        Return whether it was offered here, lately.
        """
        is_first = self._offered.accept(identifier)
        self._history.note_accepted(identifier, num_characters, is_first=is_first)
        self._taste.note_accepted(identifier, in_part=num_characters is not None)
        self._answerer.follow_accepted(identifier, self.settings)
        return self._offered.item(identifier) is not None

    def accepted_in_part(self, identifier: str, num_utf16_units: int) -> None:
        """Record that a suggestion was accepted up to there, perhaps to its end."""
        item = self._offered.item(identifier)
        if item is None:
            return
        encoding = PositionEncoding.UTF16
        number = num_characters(item.text, num_utf16_units, encoding)
        is_whole = number >= len(item.text.rstrip())
        self.accepted(identifier, None if is_whole else number)

    def rejected(self, identifier: str) -> None:
        """Record that the user does not want a suggestion."""
        self._history.note_rejected(identifier)

    # --- what the user asks about -------------------------------------------

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

    def describe(self) -> dict[str, Any]:
        """Return the state of the model and what the requests came to."""
        info = self.model.info
        return {
            "editor": self.editor,
            "enabled": self.switch.is_on,
            "snoozeSeconds": self.switch.snooze_seconds,
            "disabledLanguages": list(self.settings.disabled_languages),
            "state": self.model.state.name,
            "message": self.model.state.message,
            "engine": asdict(info) if info is not None else None,
            "documents": len(self.documents),
            **self._history.counts(),
        }

    def report(self) -> dict[str, Any]:
        """Return what a bug report should hold of this session: no source text."""
        return {
            "editor": self.editor,
            "settings": to_report(self.settings),
            "recent": self._history.recent(),
        }

    @property
    def metrics(self) -> Metrics:
        """What the requests cost and came to."""
        return self._history.metrics

    def overview(self) -> dict[str, Any]:
        """Return the state of the whole process, other sessions included."""
        return overview(self.pool)

    def bug_report(self) -> dict[str, Any]:
        """Return a report of the whole process."""
        return bug_report(self.pool)
