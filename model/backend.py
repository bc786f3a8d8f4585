"""The Protocols between the engine and whatever computes logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Logits(Protocol):
    """Scores of the next token at consecutive positions, ``[positions, vocabulary]``.

    They stay where they were computed; each method brings over what it returns, in
    one transfer.
    """

    def __len__(self) -> int:
        """How many positions there are."""
        ...

    def greedy(self) -> list[tuple[int, float]]:
        """Return each position's most probable token and its log-probability.

        The lowest id wins a tie.
        """
        ...

    def top(self, position: int, count: int) -> list[tuple[int, float]]:
        """Return the ``count`` most probable tokens of a position, best first."""
        ...

    def row(self, position: int) -> npt.NDArray[np.float32]:
        """Return a position's scores, ``[vocabulary]``."""
        ...


class Backend(Protocol):
    """A causal language model with caches of keys and values, one per session.

    A session's cache holds ``num_cached_tokens`` positions; ``forward`` appends to
    the selected one and ``truncate`` rewinds it. The engine's ledgers know which ids
    they are.
    """

    @property
    def name(self) -> str:
        """Short name for status, such as ``transformers (sdpa)``."""
        ...

    @property
    def chunk_tokens(self) -> int:
        """How many tokens one prefill chunk should have: the grain of cancelling."""
        ...

    @property
    def num_sessions(self) -> int:
        """How many caches there are."""
        ...

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        """Return how many continuations of so many tokens ``branch`` takes at once.

        1 where it cannot, or where a session has no room for more.
        """
        ...

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows; a forward of others is not allowed."""
        ...

    @property
    def pass_costs_ms(self) -> tuple[tuple[int, float], ...]:
        """Return what passes of few tokens cost here: (tokens, ms), ascending.

        Measured when the model was loaded; empty where nobody measured.
        """
        ...

    @property
    def num_cached_tokens(self) -> int:
        """How many positions the selected session's cache holds."""
        ...

    def select(self, session: int) -> None:
        """Work on another session's cache from now on."""
        ...

    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> Logits:
        """Append ``token_ids``; return logits after each of the last ``num_logits``.

        With 0, nobody wants any, and what is returned is not to be read. Raises
        ``OutOfMemoryError``.
        """
        ...

    def branch(self, token_ids: Sequence[int], num_shared: int) -> Logits:
        """Append one token to each of several continuations; return their logits.

        All continue the first ``num_shared`` cached positions and see nothing of each
        other. Called again with as many ids, each goes on where it was; ``truncate``
        to ``num_shared`` ends it. Raises ``OutOfMemoryError``.
        """
        ...

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` cached positions."""
        ...

    def release(self, session: int) -> None:
        """Empty a session that is not selected; give back what memory that frees."""
        ...

    def resize(self, context_tokens: int, num_sessions: int) -> None:
        """Drop all caches, give their memory back, and make empty ones.

        They may hold no more tokens than at first. Raises ``OutOfMemoryError``; then
        there is none until it is called with less.
        """
        ...

    def close(self) -> None:
        """Release weights and caches."""
        ...
