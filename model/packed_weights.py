"""A decoder's weights in the kernels' own layout, mapped from a file.

The directory holds ``packed.safetensors`` (blocks as bytes, norms and biases as
float32, the embedding as bfloat16 or float32) and ``packed.json``, which says of each
matrix its format, rows and columns, and what the whole was made from. ``packer``
writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from model.decoder_config import DecoderConfig
from model.errors import WeightsCorruptError
from model.packed_layout import EMBEDDING, matrix_shapes, vector_sizes
from model.packing import ALIGNMENT, FORMATS, Format, block_bytes, num_blocks
from model.regular_files import read_json
from model.safetensors_files import MappedFile

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
    """A packed directory, mapped.

    Raises ``WeightsCorruptError`` unless it holds all that a decoder of ``config``
    has, in the shapes that it has: the kernels read what they are told.
    """

    def __init__(self, directory: Path, config: DecoderConfig) -> None:
        self._file = MappedFile(directory / WEIGHTS_NAME)
        try:
            record = _read_record(directory / RECORD_NAME)
            _check_record(record, config)
            _check_file(record, config, self._file)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise WeightsCorruptError(
                f"The packed weights in {directory} are damaged ({error}).",
                hint="Delete the directory; they are made again.",
            ) from error
        self.made_from = record.made_from
        self.matrices = record.matrices
        self.precision = record.precision

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

    def embedded(self, token_ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the embeddings of ids that there are, ``[tokens, hidden]``.

        Its rows are read: mapped, each word that comes up for the first time would
        bring its neighbourhood into memory, for ever, and memory is to be flat.
        """
        rows = np.concatenate([self._file.row(EMBEDDING, one) for one in token_ids])
        if rows.dtype == np.float32:
            return rows
        return (rows.astype(np.uint32) << 16).view(np.float32)

    def close(self) -> None:
        """Close the file; what is mapped stays as long as it is used."""
        self._file.close()


def _read_record(path: Path) -> PackedRecord:
    """Read what a packed directory says of itself; raises what its form is not."""
    raw = read_json(path)
    matrices = {name: PackedMatrix(**one) for name, one in raw["matrices"].items()}
    return PackedRecord(**{**raw, "matrices": matrices})


def _check_record(record: PackedRecord, config: DecoderConfig) -> None:
    """Raise ValueError unless the matrices are those of a decoder."""
    if record.packer_version != PACKER_VERSION:
        raise ValueError(f"version {record.packer_version}")
    if record.precision not in get_args(Precision):
        raise ValueError(f"precision {record.precision!r}")
    wanted = matrix_shapes(config)
    for name, one in record.matrices.items():
        shape = (wanted[name].num_rows, wanted[name].num_columns)
        if one.format not in FORMATS or (one.num_rows, one.num_columns) != shape:
            raise ValueError(f"{name} is another matrix")
    if len(record.matrices) != len(wanted):
        raise ValueError("matrices are missing")


def _check_file(record: PackedRecord, config: DecoderConfig, file: MappedFile) -> None:
    """Raise ValueError unless the file's tensors are those of a decoder."""
    table = (config.vocab_size, config.hidden_size)
    floats = record.precision == "float32"
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        EMBEDDING: ("F32" if floats else "BF16", table)
    }
    for name, size in vector_sizes(config).items():
        wanted[name] = "F32", (size,)
    for name, one in record.matrices.items():
        wanted[name] = "U8", (one.num_bytes,)
    found = {name: (one.dtype, one.shape) for name, one in file.entries.items()}
    if found != wanted:
        raise ValueError("its tensors are others")
    if any(file.array(name).ctypes.data % ALIGNMENT for name in record.matrices):
        raise ValueError("its matrices do not lie where they should")
