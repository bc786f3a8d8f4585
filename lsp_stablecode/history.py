"""What became of a session's requests: counted, traced, and the last ones kept."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import Any

from lsp_stablecode.metrics import Metrics
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.trace import Tracer, describe

logger = logging.getLogger(__name__)

_NUM_RECENT = 50


class History:
    """Every way out of a request ends here, by its outcome's name."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or Tracer()
        self.metrics = Metrics()
        self._recent: deque[dict[str, Any]] = deque(maxlen=_NUM_RECENT)
        self._generations = Counter(completed=0, stopped=0, forwards=0)
        self._look_ahead = Counter(computed=0, used=0, stopped=0)
        self._last: dict[str, Outcome] = {}

    def note_outcome(
        self,
        uri: str,
        outcome: Outcome,
        *,
        explicit: bool,
        latency_ms: float = 0.0,
        language_id: str = "",
    ) -> None:
        """Record how a request of a document was answered, and after what time."""
        if outcome.name not in ("superseded", "cancelled"):
            self._last[uri] = outcome
        told = {
            "explicit": explicit,
            "latencyMs": round(latency_ms, 1),
            **describe(outcome),
        }
        self._tracer.record("completion", uri=uri, **told)
        # Prompts name files; what is kept for a bug report does not.
        self._recent.append({"language": language_id, **told, "prompt": []})
        self.metrics.note_answer(outcome.name, latency_ms)
        logger.info("%s: %s", uri, outcome.name)

    def note_offered(self) -> None:
        """Count an answer with a suggestion that is not the rest of an earlier one."""
        self.metrics.num_shown += 1

    def note_generation(self, outcome: Outcome) -> None:
        """Count what the model did; only the engine's thread calls this."""
        is_whole = outcome.name != "cancelled"
        self._generations["completed" if is_whole else "stopped"] += 1
        self._generations["forwards"] += outcome.statistics.forwards
        self.metrics.note_generation(outcome.statistics)

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
        self.metrics.num_accepted += is_first
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

    def recent(self) -> list[dict[str, Any]]:
        """Return the last outcomes: names, counts and milliseconds, no text."""
        return list(self._recent)

    def counts(self) -> dict[str, Any]:
        """Return how often what happened, as JSON data."""
        return {
            "requests": self.metrics.outcomes.total(),
            "outcomes": dict(self.metrics.outcomes),
            "accepted": self.metrics.num_accepted,
            **self.metrics.describe(),
            "generations": dict(self._generations),
            "lookAhead": dict(self._look_ahead),
        }

    def close(self) -> None:
        """Close the trace."""
        self._tracer.close()
