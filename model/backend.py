"""The Protocol between the engine and whatever computes logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Backend(Protocol):
    """A causal language model with one growing cache of keys and values.

    The cache holds ``num_cached_tokens`` positions; ``forward`` appends to it and
    ``truncate`` rewinds it. The engine's ledger knows which ids they are.
    """

    @property
    def name(self) -> str:
        """Short name for status, such as ``transformers (sdpa)``."""
        ...

    @property
    def num_cached_tokens(self) -> int:
        """How many positions the cache holds."""
        ...

    @property
    def chunk_tokens(self) -> int:
        """How many tokens one prefill chunk should have: the grain of cancelling."""
        ...

    def forward(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Append ``token_ids`` and return the last one's logits, ``[vocabulary]``.

        The logits are fp32 on the CPU. Raises ``OutOfMemoryError``.
        """
        ...

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` cached positions."""
        ...

    def close(self) -> None:
        """Release weights and cache."""
        ...
