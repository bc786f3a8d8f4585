"""Attention through flash-attn, where it is installed and the GPU has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.attention import KvTensors, Windows

FlashKernel = Callable[..., Any]


class FlashAttention:
    """``Attend`` through flash-attn, whose kernel also stores keys and values.

    Its tensors are ``[batch, tokens, heads, head_dim]``; ``length`` ``[1]`` is how
    many slots were filled before, int32 on the device.
    """

    def __init__(
        self,
        cache: KvTensors,
        windows: Windows,
        length: Tensor,
        kernel: FlashKernel,
    ) -> None:
        self._cache = cache
        self._windows = windows
        self._length = length
        self._kernel = kernel

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See ``Attend``."""
        window = self._windows[layer]
        result: Tensor = self._kernel(
            query[None],
            self._cache.keys[layer][None],
            self._cache.values[layer][None],
            k=key[None],
            v=value[None],
            cache_seqlens=self._length,
            causal=True,
            # How many keys to the left of a token's own; -1 for all.
            window_size=(window - 1, 0) if window else (-1, -1),
        )
        return result[0].flatten(1)


def flash_kernel(
    device: torch.device, dtype: torch.dtype, head_dim: int
) -> FlashKernel | None:
    """Return flash-attn's kernel where it is installed and computes such tensors."""
    if (
        device.type != "cuda"
        or dtype not in (torch.float16, torch.bfloat16)
        or head_dim > 256
        or head_dim % 8
        or torch.cuda.get_device_capability(device)[0] < 8
    ):
        return None
    try:
        from flash_attn.flash_attn_interface import flash_attn_with_kvcache
    except ImportError:  # not installed, or built for another torch
        return None
    kernel: FlashKernel = flash_attn_with_kvcache
    return kernel
