"""From a step's shape to the attention that computes it."""

from __future__ import annotations

import torch
from torch import Tensor

from model.attention import (
    Attend,
    KvTensors,
    Read,
    SdpaAttention,
    Windows,
    sees,
    sees_in_branches,
)
from model.flash_attention import FlashAttention, FlashKernel


class AttentionFactory:
    """Makes a step's ``Attend`` for one model; ``group`` is heads per kv head."""

    def __init__(
        self,
        windows: Windows,
        group: int,
        dtype: torch.dtype,
        flash_kernel: FlashKernel | None = None,
    ) -> None:
        self._windows = tuple(windows)
        self._group = group
        self._dtype = dtype
        self._flash_kernel = flash_kernel

    def append(self, cache: KvTensors, start: int, num_tokens: int) -> Attend:
        """Tokens after ``start`` cached ones; each sees what is before it."""
        device = cache.keys.device
        if self._flash_kernel is not None:
            length = torch.tensor([start], dtype=torch.int32, device=device)
            return FlashAttention(cache, self._windows, length, self._flash_kernel)
        end = start + num_tokens
        reads = {}
        for window in set(self._windows):
            first = max(0, start + 1 - window) if window else 0
            mask = None
            causal = num_tokens > 1 and start == 0 and not (window and window < end)
            if num_tokens > 1 and not causal:
                slots = torch.arange(end - first, device=device)
                positions = torch.arange(start, end, device=device)
                mask = self._mask(sees(slots, positions, window, first))
            reads[window] = Read(first, end, mask, causal)
        return SdpaAttention(cache, self._windows, slice(start, end), reads)

    def append_at(self, cache: KvTensors, positions: Tensor, num_slots: int) -> Attend:
        """Do the same at ``positions`` on the device, all below ``num_slots``."""
        if self._flash_kernel is not None:
            length = positions[:1].to(torch.int32)
            return FlashAttention(cache, self._windows, length, self._flash_kernel)
        slots = torch.arange(num_slots, device=positions.device)
        reads = {
            window: Read(0, num_slots, self._mask(sees(slots, positions, window)))
            for window in set(self._windows)
        }
        return SdpaAttention(cache, self._windows, positions, reads)

    def branch(
        self,
        cache: KvTensors,
        num_branches: int,
        num_shared: int | Tensor,
        step: int | Tensor,
        num_slots: int,
    ) -> Attend:
        """One token of each branch; all written slots are below ``num_slots``."""
        slots = torch.arange(num_slots, device=cache.keys.device)
        reads = {
            window: Read(
                0,
                num_slots,
                self._mask(
                    sees_in_branches(slots, num_branches, num_shared, step, window)
                ),
            )
            for window in set(self._windows)
        }
        written = num_shared + step * num_branches + slots[:num_branches]
        return SdpaAttention(cache, self._windows, written, reads)

    def _mask(self, visible: Tensor) -> Tensor:
        """Return what to add to the scores, ``[group * tokens, slots]``."""
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=visible.device)
        mask.masked_fill_(~visible, -torch.inf)
        return mask.repeat(self._group, 1)
