"""Weights in tiles of 16 rows by 32 columns, as ``kernels/matrix.h`` reads them.

A number of a tile is an unsigned integer ``q``; each row of each tile has its own
scale ``d`` (and for q4 a minimum ``m``) in half precision:

====  ==================  ==========  =============================================
q4    ``d * q + m``       5.0 bits    holds Q4_0, Q4_1 and Q4_K
q5    ``d * (q - 16)``    5.5 bits    holds Q5_0
q6    ``d * (q - 32)``    6.5 bits    holds nothing of GGUF's; near 8 bits
q8    ``d * (q - 128)``   8.5 bits    holds Q8_0
f32   the number itself   32 bits     for exactness tests
====  ==================  ==========  =============================================

"Holds" means that GGUF blocks of that type are moved over as they are: the same
integers, and scales equal to half precision's last bit. Everything in numpy, by rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gguf.constants import GGMLQuantizationType

Format = Literal["q4", "q5", "q6", "q8", "f32"]
FORMATS: tuple[Format, ...] = ("q4", "q5", "q6", "q8", "f32")
ROWS, COLUMNS = 16, 32
_OFFSETS = {"q4": 0, "q5": 16, "q6": 32, "q8": 128}
_TILE_BYTES = {
    "q4": 256 + 64,
    "q5": 320 + 32,
    "q6": 384 + 32,
    "q8": 512 + 32,
    "f32": 2048,
}
_HIGH_BITS: dict[str, tuple[int, ...]] = {"q4": (), "q5": (4,), "q6": (4, 5)}
ALIGNMENT = 64
# numpy's bytes stay bytes with bytes only.
_NIBBLE, _FOUR, _SIGN = np.uint8(15), np.uint8(4), np.uint8(0x80)
# Shrinking the range a little often lowers the squared error: the few numbers at its
# ends are cut, all others are rounded less.
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Integers:
    """Rows of a matrix as integers: ``values ≈ scales * (numbers - offset) + minima``.

    ``numbers`` is ``[rows, columns]``, ``scales`` and ``minima`` (q4 only) are
    ``[rows, columns / 32]`` in half precision.
    """

    format: Format
    numbers: Bytes
    scales: npt.NDArray[np.float16]
    minima: npt.NDArray[np.float16] | None = None

    def values(self) -> Floats:
        """Return what they stand for, float32 ``[rows, columns]``."""
        rows = self.numbers.shape[0]
        grouped = self.numbers.reshape(rows, -1, COLUMNS).astype(np.float32)
        grouped -= _OFFSETS[self.format]
        grouped *= self.scales.astype(np.float32)[..., None]
        if self.minima is not None:
            grouped += self.minima.astype(np.float32)[..., None]
        return grouped.reshape(rows, -1)


def block_bytes(format: Format, num_columns: int) -> int:
    """Return the bytes of 16 rows."""
    exact = num_columns // COLUMNS * _TILE_BYTES[format]
    return -(-exact // ALIGNMENT) * ALIGNMENT


def num_blocks(num_rows: int) -> int:
    """Return how many blocks of 16 rows hold ``num_rows``."""
    return -(-num_rows // ROWS)


def quantise(values: Floats, format: Format) -> Integers:
    """Round float32 ``[rows, columns]`` to the nearest numbers of a format."""
    rows = values.shape[0]
    grouped = values.reshape(rows, -1, COLUMNS)
    if format == "q4":
        return _quantise_q4(grouped)
    offset = _OFFSETS[format]
    most = np.abs(grouped).max(axis=2)
    scales = _half(most / (offset - 1))
    divisors = scales.astype(np.float32)
    divisors[divisors == 0] = 1
    numbers = np.rint(grouped / divisors[..., None]) + offset
    numbers = np.clip(numbers, 0, 2 * offset - 1).astype(np.uint8)
    return Integers(format, numbers.reshape(rows, -1), scales)


def _quantise_q4(grouped: Floats) -> Integers:
    """Choose each group's range by the squared error it leaves."""
    rows = grouped.shape[0]
    low, high = grouped.min(axis=2), grouped.max(axis=2)
    middle, span = (low + high) / 2, high - low
    best_error = np.full(low.shape, np.inf, np.float32)
    numbers = np.zeros(grouped.shape, np.uint8)
    scales = np.zeros(low.shape, np.float16)
    minima = np.zeros(low.shape, np.float16)
    for shrink in _SHRINKS:
        trial_minima = _half(middle - span * (shrink / 2))
        trial_scales = _half(span * (shrink / 15))
        d = trial_scales.astype(np.float32)[..., None]
        m = trial_minima.astype(np.float32)[..., None]
        trial = np.clip(np.rint((grouped - m) / np.where(d == 0, 1, d)), 0, 15)
        error = np.square(trial * d + m - grouped).sum(axis=2)
        better = error < best_error
        best_error[better] = error[better]
        numbers[better] = trial[better].astype(np.uint8)
        scales[better] = trial_scales[better]
        minima[better] = trial_minima[better]
    return Integers("q4", numbers.reshape(rows, -1), scales, minima)


