"""Weights in four bits: groups along a row share a scale and a middle.

``weight = (code - 8) * scale + middle``, with codes 0 to 15, which is what torch's
int4 kernels compute.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP_COLUMNS = 32
# Shares of a group's range: giving up its ends makes the steps between finer.
_SHRINKAGES = (1.0, 0.93, 0.86, 0.79)
# Rows at a time, so that the float32 copies stay in a processor's cache.
_BLOCK_ROWS = 256


def quantize(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return codes ``[rows, columns]`` uint8 and ``[groups, rows, 2]`` of ``dtype``.

    The latter holds each group's scale and middle. Of several ranges per group, the
    one of the least squared error is taken.
    """
    blocks = [
        _quantize_block(block, dtype) for block in torch.split(weight, _BLOCK_ROWS)
    ]
    codes = torch.cat([block[0] for block in blocks])
    scales = torch.cat([block[1] for block in blocks])
    return codes, scales.transpose(0, 1).contiguous()


def _quantize_block(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    groups = weight.float().view(len(weight), -1, GROUP_COLUMNS)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    best_codes = torch.zeros_like(groups)
    best_error = torch.full_like(low, torch.inf)
    best_scale, best_middle = torch.zeros_like(low), torch.zeros_like(low)
    for share in _SHRINKAGES:
        # Rounded to what the kernel will use, so that the error is the real one.
        scale = ((high - low) * (share / 15)).clamp(min=1e-8).to(dtype).float()
        middle = ((low + high) / 2 + scale / 2).to(dtype).float()
        codes = ((groups - middle) / scale).round_().add_(8).clamp_(0, 15)
        error = ((codes - 8) * scale + middle - groups).square().sum(-1, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
        best_middle = torch.where(better, middle, best_middle)
        best_codes = torch.where(better, codes, best_codes)
    scales = torch.cat((best_scale, best_middle), -1).to(dtype)
    return best_codes.to(torch.uint8).flatten(1), scales


def pack(codes: Tensor) -> Tensor:
    """Return two codes per byte, ``[rows, columns / 2]``, the even column above."""
    return codes[:, ::2] << 4 | codes[:, 1::2]


def dequantize(packed: Tensor, scales: Tensor) -> Tensor:
    """Return ``[rows, columns]`` in the dtype of ``scales``."""
    codes = torch.stack((packed >> 4, packed & 15), -1).flatten(1)
    groups = codes.view(len(packed), -1, GROUP_COLUMNS).to(scales.dtype) - 8
    scale, middle = scales.transpose(0, 1).unsqueeze(2).unbind(-1)
    return torch.addcmul(middle, groups, scale).flatten(1)
