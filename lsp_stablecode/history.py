"""What became of a session's requests: counted, traced, and the last ones kept."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from lsp_stablecode.outcome import Outcome
from lsp_stablecode.trace import Tracer, describe

logger = logging.getLogger(__name__)


class History:
    """Every way out of a request ends here, by its outcome's name."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or Tracer()
        self._num_accepted = 0
        self._outcomes: Counter[str] = Counter()
        self._generations = Counter(completed=0, stopped=0, forwards=0)
        self._look_ahead = Counter(computed=0, used=0, stopped=0)
        self._last: dict[str, Outcome] = {}

    def note_outcome(self, uri: str, outcome: Outcome, *, explicit: bool) -> None:
        """Record how a request of a document was answered."""
        if outcome.name not in ("superseded", "cancelled"):
            self._last[uri] = outcome
        self._tracer.record(
            "completion", uri=uri, explicit=explicit, **describe(outcome)
        )
        self._outcomes[outcome.name] += 1
        logger.info("%s: %s", uri, outcome.name)

    def note_generation(self, outcome: Outcome) -> None:
        """Count what the model did; only the engine's thread calls this."""
        is_whole = outcome.name != "cancelled"
        self._generations["completed" if is_whole else "stopped"] += 1
        self._generations["forwards"] += outcome.statistics.forwards

    def note_look_ahead(self, uri: str, outcome: Outcome, *, is_whole: bool) -> None:
        """Record what was computed, or begun, before anybody asked for it."""
        self._tracer.record("look-ahead", uri=uri, **describe(outcome))
        self._look_ahead["computed" if is_whole else "stopped"] += 1

    def note_look_ahead_used(self) -> None:
        """Count that somebody came where was looked ahead."""
        self._look_ahead["used"] += 1

    def note_shown(self, identifier: str) -> None:
        """Record that an editor says it shows a suggestion."""
        self._tracer.record("shown", id=identifier)

    def note_accepted(
        self, identifier: str, num_characters: int | None, *, is_first: bool
    ) -> None:
        """Record that a suggestion, or its first characters, was accepted.

        However many parts it is accepted in, it counts once: the ``is_first``.
        """
        self._num_accepted += is_first
        self._tracer.record("accepted", id=identifier, characters=num_characters)

    def note_rejected(self, identifier: str) -> None:
        """Record that an editor says the user does not want a suggestion."""
        self._tracer.record("rejected", id=identifier)

    def last(self, uri: str) -> Outcome | None:
        """Return a document's last outcome that was not overtaken."""
        return self._last.get(uri)

    def forget(self, uri: str) -> None:
        """Drop a closed document's last outcome; it still counts."""
        self._last.pop(uri, None)

    def counts(self) -> dict[str, Any]:
        """Return how often what happened, as JSON data."""
        return {
            "requests": self._outcomes.total(),
            "outcomes": dict(self._outcomes),
            "accepted": self._num_accepted,
            "generations": dict(self._generations),
            "lookAhead": dict(self._look_ahead),
        }

    def close(self) -> None:
        """Close the trace."""
        self._tracer.close()
