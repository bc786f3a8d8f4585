"""A vocabulary by its bytes: which tokens begin with some given ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


class Vocabulary:
    """All tokens that stand for text, found by the bytes they begin with."""

    def __init__(self, token_bytes: Mapping[int, bytes]) -> None:
        ids = [one for one, spelling in token_bytes.items() if spelling]
        ids.sort(key=token_bytes.__getitem__)
        self._spellings = [token_bytes[one] for one in ids]
        self._ids = np.array(ids, dtype=np.int64)
        self._bytes = token_bytes

    def __contains__(self, token_id: int) -> bool:
        """Tell whether an id is that of a token which stands for text."""
        return token_id in self._bytes

    def bytes_of(self, token_id: int) -> bytes:
        """Return a token's bytes; none for a control token."""
        return self._bytes.get(token_id, b"")

    def beginning_with(self, begin: bytes) -> npt.NDArray[np.int64]:
        """Return the ids of all tokens that begin with ``begin``, which has a byte."""
        first, last = self._range(begin)
        return self._ids[first:last]

    def has_longer(self, begin: bytes) -> bool:
        """Return whether a token begins with ``begin`` and goes on."""
        first, last = self._range(begin)
        # What is equal comes first, and two tokens may be spelled alike.
        return first < last and len(self._spellings[last - 1]) > len(begin)

    def _range(self, begin: bytes) -> tuple[int, int]:
        first = bisect_left(self._spellings, begin)
        after = _successor(begin)
        last = len(self._spellings)
        return first, bisect_left(self._spellings, after, first) if after else last


def _successor(begin: bytes) -> bytes:
    """Return the least bytes that are more than all that begin with ``begin``."""
    trimmed = begin.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
