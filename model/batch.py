"""Several candidates decoded at once, a token of each per pass."""

from __future__ import annotations

from collections.abc import Sequence

from model.interface import Candidate
from model.sampling import Scored
from model.transcript import Transcript

_MIN_ALTERNATIVE_TOKENS = 24


def candidate_limit(max_new_tokens: int, best: Candidate | None) -> int:
    """Return how many tokens the next candidate may take, given the first.

    An alternative much longer than the best one is rarely wanted, and somebody
    waits for all of them together.
    """
    if best is None:
        return max_new_tokens
    wanted = 0 if best.finish_reason == "length" else 2 * best.num_tokens
    return min(max(wanted, _MIN_ALTERNATIVE_TOKENS), max_new_tokens)


class Batch:
    """Transcripts that grow together and end each on its own.

    ``best`` is the first candidate where an earlier batch had it; otherwise it is
    this batch's first. How long the others may be is known when that has ended: until
    then they go on, and are cut back afterwards where that was too far. The results
    are those of one after the other.
    """

    def __init__(
        self,
        transcripts: Sequence[Transcript],
        max_new_tokens: int,
        best: Candidate | None,
    ) -> None:
        self._transcripts = transcripts
        self._max_new_tokens = max_new_tokens
        self._holds_best = best is None
        self._best = best

    @property
    def ended(self) -> bool:
        """Whether every transcript has ended."""
        return all(self._has_ended(one) for one in range(len(self._transcripts)))

    def push(self, tokens: Sequence[Scored]) -> int:
        """Give each transcript that has not ended its token; return how many did."""
        num_pushed = 0
        for position, token in enumerate(tokens):
            if not self._has_ended(position):
                self._transcripts[position].push(*token)
                num_pushed += 1
            if self._best is None and self._has_ended(0):
                self._best = self._transcripts[0].candidate(self._max_new_tokens)
        return num_pushed

    def candidates(self) -> list[Candidate]:
        """Return the candidates that are whole, up to the first that is not."""
        whole: list[Candidate] = []
        for position, transcript in enumerate(self._transcripts):
            if self._best is None or not self._has_ended(position):
                break
            whole.append(transcript.candidate(self._limit(position)))
        return whole

    def _has_ended(self, position: int) -> bool:
        return self._transcripts[position].has_ended(self._limit(position))

    def _limit(self, position: int) -> int:
        """Return how many tokens a transcript may have, as far as is known."""
        if position == 0 and self._holds_best:
            return self._max_new_tokens
        return candidate_limit(self._max_new_tokens, self._best)
