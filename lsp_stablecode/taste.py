"""What this user wants to see: thresholds from habits, and habits from outcomes."""

from __future__ import annotations

from lsp_stablecode.judgement.habits import LOWEST_THRESHOLD, Habits
from lsp_stablecode.judgement.habits_file import HabitsFile, state_directory
from lsp_stablecode.judgement.judge import DEFAULT_THRESHOLD, Thresholds
from lsp_stablecode.outcome import Outcome

# What is left when the user has typed so much of it counts as typed.
_LAST_CHARACTERS = 1


class Taste:
    """One session's view of the user's habits. Lives on the event loop."""

    def __init__(self, *, learns: bool) -> None:
        self._habits = Habits(HabitsFile(state_directory()), enabled=learns)

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

    def note_outcome(self, outcome: Outcome, request: int, *, explicit: bool) -> None:
        """Learn from an answer that nobody asked for by hand."""
        if explicit or outcome.shape is None:
            return
        if not outcome.suggestions:
            if outcome.name == "empty:unsure":
                self._habits.note_suppressed()
            return
        first = outcome.suggestions[0]
        if first.confidence is not None:
            usual = self._habits.threshold(DEFAULT_THRESHOLD, outcome.shape.kind)
            self._habits.note_shown(
                f"{request}.0",
                first.confidence,
                outcome.shape.kind,
                origin=first.origin,
                explored=self._habits.explores and first.confidence < usual,
            )
        if first.origin and len(first.text.rstrip()) <= _LAST_CHARACTERS:
            self._habits.note_typed_through(first.origin)

    def note_accepted(self, identifier: str, *, in_part: bool) -> None:
        """Learn that a suggestion, or its beginning, was accepted."""
        self._habits.note_accepted(identifier, in_part=in_part)

    def close(self) -> None:
        """Write what was learned."""
        self._habits.close()