def _half(values: Floats) -> npt.NDArray[np.float16]:
    """Round to half precision without infinities."""
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)


def pack(integers: Integers) -> Bytes:
    """Lay rows out in tiles: bytes ``[blocks, block bytes]``.

    Rows are padded with zeros to a multiple of 16.
    """
    format = integers.format
    num_rows, num_columns = integers.numbers.shape
    blocks, groups = num_blocks(num_rows), num_columns // COLUMNS
    padding = ((0, blocks * ROWS - num_rows), (0, 0))
    numbers = np.pad(integers.numbers, padding)
    # [blocks, groups, steps of four columns, rows, four]
    tiles = numbers.reshape(blocks, ROWS, groups, 8, 4).transpose(0, 2, 3, 1, 4)
    parts: list[Bytes] = []
    if format == "q8":
        parts.append(tiles.reshape(blocks, -1))
    else:
        low, high = tiles[:, :, 0::2] & _NIBBLE, tiles[:, :, 1::2] & _NIBBLE
        tile: Bytes = (low | high << _FOUR).reshape(blocks, groups, 256)
        for bit in _HIGH_BITS[format]:
            bits = (tiles >> np.uint8(bit) & np.uint8(1)).reshape(blocks, groups, 512)
            masks = np.packbits(bits, axis=2, bitorder="little")
            tile = np.concatenate([tile, masks], axis=2)
        parts.append(tile.reshape(blocks, -1))
    scales = [integers.scales]
    if integers.minima is not None:
        scales.append(integers.minima)
    # [blocks, groups, scales then minima, rows]
    stacked = np.stack([np.pad(one, padding) for one in scales])
    stacked = stacked.reshape(len(scales), blocks, ROWS, groups).transpose(1, 3, 0, 2)
    halves = np.ascontiguousarray(stacked).reshape(blocks, -1)
    parts.append(halves.view(np.uint8))
    spare = block_bytes(format, num_columns) - sum(part.shape[1] for part in parts)
    parts.append(np.zeros((blocks, spare), np.uint8))
    return np.concatenate(parts, axis=1)


def unpack(blocks: Bytes, format: Format, num_rows: int, num_columns: int) -> Integers:
    """Undo ``pack``."""
    count, groups = blocks.shape[0], num_columns // COLUMNS
    scale_bytes = 64 if format == "q4" else 32
    tile_bytes = _TILE_BYTES[format] - scale_bytes
    tile = blocks[:, : groups * tile_bytes].reshape(count, groups, tile_bytes)
    if format == "q8":
        tiles = tile.reshape(count, groups, 8, ROWS, 4)
    else:
        pairs = tile[:, :, :256].reshape(count, groups, 4, 1, ROWS, 4)
        tiles = np.concatenate([pairs & _NIBBLE, pairs >> _FOUR], axis=3)
        tiles = tiles.reshape(count, groups, 8, ROWS, 4)
        for number, bit in enumerate(_HIGH_BITS[format]):
            masks = tile[:, :, 256 + 64 * number : 320 + 64 * number]
            bits = np.unpackbits(masks, axis=2, bitorder="little")
            tiles = tiles | bits.reshape(tiles.shape) << np.uint8(bit)
    numbers = tiles.transpose(0, 3, 1, 2, 4).reshape(count * ROWS, num_columns)
    start = groups * tile_bytes
    raw = np.ascontiguousarray(blocks[:, start : start + groups * scale_bytes])
    halves = raw.view(np.float16).reshape(count, groups, -1, ROWS).transpose(2, 0, 3, 1)
    halves = halves.reshape(halves.shape[0], count * ROWS, groups)[:, :num_rows]
    return Integers(
        format,
        np.ascontiguousarray(numbers[:num_rows]),
        np.ascontiguousarray(halves[0]),
        np.ascontiguousarray(halves[1]) if format == "q4" else None,
    )


