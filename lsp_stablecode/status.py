"""What a status bar shows of a session: one state, told when it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from lsp_stablecode.model_host import ModelHost
from lsp_stablecode.switch import Switch
from model import LoadProgress

Kind = Literal["Normal", "Warning", "Error", "Inactive"]

_SHORT_WORK_S = 0.1
_SHORT_REST_S = 0.25
"""Between two keys of somebody who types; a status bar is not to flicker then."""
_LEAST_GAP_S = 0.25
_SILENCES = {
    "language-disabled": "Suggestions are switched off for this language.",
    "ignored": "No suggestions here: git ignores this file.",
    "excluded": "No suggestions here: the setting exclude names this file.",
    "secret": "No suggestions here: the file's name says that it is secret.",
    "unreadable": "No suggestions here: this file cannot be looked at.",
    "slow-files": "No suggestions now: the file system does not answer.",
}


@dataclass(frozen=True, slots=True)
class Status:
    """``Inactive`` is off, or not there yet; ``busy`` is at work; for people."""

    kind: Kind
    busy: bool
    message: str


class StatusReporter:
    """Tells a session's status to ``show``, each one once. Lives on the event loop."""

    def __init__(
        self, model: ModelHost, switch: Switch, show: Callable[[Status], object]
    ) -> None:
        self._model = model
        self._switch = switch
        self._show = show
        self._shown: Status | None = None
        self._progress: LoadProgress | None = None
        self._progress_s = 0.0
        self._silence = ""
        self._warning = ""
        self._num_computing = 0
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def current(self) -> Status:
        """The status now."""
        state = self._model.state
        is_loading = state.name == "loading"
        if state.name == "failed":
            return Status("Error", False, state.message)
        if not self._switch.is_on:
            return Status("Inactive", is_loading, self._why_off())
        if is_loading:
            return Status("Inactive", True, _loading(self._progress))
        if state.name == "resting":
            return Status("Inactive", False, "The model rests until it is asked.")
        info = self._model.info
        if state.name == "idle" or info is None:
            return Status("Inactive", False, "The model is not loaded.")
        if self._silence in _SILENCES:
            return Status("Inactive", False, _SILENCES[self._silence])
        if self._warning:
            return Status("Warning", self._is_busy, self._warning)
        return Status("Normal", self._is_busy, f"{info.model} on {info.device}")

    def update(self, *, again: bool = False) -> None:
        """Tell the status if it is another one, or to somebody new ``again``."""
        status = self.current
        if again or status != self._shown:
            self._shown = status
            self._show(status)

    def note_progress(self, progress: LoadProgress | None) -> None:
        """Take in how far the model is loaded; ``None`` is the end of that.

        A stage is told at once, what changes within it some times per second.
        """
        before, self._progress = self._progress, progress
        now = time.monotonic()
        is_same_stage = before and progress and before.stage == progress.stage
        if is_same_stage and now - self._progress_s < _LEAST_GAP_S:
            return
        self._progress_s = now
        self.update()

    def note_place(self, silence: str) -> None:
        """Take in why the document that the user is at has no suggestions, if so."""
        self._silence = silence
        self.update()

    def note_failure(self, message: str) -> None:
        """Take in why the last computation failed; nothing where it did not."""
        self._warning = message
        self.update()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Count as busy meanwhile, if it takes long enough to be seen."""
        self._num_computing += 1
        self._look_soon()
        try:
            yield
        finally:
            self._num_computing -= 1
            self._look_soon()

    def close(self) -> None:
        """Tell nothing any more."""
        self._show = lambda status: None
        self._stop_timer()

    def _look_soon(self) -> None:
        """See in a moment whether still, or again, something is computed."""
        if (self._num_computing > 0) == self._is_busy:
            self._stop_timer()
        elif self._timer is None:
            delay_s = _SHORT_REST_S if self._is_busy else _SHORT_WORK_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._is_busy = self._num_computing > 0
        self.update()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _why_off(self) -> str:
        until_s = self._switch.snoozed_until_s
        if until_s is None:
            return "Suggestions are switched off."
        # Not for how long: that would be another message each minute.
        clock = time.strftime("%H:%M", time.localtime(until_s))
        return f"Suggestions are paused until {clock}."


def _loading(progress: LoadProgress | None) -> str:
    if progress is None or progress.stage in ("start", "ready"):
        return "Loading the model"
    if progress.fraction is None:
        return f"Loading the model: {progress.stage}"
    return f"Loading the model: {progress.stage}, {progress.fraction:.0%}"
