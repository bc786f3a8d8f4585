"""What this user wants to see: thresholds from habits, and habits from outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lsp_stablecode.judgement.habits import LOWEST_THRESHOLD, Habits, Kind
from lsp_stablecode.judgement.habits_file import HabitsFile, state_directory
from lsp_stablecode.judgement.judge import DEFAULT_THRESHOLD, Thresholds
from lsp_stablecode.outcome import Outcome

# What is left when the user has typed so much of it counts as typed.
_LAST_CHARACTERS = 1
# Nobody decides against what was on the screen for less.
_SEEN_S = 0.6


@dataclass(slots=True)
class _OnScreen:
    """A suggestion that was answered, and nobody knows yet what becomes of it."""

    origin: str
    confidence: float
    kind: Kind
    explored: bool
    since_s: float
    until_s: float | None = None
    told: bool = False
    identifiers: set[str] = field(default_factory=set)


class Taste:
    """One session's view of the user's habits. Lives on the event loop."""

    def __init__(
        self, *, learns: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._habits = Habits(HabitsFile(state_directory()), enabled=learns)
        self._clock = clock
        self._on_screen: _OnScreen | None = None
        self._is_told = False

    def learn(self, on: bool) -> None:
        """Learn from now on, or neither learn nor use what was learned."""
        self._habits.enabled = on

    def thresholds(self, least_confidence: float | None) -> Thresholds:
        """Return how sure a suggestion must be; ``None`` leaves it to the habits."""
        if least_confidence is not None:
            return Thresholds(least_confidence, least_confidence)
        if self._habits.explores:
            return Thresholds(LOWEST_THRESHOLD, LOWEST_THRESHOLD)
        return Thresholds(
            self._habits.threshold(DEFAULT_THRESHOLD, "line"),
            self._habits.threshold(DEFAULT_THRESHOLD, "block"),
        )

    def note_edit(self) -> None:
        """Take in that the text changed: what was shown is gone, or is typed into."""
        if self._on_screen is not None and self._on_screen.until_s is None:
            self._on_screen.until_s = self._clock()

    def note_outcome(self, outcome: Outcome, request: int, *, explicit: bool) -> None:
        """Learn from an answer that nobody asked for by hand.

        A suggestion counts as shown once it stood for a moment, or was taken.
        """
        if explicit or outcome.shape is None:
            return
        identifier = f"{request}.0"
        first = outcome.suggestions[0] if outcome.suggestions else None
        origin = (first.origin or identifier) if first is not None else ""
        if self._on_screen is None or self._on_screen.origin != origin:
            self._settle()
        if outcome.name == "empty:unsure":
            self._habits.note_suppressed()
        if first is None or first.confidence is None:
            return
        if self._on_screen is None:
            usual = self._habits.threshold(DEFAULT_THRESHOLD, outcome.shape.kind)
            self._on_screen = _OnScreen(
                origin,
                first.confidence,
                outcome.shape.kind,
                self._habits.explores and first.confidence < usual,
                self._clock(),
            )
        # Still there, or there again: the user types it.
        self._on_screen.until_s = None
        self._on_screen.identifiers.add(identifier)
        if first.origin and len(first.text.rstrip()) <= _LAST_CHARACTERS:
            self._count(self._on_screen)
            self._habits.note_typed_through(origin)

    def note_shown(self, identifier: str) -> None:
        """Take in that the editor shows a suggestion; its time begins now.

        From an editor that says so, what it does not mention was never seen.
        """
        self._is_told = True
        shown = self._on_screen
        if shown is not None and identifier in shown.identifiers and not shown.told:
            shown.told = True
            shown.since_s = self._clock()

    def note_accepted(self, identifier: str, *, in_part: bool) -> None:
        """Learn that a suggestion, or its beginning, was accepted."""
        shown = self._on_screen
        if shown is not None and identifier in shown.identifiers:
            self._count(shown)
        self._habits.note_accepted(identifier, in_part=in_part)

    def close(self) -> None:
        """Write what was learned."""
        self._settle()
        self._habits.close()

    def _settle(self) -> None:
        """Count what was on the screen, if it was there long enough to be seen."""
        shown, self._on_screen = self._on_screen, None
        if shown is None or (self._is_told and not shown.told):
            return
        until_s = self._clock() if shown.until_s is None else shown.until_s
        if until_s - shown.since_s >= _SEEN_S:
            self._count(shown)

    def _count(self, shown: _OnScreen) -> None:
        for identifier in shown.identifiers:
            self._habits.note_shown(
                identifier,
                shown.confidence,
                shown.kind,
                origin=shown.origin,
                explored=shown.explored,
            )
