"""One editor's session: its documents, settings, model and suggestions.

Lives on the event loop and knows nothing of pygls: ``server.py`` translates. The
engine is on the worker's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import pathspec

from lsp_stablecode.completion import (
    Outcome,
    from_memory,
    generate,
    make_query,
    num_candidates_wanted,
    to_remember,
)
from lsp_stablecode.document_store import DocumentStore
from lsp_stablecode.documents import Document
from lsp_stablecode.errors import DocumentNotOpenError
from lsp_stablecode.files import path_of
from lsp_stablecode.scheduler import Scheduler, Superseded
from lsp_stablecode.settings import Settings, model_options, parse_settings
from lsp_stablecode.suggestions import SuggestionMemory
from lsp_stablecode.trace import Tracer, describe
from lsp_stablecode.worker import EngineWorker, Priority
from model import CancelFlag, Engine, EngineOptions, LoadProgress, StablecodeError

logger = logging.getLogger(__name__)

Position = tuple[int, int]
SettingsSource = Literal["initialization", "pulled", "pushed"]
"""In the order of their precedence, the strongest last."""


class Client(Protocol):
    """What a session may say to its editor, from the event loop."""

    def show_message(self, text: str, level: Literal["info", "error"]) -> None:
        """Show the user a sentence."""
        ...

    def show_progress(self, progress: LoadProgress | None) -> None:
        """Show that the model loads; ``None`` when it is done."""
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected item of the editor's pop-up menu: it would replace the range."""

    text: str
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Item:
    """A suggestion in wire positions; the range is on one line."""

    text: str
    start: Position
    end: Position
    identifier: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """``idle``, ``loading``, ``ready`` or ``failed``, and what is to be said of it."""

    name: Literal["idle", "loading", "ready", "failed"] = "idle"
    message: str = ""


