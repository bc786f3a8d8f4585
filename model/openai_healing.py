"""Which of a server's tokens continue what was typed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from model.healing import Healing
from model.openai_tokens import Arrived
from model.sampling import Scored
from model.vocabulary import Vocabulary


class Continuation:
    """What was typed and must be generated again by one candidate, if anything.

    The tokens that the server may choose are those that ``HealingState`` allows the
    engine here. Of their probabilities only the highest are known, so the
    distribution over what may come is that over what is known of it.
    """

    def __init__(self, vocabulary: Vocabulary, healing: Healing | None) -> None:
        self._vocabulary = vocabulary
        self._state = None if healing is None else healing.begin()

    @property
    def is_done(self) -> bool:
        """Whether any token may come next."""
        return self._state is None or self._state.is_done

    def allowed(self) -> list[int]:
        """Return the ids that may come next, while it is not done."""
        assert self._state is not None
        return [int(one) for one in self._state.allowed()]

    def admits(self, token: Arrived, *, has_id: bool) -> bool:
        """Return whether a token may come next, by its id or else by its text."""
        if self.is_done:
            return True
        assert self._state is not None
        spelled = token.text.encode("utf-8", "replace")
        known = token.token_id
        if known is not None and (
            has_id or self._vocabulary.bytes_of(known) == spelled
        ):
            return known in self._state.allowed()
        rest = self._state.rest
        # Several tokens at once, or one of another vocabulary's.
        return rest.startswith(spelled) or spelled.startswith(rest)

    def ranked(self, top: Sequence[Scored]) -> list[Scored]:
        """Return those of ``top`` that may come, and how probable they then are."""
        if self._state is None or self._state.is_done:
            return list(top)
        allowed = self._state.allowed()
        some = [one for one in top if one[0] in allowed]
        if not some:
            return []
        most = max(logprob for _, logprob in some)
        total = most + math.log(sum(math.exp(one - most) for _, one in some))
        return [(token_id, min(0.0, one - total)) for token_id, one in some]

    def push(self, token_id: int) -> None:
        """Take a token that may come."""
        if self._state is not None:
            self._state.push(token_id)

    def push_text(self, text: str) -> None:
        """Take tokens that may come, by what they spell."""
        if self._state is not None:
            self._state.push_bytes(text.encode("utf-8", "replace"))
