"""A decoder's weights in the kernels' own layout, mapped from a file.

The directory holds ``packed.safetensors`` (blocks as bytes, norms and biases as
float32, the embedding as bfloat16 or float32) and ``packed.json``, which says of each
matrix its format, rows and columns, and what the whole was made from. ``packer``
writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.errors import WeightsCorruptError
from model.packing import Format, block_bytes, num_blocks
from model.safetensors_files import MappedFile, read_header

PACKER_VERSION = 4
WEIGHTS_NAME = "packed.safetensors"
RECORD_NAME = "packed.json"

Precision = Literal["held", "int8", "int4", "float32"]
"""``held`` keeps what a GGUF file holds, and rounds the rest to eight bits.

Only the head, where the file has eight bits for it, gets six."""


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """One matrix; rows are padded to a multiple of 16 in the file."""

    format: Format
    num_rows: int
    num_columns: int

    @property
    def num_bytes(self) -> int:
        """Bytes in the file and in memory, all read in every pass."""
        return num_blocks(self.num_rows) * block_bytes(self.format, self.num_columns)


@dataclass(frozen=True, slots=True)
class PackedRecord:
    """The contents of ``packed.json``."""

    made_from: str
    precision: Precision
    matrices: dict[str, PackedMatrix]
    packer_version: int = PACKER_VERSION


class PackedWeights:
    """A packed directory, mapped. Raises ``WeightsCorruptError`` if it is damaged."""

    def __init__(self, directory: Path) -> None:
        record = read_record(directory)
        if record is None:
            raise WeightsCorruptError(
                f"The packed weights in {directory} are damaged.",
                hint="Delete the directory; they are made again.",
            )
        self.matrices = record.matrices
        self.precision = record.precision
        self._file = MappedFile(directory / WEIGHTS_NAME)

    @property
    def num_bytes(self) -> int:
        """Bytes that a pass reads: all matrices."""
        return sum(one.num_bytes for one in self.matrices.values())

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats in use, the one with most bytes first."""
        totals: dict[Format, int] = {}
        for one in self.matrices.values():
            totals[one.format] = totals.get(one.format, 0) + one.num_bytes
        return tuple(sorted(totals, key=totals.__getitem__, reverse=True))

    def array(self, name: str) -> Any:
        """Return a tensor as it lies in the file, or None if it is not there."""
        return self._file.array(name) if name in self._file.entries else None


def read_record(directory: Path) -> PackedRecord | None:
    """Return what a packed directory says of itself, or None if it is not usable."""
    try:
        raw = json.loads((directory / RECORD_NAME).read_text("utf-8"))
        matrices = {name: PackedMatrix(**one) for name, one in raw["matrices"].items()}
        record = PackedRecord(**{**raw, "matrices": matrices})
        entries = read_header(directory / WEIGHTS_NAME)
        sizes = {name: entry.end - entry.start for name, entry in entries.items()}
        whole = all(sizes.get(n) == one.num_bytes for n, one in matrices.items())
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        WeightsCorruptError,
    ):
        return None
    return record if whole and record.packer_version == PACKER_VERSION else None