class Session:
    """Everything that belongs to one connected editor."""

    def __init__(
        self, base_settings: Settings, client: Client, tracer: Tracer | None = None
    ) -> None:
        self.settings = base_settings
        self._base_settings = base_settings
        self._own_settings = base_settings
        self._sources: dict[SettingsSource, object] = {}
        self._toggled: bool | None = None
        self._wanted_options: EngineOptions | None = None
        self._loading: Future[Engine] | None = None
        self.documents = DocumentStore()
        self.folders: list[Path] = []
        self.model_state = ModelState()
        self._client = client
        self._tracer = tracer or Tracer()
        self._worker = EngineWorker()
        self._scheduler = Scheduler(self._worker)
        self._memory = SuggestionMemory()
        self._num_accepted = 0
        self._counts: Counter[str] = Counter()
        self._generations = Counter(completed=0, stopped=0, forwards=0)
        self._last_outcomes: dict[str, Outcome] = {}
        self._said: set[str] = set()
        self._identifiers = itertools.count(1)
        self._num_loads = 0
        self._set_exclude(base_settings.exclude)

    # --- settings and model ------------------------------------------------

    def apply_settings(self, source: SettingsSource, raw: object) -> None:
        """Take what the client sent, in place of what the same source said before.

        Each source is read on top of the one before it; what was taken out of the
        editor's settings so falls back to the default. ``load_model`` follows, if
        another model is named.
        """
        self._sources[source] = raw
        settings = self._base_settings
        for name in get_args(SettingsSource):
            settings, problems = parse_settings(self._sources.get(name), settings)
            for problem in problems:
                self.say(problem.message, "error")
        if settings.enable != self._own_settings.enable:
            self._toggled = None
        self._own_settings = settings
        if self._toggled is not None:
            settings = replace(settings, enable=self._toggled)
        if settings == self.settings:
            return
        self.settings = settings
        self._set_exclude(settings.exclude)
        self._memory.clear()

    def _set_exclude(self, globs: tuple[str, ...]) -> None:
        self._exclude = pathspec.GitIgnoreSpec.from_lines(globs)
        # ``/home/me/keys/**`` is of the workspace's folder to git; whoever writes it
        # in an editor's settings may as well mean the file system's.
        self._exclude_absolute = pathspec.GitIgnoreSpec.from_lines(
            one for one in globs if Path(one).is_absolute()
        )

    def say(self, text: str, level: Literal["info", "error"] = "info") -> None:
        """Show a message, each one once in a session."""
        if text not in self._said:
            self._said.add(text)
            self._client.show_message(text, level)

    async def load_model(self, *, again: bool = False) -> None:
        """Load the model the settings name; meanwhile answers are empty, at once.

        One that is loaded or loading already stays, unless asked for ``again``.
        """
        options = model_options(self.settings)
        is_there = self.model_state.name in ("loading", "ready")
        if is_there and options == self._wanted_options and not again:
            return
        self._wanted_options = options
        self._num_loads += 1
        this_load = self._num_loads
        self._scheduler.stop()
        self._memory.clear()
        self.model_state = ModelState("loading")
        loop = asyncio.get_running_loop()

        def report(progress: LoadProgress) -> None:
            loop.call_soon_threadsafe(self._client.show_progress, progress)

        self._client.show_progress(LoadProgress("start"))
        if self._loading is not None:
            # One that still waits its turn is not needed any more.
            self._loading.cancel()
        self._loading = self._worker.load(options, report)
        try:
            engine = await asyncio.wrap_future(self._loading)
        except asyncio.CancelledError:
            if this_load == self._num_loads:
                raise
            return
        except StablecodeError as error:
            state = ModelState("failed", str(error))
        except Exception as error:
            logger.exception("the model could not be loaded")
            state = ModelState(
                "failed",
                f"The model could not be loaded ({type(error).__name__}: {error}). "
                "Run lsp-stablecode doctor.",
            )
        else:
            state = ModelState("ready")
            for note in engine.info.notes:
                logger.info("%s", note)
            logger.info("loaded in %.0f ms", engine.info.load_ms)
        if this_load != self._num_loads:
            return
        self.model_state = state
        self._client.show_progress(None)
        if state.name == "failed":
            # Said again after each failed attempt: somebody just asked for it.
            self._said.discard(state.message)
            self.say(state.message, "error")

    def toggle(self) -> bool:
        """Switch suggestions off or on for this session; return whether on."""
        self._toggled = not self.settings.enable
        self.settings = replace(self.settings, enable=self._toggled)
        if not self._toggled:
            self._scheduler.stop()
        return self._toggled

    def stop(self) -> None:
        """Stop what runs: ``shutdown`` came."""
        self._scheduler.stop()

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop everything; return whether the engine was released in time."""
        self._scheduler.stop()
        self._tracer.close()
        if self.model_state.name == "loading":
            # Loading cannot be stopped, and there is nothing to release yet.
            return False
        return self._worker.close(timeout_s)

    # --- documents ---------------------------------------------------------

    def note_edit(self, uri: str) -> None:
        """Stop a changed document's request: the text it is about is gone."""
        self._scheduler.note_edit(uri)

    def note_close(self, uri: str) -> None:
        """Forget a closed document."""
        self._scheduler.stop(uri)
        self._last_outcomes.pop(uri, None)

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
            self._finish(uri, Outcome("empty:not-open"), explicit)
            return []
        uri = document.uri
        try:
            outcome = await self._outcome(document, position, explicit, selected, kind)
        except Superseded:
            outcome = Outcome("superseded")
        except asyncio.CancelledError:
            self._finish(uri, Outcome("cancelled"), explicit)
            raise
        self._finish(uri, outcome, explicit)
        return self._items(document, position, selected, outcome)

    async def _outcome(
        self,
        document: Document,
        position: Position,
        explicit: bool,
        selected: Selected | None,
        kind: str,
    ) -> Outcome:
        uri = document.uri
        with self._scheduler.enter(uri, kind, explicit=explicit) as ticket:
            silence = self._reason_for_silence(document)
            if silence:
                return Outcome(f"empty:{silence}")
            query = make_query(
                document,
                *(selected.end if selected else position),
                explicit=explicit,
                cells=self.documents.notebook_context(uri),
                selected=selected.text if selected else None,
                selected_start=selected.start if selected else None,
            )
            known = self._memory.recall(uri, query.prefix, query.suffix)
            if known is not None:
                outcome = from_memory(query, self.settings, known)
                if outcome is not None:
                    return outcome
            if self.model_state.name != "ready":
                return Outcome(f"empty:model-{self.model_state.name}")
            if not explicit:
                await ticket.wait(self._scheduler.debounce_s(self.settings.debounce_ms))
            settings = self.settings

            def job(engine: Engine, cancel: CancelFlag) -> Outcome:
                # A request cancelled while it waited its turn costs nothing.
                if cancel.is_set():
                    return Outcome("cancelled")
                outcome = generate(engine, query, settings, known=known, cancel=cancel)
                # Only this thread writes here.
                is_whole = outcome.name != "cancelled"
                self._generations["completed" if is_whole else "stopped"] += 1
                self._generations["forwards"] += outcome.statistics.forwards
                return outcome

            try:
                outcome = await ticket.run(
                    job, Priority.EXPLICIT if explicit else Priority.AUTOMATIC
                )
            except Superseded:
                raise
            except StablecodeError as error:
                self.say(str(error), "error")
                return Outcome("empty:error")
            except Exception as error:
                logger.exception("a completion failed")
                self.say(
                    f"A completion failed ({type(error).__name__}); the server's log "
                    "says more.",
                    "error",
                )
                return Outcome("empty:error")
            if outcome.name != "cancelled" and settings is self.settings:
                self._memory.remember(
                    uri,
                    query.prefix,
                    query.suffix,
                    to_remember(outcome),
                    num_candidates_wanted(query, settings),
                )
            return outcome

    def _reason_for_silence(self, document: Document) -> str:
        """Name why nothing is suggested in this document, or return nothing."""
        if not self.settings.enable:
            return "disabled"
        if document.language_id in self.settings.disabled_languages:
            return "language-disabled"
        if self._is_excluded(document.uri):
            return "excluded"
        return ""

    def _is_excluded(self, uri: str) -> bool:
        notebook = self.documents.notebook_of(uri)
        path = path_of(notebook.uri if notebook else uri)
        if path is None or not self.settings.exclude:
            return False
        whole = path.as_posix().lstrip("/")
        for folder in self.folders:
            if path.is_relative_to(folder):
                relative = path.relative_to(folder).as_posix()
                return self._exclude.match_file(
                    relative
                ) or self._exclude_absolute.match_file(whole)
        return self._exclude.match_file(whole)

    def _items(
        self,
        document: Document,
        position: Position,
        selected: Selected | None,
        outcome: Outcome,
    ) -> list[Item]:
        end_line, end_column = document.locate(
            *(selected.end if selected else position)
        )
        start = (end_line, document.character_at(end_line, end_column))
        if selected is not None:
            line, column = document.locate(*selected.start)
            start = min(start, (line, document.character_at(line, column)))
        request = next(self._identifiers)
        return [
            Item(
                text=(selected.text if selected else "") + one.text,
                start=start,
                end=(
                    end_line,
                    document.character_at(end_line, end_column + one.replace_right),
                ),
                identifier=f"{request}.{index}",
            )
            for index, one in enumerate(outcome.suggestions)
        ]

    def _finish(self, uri: str, outcome: Outcome, explicit: bool) -> None:
        if outcome.name not in ("superseded", "cancelled"):
            self._last_outcomes[uri] = outcome
        self._tracer.record(
            "completion",
            uri=uri,
            explicit=explicit,
            **describe(outcome),
        )
        self._counts[outcome.name] += 1
        logger.info("%s: %s", uri, outcome.name)

    # --- what the user asks about -------------------------------------------

    def accepted(self, identifier: str, num_characters: int | None) -> None:
        """Record that a suggestion, or its first characters, was accepted."""
        self._num_accepted += 1
        self._tracer.record("accepted", id=identifier, characters=num_characters)

    def explain(self, uri: str | None) -> dict[str, Any] | None:
        """Return the last outcome of a document, or of the latest one."""
        if uri is not None and uri in self.documents:
            uri = self.documents.get(uri).uri
        if uri is None:
            uri = next(
                (one.uri for one in self.documents if one.uri in self._last_outcomes),
                None,
            )
        if uri is None or uri not in self._last_outcomes:
            return None
        return {"uri": uri, **describe(self._last_outcomes[uri])}

    def status(self) -> dict[str, Any]:
        """Return the state of the model and what the requests came to."""
        engine = self._worker.engine
        return {
            "enabled": self.settings.enable,
            "state": self.model_state.name,
            "message": self.model_state.message,
            "engine": asdict(engine.info) if engine is not None else None,
            "documents": len(self.documents),
            "requests": self._counts.total(),
            "outcomes": dict(self._counts),
            "accepted": self._num_accepted,
            "generations": dict(self._generations),
        }
