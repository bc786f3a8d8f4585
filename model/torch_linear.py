"""Linear maps ``[tokens, columns] → [tokens, rows]``, plain or of quantised weights.

A pass of few tokens waits for the weights to arrive, so small weights make it fast;
a pass of many waits for arithmetic, so there they are restored for a plain product.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from model import int4

logger = logging.getLogger(__name__)

WeightFormat = Literal["plain", "int8", "int4"]

# Above so many tokens restoring weights is faster, measured on two Zen 4 cores
# (equal at 32); a GPU's kernels are made for a tile of 16.
_RESTORE_ABOVE_TOKENS = 32
# Rows quantised at a time, so that their float32 copies stay small.
_BLOCK_ROWS = 256


class Linear(Protocol):
    """A linear map, bias included."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return ``[tokens, rows]`` of ``[tokens, columns]``."""
        ...


class PlainLinear:
    """Weight ``[rows, columns]`` in the inputs' number format."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, inputs: Tensor) -> Tensor:
        """See ``Linear``."""
        return functional.linear(inputs, self._weight, self._bias)


class Int8Linear:
    """Eight bits per weight and a scale per row."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        most = weight.abs().amax(1).float()
        self._scales = (most / 127).clamp(min=1e-8).to(weight.dtype)
        self._codes = torch.empty_like(weight, dtype=torch.int8)
        for codes, rows, scales in zip(
            torch.split(self._codes, _BLOCK_ROWS),
            torch.split(weight, _BLOCK_ROWS),
            torch.split(self._scales.float()[:, None], _BLOCK_ROWS),
            strict=True,
        ):
            codes.copy_((rows.float() / scales).round_().clamp_(-127, 127))
        self._bias = bias
        # On odd sizes torch's kernel reads beyond its tensors.
        fits = weight.shape[0] % 16 == 0 and weight.shape[1] % 32 == 0
        self._has_kernel = fits and _runs(self._kernel, weight)

    def __call__(self, inputs: Tensor) -> Tensor:
        """See ``Linear``."""
        if self._has_kernel and len(inputs) <= _RESTORE_ABOVE_TOKENS:
            return _add(self._kernel(inputs), self._bias)
        # Scaled before the product, whose sums float16 might not hold otherwise.
        weight = self._codes * self._scales[:, None]
        return functional.linear(inputs, weight, self._bias)

    def _kernel(self, inputs: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(inputs.contiguous(), self._codes, self._scales)


class Int4Linear:
    """Four bits per weight, as the kernel wants them; on a GPU also to be restored."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        codes, self._scales = int4.quantize(weight, weight.dtype)
        self._bias = bias
        self._packed: Tensor | None = None
        if weight.device.type == "cpu":
            # Restoring takes there as long as the kernel takes for 128 tokens.
            self._tiles = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
                codes.to(torch.int32), 2
            )
        else:
            self._packed = int4.pack(codes)
            self._tiles = torch.ops.aten._convert_weight_to_int4pack(self._packed, 8)

    def __call__(self, inputs: Tensor) -> Tensor:
        """See ``Linear``."""
        if self._packed is None:
            kernel = torch.ops.aten._weight_int4pack_mm_for_cpu
        elif len(inputs) > _RESTORE_ABOVE_TOKENS:
            weight = int4.dequantize(self._packed, self._scales)
            return functional.linear(inputs, weight, self._bias)
        else:
            kernel = torch.ops.aten._weight_int4pack_mm
        product: Tensor = kernel(
            inputs.contiguous(), self._tiles, int4.GROUP_COLUMNS, self._scales
        )
        return _add(product, self._bias)

    @staticmethod
    def fits(weight: Tensor) -> bool:
        """Return whether torch's kernel takes such a matrix on its device."""
        rows, columns = weight.shape
        if weight.device.type == "cpu":
            return rows % 16 == 0 and columns % int4.GROUP_COLUMNS == 0
        return (
            weight.device.type == "cuda"
            and weight.dtype == torch.bfloat16
            and rows % 8 == 0
            and columns % 128 == 0
        )


def make_linear(weight: Tensor, bias: Tensor | None, kind: WeightFormat) -> Linear:
    """Return the map of ``weight`` ``[rows, columns]`` and ``bias`` ``[rows]``.

    Where int4 does not fit a matrix it is int8.
    """
    if kind == "plain":
        return PlainLinear(weight, bias)
    if kind == "int4" and Int4Linear.fits(weight):
        return Int4Linear(weight, bias)
    return Int8Linear(weight, bias)


def _add(product: Tensor, bias: Tensor | None) -> Tensor:
    return product if bias is None else product + bias


def _runs(kernel: Linear, weight: Tensor) -> bool:
    """Return whether ``kernel`` exists on this device for this number format."""
    try:
        kernel(
            torch.zeros(1, weight.shape[1], dtype=weight.dtype, device=weight.device)
        )
    except (NotImplementedError, RuntimeError) as error:
        logger.info("int8 weights are restored for every pass: %s", error)
        return False
    return True
