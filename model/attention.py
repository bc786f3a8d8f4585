"""Rotary positions, and attention over a cache of keys and values.

A cache row is a slot. Tokens that continue a text go to the slot of their position;
tokens of branches, which share the first ``P`` positions, are interleaved: branch
``b`` of ``B`` at step ``s`` goes to slot ``P + s * B + b``. Positions and counts may
be numbers or, inside a captured graph, tensors on the device: the arithmetic is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Windows = Sequence[int | None]


class Attend(Protocol):
    """One step's attention, whatever its shape."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store ``key`` and ``value``, return what ``query`` reads.

        ``query`` is ``[tokens, heads, head_dim]``, the others ``[tokens, kv_heads,
        head_dim]``, already rotated; the result is ``[tokens, heads * head_dim]``.
        """
        ...


@dataclass(frozen=True, slots=True)
class KvTensors:
    """One session's keys and values, ``[layers, slots, kv_heads, head_dim]`` each."""

    keys: Tensor
    values: Tensor

    @property
    def num_slots(self) -> int:
        """How many tokens fit."""
        return self.keys.shape[1]


class RotaryTable:
    """Cosines and sines of all positions, ``[positions, rotary_dim]``."""

    def __init__(
        self,
        inverse_frequencies: Sequence[float],
        num_positions: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # In float32 and rounded afterwards, as the models were trained.
        frequencies = torch.tensor(inverse_frequencies, dtype=torch.float32)
        positions = torch.arange(num_positions, dtype=torch.float32)
        angles = positions[:, None] * frequencies
        cosines, sines = angles.cos(), angles.sin()
        self._cosines = torch.cat((cosines, cosines), -1).to(device, dtype)
        self._sines = torch.cat((-sines, sines), -1).to(device, dtype)

    def rows(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``[tokens, 1, rotary_dim]`` of ``positions`` ``[tokens]``, twice."""
        return (
            self._cosines.index_select(0, positions)[:, None],
            self._sines.index_select(0, positions)[:, None],
        )


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> None:
    """Rotate the first channels of ``[tokens, heads, head_dim]`` in place."""
    rotating = heads[..., : cosines.shape[-1]]
    half = cosines.shape[-1] // 2
    swapped = torch.cat((rotating[..., half:], rotating[..., :half]), -1)
    rotating.copy_(rotating * cosines + swapped * sines)


def sees(
    slots: Tensor, positions: Tensor, window: int | None, first_slot: int = 0
) -> Tensor:
    """Return which slots tokens at ``positions`` see, ``[tokens, slots]``.

    ``slots`` counts from 0 and stands for ``first_slot`` onwards.
    """
    held = slots[None] + first_slot
    own = positions[:, None]
    return (held <= own) & (held > own - window) if window else held <= own


def sees_in_branches(
    slots: Tensor,
    num_branches: int,
    num_shared: int | Tensor,
    step: int | Tensor,
    window: int | None,
) -> Tensor:
    """Return which slots the branches' tokens see, ``[branches, slots]``."""
    branches = torch.arange(num_branches, device=slots.device)[:, None]
    beyond = (slots - num_shared)[None]
    shared = beyond < 0
    steps = torch.where(shared, beyond, beyond // num_branches)
    seen = (shared | (beyond % num_branches == branches)) & (steps <= step)
    return seen & (steps > step - window) if window else seen


@dataclass(frozen=True, slots=True)
class Read:
    """Which slots a layer reads; ``mask`` is added to the scores, ``[rows, slots]``.

    Without a mask all are seen, or, where ``causal``, each token sees up to itself.
    """

    first: int
    end: int
    mask: Tensor | None = None
    causal: bool = False


class SdpaAttention:
    """``Attend`` through torch's own kernels."""

    def __init__(
        self,
        cache: KvTensors,
        windows: Windows,
        write: slice | Tensor,
        reads: Mapping[int | None, Read],
    ) -> None:
        self._cache = cache
        self._windows = windows
        self._write = write
        self._reads = reads

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See ``Attend``."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        if isinstance(self._write, slice):
            keys[self._write] = key
            values[self._write] = value
        else:
            keys.index_copy_(0, self._write, key)
            values.index_copy_(0, self._write, value)
        read = self._reads[self._windows[layer]]
        held = slice(read.first, read.end)
        return _grouped(query, keys[held], values[held], read)


def _grouped(query: Tensor, keys: Tensor, values: Tensor, read: Read) -> Tensor:
    """Attend with the heads that share keys and values as further rows.

    Several times faster on a processor than repeating keys or ``enable_gqa``.
    """
    tokens, heads, channels = query.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    rows = query.reshape(tokens, kv_heads, group, channels).permute(1, 2, 0, 3)
    keys, values = keys.transpose(0, 1)[:, None], values.transpose(0, 1)[:, None]
    if read.causal:
        every = (kv_heads, group, tokens, channels)
        result = scaled_dot_product_attention(
            rows, keys.expand(every), values.expand(every), is_causal=True
        )
        return result.permute(2, 0, 1, 3).reshape(tokens, heads * channels)
    num_rows = group * tokens
    flat = rows.reshape(1, kv_heads, num_rows, channels)
    if num_rows == 1 and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # One row takes torch's slow path; two rows take a seventh of its time.
        flat = flat.repeat(1, 1, 2, 1)
    result = scaled_dot_product_attention(
        flat, keys.transpose(0, 1), values.transpose(0, 1), attn_mask=read.mask
    )[0, :, :num_rows]
    result = result.reshape(kv_heads, group, tokens, channels)
    return result.permute(2, 0, 1, 3).reshape(tokens, heads * channels)
