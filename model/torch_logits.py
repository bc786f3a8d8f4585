"""Scores of next tokens as a tensor, wherever they were computed."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.logits import NumpyLogits, check_number
from model.torch_errors import naming_out_of_memory

_NO_ROOM = "The device ran out of memory while it chose a token."


class TensorLogits:
    """``Logits`` over an fp32 tensor ``[positions, vocabulary]``."""

    def __init__(self, scores: Tensor) -> None:
        self._scores = scores

    def __len__(self) -> int:
        """How many positions there are."""
        return len(self._scores)

    @naming_out_of_memory(_NO_ROOM)
    @torch.inference_mode()
    def greedy(self) -> list[tuple[int, float]]:
        """Return each position's most probable token and its log-probability."""
        best = self._scores.amax(-1)
        normaliser = self._scores.logsumexp(-1)
        # Not argmax: which of equal scores it takes is not promised.
        size = self._scores.shape[-1]
        ids = torch.arange(size, device=self._scores.device)
        first = torch.where(self._scores == best[:, None], ids, size - 1).amin(-1)
        # Ids are exact in float64; together they come over in one transfer. Apple's
        # GPU has no float64, and its ids are exact in float32 up to 16 million.
        wide = torch.float32 if self._scores.device.type == "mps" else torch.float64
        both = torch.stack((first.to(wide), (best - normaliser).to(wide)), -1)
        chosen = [(int(token_id), score) for token_id, score in both.tolist()]
        for _, logprob in chosen:
            check_number(logprob)
        return chosen

    def top(self, position: int, count: int) -> list[tuple[int, float]]:
        """Return the ``count`` most probable tokens of a position, best first."""
        return NumpyLogits(self.row(position)[None]).top(0, count)

    @naming_out_of_memory(_NO_ROOM)
    @torch.inference_mode()
    def row(self, position: int) -> npt.NDArray[np.float32]:
        """Return a position's scores, ``[vocabulary]``."""
        row = cast(npt.NDArray[np.float32], self._scores[position].cpu().numpy())
        check_number(float(row.sum()))
        return row
