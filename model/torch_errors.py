"""torch's errors in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.errors import OutOfMemoryError

# CUDA's, the system's, and those of cuBLAS and cuDNN.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")


@contextmanager
def naming_out_of_memory(message: str) -> Iterator[None]:
    """Turn each library's own words for it into ``OutOfMemoryError``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not (
            any(words in text for words in _OUT_OF_MEMORY)
        ):
            raise
        raise OutOfMemoryError(
            message,
            hint="Free memory, lower contextTokens, or choose a smaller model.",
        ) from error


def first_line(error: Exception) -> str:
    """Return what an error says, shortened."""
    return (str(error).strip().splitlines() or [""])[0][:200]
