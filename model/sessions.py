"""Which cache a prompt goes to, and ledgers that agree with the caches."""

from __future__ import annotations

from collections.abc import Sequence

from model.backend import Backend, Logits
from model.kv_cache import Ledger

# A prompt takes over a session of which it shares at least one part in so many.
_LEAST_SHARED_PART = 4


class Sessions:
    """A backend's caches with a ledger each; one is selected.

    Whatever fails, and whenever, the ledgers say afterwards what the caches hold.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ledgers = [Ledger() for _ in range(backend.num_sessions)]
        self._selected = 0
        # Least recently used first.
        self._by_use = list(range(backend.num_sessions))

    @property
    def ledger(self) -> Ledger:
        """What the selected session holds."""
        return self._ledgers[self._selected]

    @property
    def ledgers(self) -> Sequence[Ledger]:
        """What each session holds."""
        return self._ledgers

    def choose(self, token_ids: Sequence[int]) -> int:
        """Select the session for a prompt; return how many tokens of it that holds.

        The one with the longest common prefix, provided that this is a quarter of
        what the session holds: what it saves now, surely, must weigh against what
        is lost beyond it, should somebody come back there. Two documents often
        share a licence or imports, which is less than that; another place in the
        same window shares more. Otherwise an empty session, or the one that was
        used the longest time ago.
        """
        shared = [ledger.num_reusable(token_ids) for ledger in self._ledgers]
        # The most recently used of equals: it is last.
        best = max(self._by_use[::-1], key=lambda session: shared[session])
        if shared[best] * _LEAST_SHARED_PART < len(self._ledgers[best]):
            empty = [one for one in self._by_use if not len(self._ledgers[one])]
            best = (empty or self._by_use)[0]
        self._select(best)
        self._by_use.remove(best)
        self._by_use.append(best)
        self.rewind(shared[best])
        return shared[best]

    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> Logits:
        """Append ``token_ids`` to the selected session's cache."""
        try:
            logits = self._backend.forward(token_ids, num_logits)
        except BaseException:
            # A failed forward may have appended to some layers only.
            self._reset()
            raise
        self.ledger.append(token_ids)
        return logits

    def branch(self, token_ids: Sequence[int]) -> Logits:
        """Append one token to each of several continuations of what is held.

        Until ``end_branches`` nothing else may be done with the session.
        """
        try:
            return self._backend.branch(token_ids, len(self.ledger))
        except BaseException:
            self._reset()
            raise

    def end_branches(self) -> None:
        """Drop all continuations; what they shared stays."""
        self._truncate(len(self.ledger))

    def rewind(self, num_tokens: int) -> None:
        """Keep at most the first ``num_tokens`` of the selected session."""
        if num_tokens < len(self.ledger):
            self._truncate(num_tokens)

    def release_idle(self) -> int:
        """Give back the memory of all but the selected session; return how many."""
        idle = [
            one
            for one, ledger in enumerate(self._ledgers)
            if one != self._selected and len(ledger)
        ]
        for session in idle:
            self._ledgers[session].truncate(0)
            self._backend.release(session)
        return len(idle)

    def clear(self) -> None:
        """Drop what all sessions hold."""
        for session in self._by_use:
            self._select(session)
            self.rewind(0)

    def _select(self, session: int) -> None:
        if session != self._selected:
            self._backend.select(session)
            self._selected = session

    def _truncate(self, num_tokens: int) -> None:
        try:
            self._backend.truncate(num_tokens)
        except BaseException:
            # Some layers may be shorter than others now. An empty ledger beside a
            # cache that is not empty would be worse still.
            self._reset()
            raise
        self.ledger.truncate(num_tokens)

    def _reset(self) -> None:
        self.ledger.truncate(0)
        self._backend.truncate(0)
