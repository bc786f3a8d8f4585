"""One JSON line per request; never source text."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.postprocess import Finished

logger = logging.getLogger(__name__)


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON data: names, counts and milliseconds, no text."""
    return {
        "outcome": outcome.name,
        "suggestions": [_suggestion(one) for one in outcome.suggestions],
        "withheld": [_suggestion(one) for one in outcome.withheld],
        "threshold": round(outcome.threshold, 4),
        "candidates": [
            {
                "finishReason": one.finish_reason,
                "tokens": one.num_tokens,
                "meanLogprob": round(one.mean_logprob, 4),
            }
            for one in outcome.candidates
        ],
        "shape": None
        if outcome.shape is None
        else {"kind": outcome.shape.kind, "reason": outcome.shape.reason},
        "removed": list(outcome.removed),
        "fimOrder": outcome.fim_order,
        "prompt": [asdict(part) for part in outcome.parts],
        "healedCharacters": len(outcome.healed),
        "statistics": asdict(outcome.statistics),
        "gatherMs": round(outcome.gather_ms, 1),
        "totalMs": round(outcome.total_ms, 1),
    }


def _suggestion(one: Finished) -> dict[str, Any]:
    return {
        "characters": len(one.text),
        "lines": one.text.count("\n") + 1,
        "replaceRight": one.replace_right,
        "removed": list(one.removed),
        "confidence": None if one.confidence is None else round(one.confidence, 4),
        "features": None if one.features is None else asdict(one.features),
    }


class Tracer:
    """Writes what happened to a file, where one is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            # Line-buffered, so that a killed server's trace is whole.
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def record(self, event: str, **data: Any) -> None:
        """Write ``event`` with its time and ``data``."""
        if self._file is not None:
            line = {"time": round(time.time(), 3), "event": event, **data}
            try:
                self._file.write(json.dumps(line) + "\n")
            except OSError as error:
                # A full disk must not cost anybody a suggestion.
                logger.error("the trace ends here (%s)", error.strerror)
                self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            # Closing writes what could not be written, once more.
            with contextlib.suppress(OSError):
                file.close()


def open_tracer(path: Path | None) -> Tracer:
    """Return a tracer. Raises ``SettingsError`` where the file cannot be written."""
    try:
        return Tracer(path)
    except OSError as error:
        raise SettingsError(
            f"The trace cannot be written to {path} ({error.strerror}).",
            hint="Choose another file for --trace.",
        ) from error
