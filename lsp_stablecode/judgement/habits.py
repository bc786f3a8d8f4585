"""What this user accepts, and how sure a suggestion has to be to be shown."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lsp_stablecode.judgement.counts import (
    EDGES,
    Counts,
    Kind,
    Row,
    What,
    bucket_of,
    middle_of,
)
from lsp_stablecode.judgement.habits_file import HabitsFile

__all__ = ["HIGHEST_THRESHOLD", "LOWEST_THRESHOLD", "Habits", "Kind"]

LOWEST_THRESHOLD = EDGES[0]
HIGHEST_THRESHOLD = 0.5
LEAST_ACCEPTANCE = 1 / 12
"""Who accepts fewer of them is disturbed by the others."""
GOOD_ACCEPTANCE = 1 / 8
"""Who accepts so many of them wants to see them. In between the default holds."""

_PRIOR_WEIGHT = 20.0
_LEAST_SHOWN = 20.0
_HALF = 0.5  # what was taken in part, or typed, was right and of less use
_SUPPRESSED_PER_EXPLORED = 20
_PENDING = 256
_WRITE_EVERY_S = 30.0

_Verdict = Literal["", "welcome", "unwelcome"]
_RANKS: dict[What, int] = {"typed_through": 1, "accepted_in_part": 2, "accepted": 3}


@dataclass(slots=True)
class _Shown:
    """A suggestion that may still be accepted."""

    kind: Kind
    bucket: int
    became: What | None = None


class Habits:
    """Counts what becomes of suggestions, and moves the threshold by it.

    Only numbers are kept, in one file; without a ``file`` they end with this object.
    Where it is not ``enabled`` nothing is counted, read or written. Lives on the event
    loop.
    """

    def __init__(
        self,
        file: HabitsFile | None = None,
        *,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._enabled = enabled
        self._stored: Counts | None = None  # what the file held, when last looked at
        self._new = Counts()  # what happened since
        self._has_news = False
        self._written_at = clock()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._num_suppressed = 0

    @property
    def enabled(self) -> bool:
        """Whether anything is learned; what is not written yet goes when it ends."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value != self._enabled:
            self._enabled = value
            self._stored = None
            self._new, self._has_news = Counts(), False
            self._shown.clear()
            self._num_suppressed = 0

    # --- what is wanted ----------------------------------------------------

    def threshold(self, default: float, kind: Kind) -> float:
        """Return the confidence from which on a suggestion is worth showing.

        It is ``default`` until enough was seen; then it lies between
        `LOWEST_THRESHOLD` and `HIGHEST_THRESHOLD`.
        """
        if not self._enabled:
            return default
        verdicts = self._verdicts(kind)
        if not any(verdicts):
            return default
        threshold = LOWEST_THRESHOLD
        for bucket, verdict in enumerate(verdicts, start=1):
            lower, upper = EDGES[bucket - 1], EDGES[bucket]
            if verdict == "welcome" or (not verdict and default <= lower):
                break
            if not verdict and default < upper:
                return default
            threshold = upper
        return threshold

    @property
    def explores(self) -> bool:
        """Whether the next suggestion is to be shown from `LOWEST_THRESHOLD` on.

        After some silences one is, or nothing could be learned about them any more.
        """
        return self._enabled and self._num_suppressed >= _SUPPRESSED_PER_EXPLORED

    def _verdicts(self, kind: Kind) -> list[_Verdict]:
        """Return what is known of each bucket from the lowest threshold on.

        Where that is too little, a bucket is at least as welcome as those below it
        and at most as welcome as those above it.
        """
        last = bucket_of(HIGHEST_THRESHOLD)
        row = self._counts().rows[kind]
        known = [_verdict(row, bucket) for bucket in range(1, last)]
        for index in range(1, len(known)):
            if not known[index] and known[index - 1] == "welcome":
                known[index] = "welcome"
        for index in range(len(known) - 2, -1, -1):
            if not known[index] and known[index + 1] == "unwelcome":
                known[index] = "unwelcome"
        return known

    def _counts(self) -> Counts:
        if self._stored is None:
            self._stored = self._file.read() if self._file is not None else Counts()
        return self._stored.plus(self._new)

    # --- what happened -----------------------------------------------------

    def note_shown(
        self,
        identifier: str,
        confidence: float,
        kind: Kind,
        *,
        origin: str = "",
        explored: bool = False,
    ) -> None:
        """Count a suggestion that was answered; ``explored`` where `explores` let it.

        One that is served again while it is typed has a new identifier and the same
        ``origin``, and counts once; whatever becomes of either becomes of both.
        """
        if not self._enabled:
            return
        shown = self._shown.get(origin) if origin else None
        if shown is None:
            shown = _Shown(kind, bucket_of(confidence))
            self._add(shown, "shown")
            if explored:
                self._num_suppressed = 0
        for name in filter(None, (origin, identifier)):
            self._shown[name] = shown
            self._shown.move_to_end(name)
        while len(self._shown) > _PENDING:
            self._shown.popitem(last=False)
        self._write_sometimes()

    def note_suppressed(self) -> None:
        """Count an answer that was withheld because it was too unsure."""
        self._num_suppressed += 1

    def note_accepted(self, identifier: str, *, in_part: bool = False) -> None:
        """Count that a suggestion, or its beginning, was accepted."""
        self._become(identifier, "accepted_in_part" if in_part else "accepted")

    def note_typed_through(self, identifier: str) -> None:
        """Count that the user typed a suggestion to its end instead."""
        self._become(identifier, "typed_through")

    def close(self, timeout_s: float = 0.5) -> None:
        """Write what is not written yet."""
        self._write(timeout_s)

    def _become(self, identifier: str, what: What) -> None:
        shown = self._shown.get(identifier) if self._enabled else None
        if shown is None:
            return
        if shown.became is not None:
            if _RANKS[what] <= _RANKS[shown.became]:
                return
            self._add(shown, shown.became, -1.0)
        shown.became = what
        self._add(shown, what)
        self._write_sometimes()

    def _add(self, shown: _Shown, what: What, number: float = 1.0) -> None:
        self._new.add(shown.kind, what, shown.bucket, number)
        self._has_news = True

    def _write_sometimes(self) -> None:
        if self._clock() - self._written_at >= _WRITE_EVERY_S:
            # Nobody waits for a file here; there is another time.
            self._write(0.0)

    def _write(self, timeout_s: float) -> None:
        self._written_at = self._clock()
        if not self._has_news or not self._enabled:
            return
        total: Counts | None
        if self._file is None:
            total = self._counts()
        else:
            total = self._file.add(self._new, timeout_s)
        if total is not None:
            self._stored = total
            self._new, self._has_news = Counts(), False


def _verdict(row: Row, bucket: int) -> _Verdict:
    shown = row["shown"][bucket]
    if shown < _LEAST_SHOWN:
        return ""
    accepted = row["accepted"][bucket] + _HALF * (
        row["accepted_in_part"][bucket] + row["typed_through"][bucket]
    )
    # A Beta posterior's mean; the prior is that confidences are what they say.
    mean = (accepted + middle_of(bucket) * _PRIOR_WEIGHT) / (shown + _PRIOR_WEIGHT)
    if mean < LEAST_ACCEPTANCE:
        return "unwelcome"
    return "welcome" if mean >= GOOD_ACCEPTANCE else ""