def pack_floats(values: Floats) -> Bytes:
    """Lay float32 rows out in blocks of 16, column by column."""
    num_rows, num_columns = values.shape
    blocks = num_blocks(num_rows)
    padded = np.pad(values, ((0, blocks * ROWS - num_rows), (0, 0)))
    turned = padded.reshape(blocks, ROWS, num_columns).transpose(0, 2, 1)
    return np.ascontiguousarray(turned).reshape(blocks, -1).view(np.uint8)


def held_format(kind: GGMLQuantizationType) -> Format | None:
    """Return the format that holds GGUF blocks of a type, or None if none does."""
    held: dict[str, Format] = {
        "Q4_0": "q4",
        "Q4_1": "q4",
        "Q4_K": "q4",
        "Q5_0": "q5",
        "Q8_0": "q8",
    }
    return held.get(kind.name)


def widened(part: Integers) -> Integers:
    """Return q5 or q6 in q8, without loss."""
    added = np.uint8(_OFFSETS["q8"] - _OFFSETS[part.format])
    return Integers("q8", part.numbers + added, part.scales)


def move_blocks(raw: Bytes, kind: GGMLQuantizationType) -> Integers:
    """Move GGUF blocks ``[rows, bytes]`` over without losing what they hold."""
    rows = raw.shape[0]
    name = kind.name
    if name == "Q4_K":
        return _move_q4_k(raw)
    sizes = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q8_0": 34}
    blocks = raw.reshape(rows, -1, sizes[name])
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]
    if name == "Q8_0":
        numbers = blocks[..., 2:] ^ _SIGN
        return Integers("q8", numbers.reshape(rows, -1), scales)
    pairs = blocks[..., -16:]
    numbers = np.concatenate([pairs & _NIBBLE, pairs >> _FOUR], axis=2)
    if name == "Q5_0":
        fifth = np.unpackbits(blocks[..., 2:6], axis=2, bitorder="little")
        return Integers("q5", (numbers | fifth << _FOUR).reshape(rows, -1), scales)
    if name == "Q4_1":
        minima = np.ascontiguousarray(blocks[..., 2:4]).view(np.float16)[..., 0]
    else:
        minima = _half(-8 * scales.astype(np.float32))
    return Integers("q4", numbers.reshape(rows, -1), scales, minima)


def _move_q4_k(raw: Bytes) -> Integers:
    """Super-blocks of 256: eight scales and minima of six bits, times two halves."""
    rows = raw.shape[0]
    blocks = raw.reshape(rows, -1, 144)
    super_scales = np.ascontiguousarray(blocks[..., :4]).view(np.float16)
    super_scales = super_scales.astype(np.float32)
    packed = blocks[..., 4:16]
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = np.concatenate([first & 63, third & 15 | (first >> 6) << 4], axis=2)
    minima = np.concatenate([second & 63, third >> 4 | (second >> 6) << 4], axis=2)
    pairs = blocks[..., 16:].reshape(rows, -1, 4, 1, COLUMNS)
    numbers = np.concatenate([pairs & _NIBBLE, pairs >> _FOUR], axis=3)
    return Integers(
        "q4",
        numbers.reshape(rows, -1),
        _half(super_scales[..., :1] * scales).reshape(rows, -1),
        _half(-super_scales[..., 1:] * minima).reshape(rows, -1),
    )
