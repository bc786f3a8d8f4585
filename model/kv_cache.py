"""The cache ledger: which token ids the keys and values of a backend stand for."""

from __future__ import annotations

from collections.abc import Sequence


def common_prefix_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading token ids two sequences share."""
    limit = min(len(left), len(right))
    # Slices compare in C; a prompt usually differs only near its end.
    if left[:limit] == right[:limit]:
        return limit
    low, high = 0, limit
    while low + 1 < high:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Ledger:
    """The token ids whose keys and values are held, in order.

    The ledger and the backend's cache change together: ``append`` after a forward,
    ``truncate`` with the backend's own. It is what makes reuse checkable: equal ids
    at equal positions have equal keys and values.
    """

    def __init__(self) -> None:
        self._token_ids: list[int] = []

    def __len__(self) -> int:
        return len(self._token_ids)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All ids held, oldest first."""
        return tuple(self._token_ids)

    def num_reusable(self, prompt: Sequence[int]) -> int:
        """Return how many leading tokens of ``prompt`` are already computed.

        At least the prompt's last token is always left to compute, because its
        logits are needed and are not kept.
        """
        shared = common_prefix_length(self._token_ids, list(prompt))
        return max(0, min(shared, len(prompt) - 1))

    def append(self, token_ids: Sequence[int]) -> None:
        """Record ids whose keys and values were just computed."""
        self._token_ids.extend(token_ids)

    def truncate(self, num_tokens: int) -> None:
        """Forget everything after the first ``num_tokens``."""
        del self._token_ids[num_tokens:]
