"""A decoder's weights in the kernels' own layout: written once, mapped ever after.

The directory holds ``packed.safetensors`` (blocks as bytes, norms and biases as
float32, the embedding as bfloat16 or float32) and ``packed.json``, which says of each
matrix its format, rows and columns, and what the whole was made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.decoder_config import DecoderConfig
from model.errors import UnsupportedArchitectureError, WeightsCorruptError
from model.families import DecoderTensors, Norm, Projection, decoder_tensors
from model.interface import LoadProgress, ProgressCallback
from model.packing import (
    COLUMNS,
    ROWS,
    Bytes,
    Floats,
    Format,
    Integers,
    block_bytes,
    num_blocks,
    pack,
    pack_floats,
    quantise,
    widened,
)
from model.safetensors_files import MappedFile, SafetensorsWriter, read_header
from model.weight_sources import WeightSource, join_rows

PACKER_VERSION = 3
WEIGHTS_NAME = "packed.safetensors"
RECORD_NAME = "packed.json"
_ROWS_AT_ONCE = 4096
_MOST_DIMENSIONS = 256

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


def check_shape(config: DecoderConfig) -> None:
    """Raise ``UnsupportedArchitectureError`` for a shape the kernels do not take."""
    widths = {
        "hidden_size": (config.hidden_size, COLUMNS),
        "intermediate_size": (config.intermediate_size, COLUMNS),
        "the heads' width": (config.num_heads * config.head_dim, COLUMNS),
        "head_dim": (config.head_dim, 16),
    }
    for name, (width, multiple) in widths.items():
        if width % multiple:
            raise UnsupportedArchitectureError(
                f"The processor's kernels want {name} in multiples of {multiple}, "
                f"and it is {width}."
            )
    if config.head_dim > _MOST_DIMENSIONS:
        raise UnsupportedArchitectureError(
            f"The processor's kernels take heads of up to {_MOST_DIMENSIONS}, "
            f"and these are {config.head_dim} wide."
        )


def matrices_of(tensors: DecoderTensors) -> Iterator[tuple[str, Projection]]:
    """Name every matrix of a decoder."""
    for number, layer in enumerate(tensors.layers):
        for part in ("qkv", "out", "up", "down"):
            yield f"layers.{number}.{part}", getattr(layer, part)
    yield "head", Projection((tensors.head,), ())


def norms_of(tensors: DecoderTensors) -> Iterator[tuple[str, Norm]]:
    """Name every norm of a decoder."""
    for number, layer in enumerate(tensors.layers):
        yield f"layers.{number}.attention_norm", layer.attention_norm
        yield f"layers.{number}.mlp_norm", layer.mlp_norm
        for part in ("query_norm", "key_norm"):
            name = getattr(layer, part)
            if name is not None:
                yield f"layers.{number}.{part}", Norm(name, None)
    yield "final_norm", tensors.final_norm


def write_packed(
    source: WeightSource,
    config: DecoderConfig,
    directory: Path,
    precision: Precision,
    made_from: str,
    progress: ProgressCallback | None = None,
) -> None:
    """Write the packed weights of a model into an existing ``directory``.

    Raises ``UnsupportedArchitectureError`` or ``WeightsCorruptError``; OSError passes
    through.
    """
    check_shape(config)
    tensors = decoder_tensors(config, source.names)
    matrices = {
        name: _plan(source, name, projection, precision)
        for name, projection in matrices_of(tensors)
    }
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    vectors: dict[str, Floats] = {}
    for name, projection in matrices_of(tensors):
        shapes[name], dtypes[name] = (matrices[name].num_bytes,), "U8"
        if projection.biases:
            vectors[f"{name}.bias"] = _bias(source, projection)
    for name, norm in norms_of(tensors):
        vectors[f"{name}.weight"] = source.vector(norm.weight)
        if norm.bias is not None:
            vectors[f"{name}.bias"] = source.vector(norm.bias)
    for name, vector in vectors.items():
        shapes[name], dtypes[name] = vector.shape, "F32"
    shapes["embedding"] = (config.vocab_size, config.hidden_size)
    dtypes["embedding"] = "F32" if precision == "float32" else "BF16"
    total, done = sum(one.num_bytes for one in matrices.values()), 0
    with SafetensorsWriter(directory / WEIGHTS_NAME, shapes, dtypes) as writer:
        for name, vector in vectors.items():
            writer.write(name, 0, vector.data)
        for name, projection in matrices_of(tensors):
            at = 0
            for blocks in _blocks(source, projection, matrices[name]):
                writer.write(name, at, np.ascontiguousarray(blocks).data)
                at += blocks.size
                done += blocks.size
                if progress is not None:
                    progress(LoadProgress("pack weights", done / total))
        _write_embedding(source, tensors.embedding, writer, dtypes["embedding"])
    record = asdict(PackedRecord(made_from, precision, matrices))
    (directory / RECORD_NAME).write_text(json.dumps(record, indent=1), "utf-8")


def _plan(
    source: WeightSource, name: str, projection: Projection, precision: Precision
) -> PackedMatrix:
    """Choose a matrix's format."""
    num_rows = sum(source.shape(one)[0] for one in projection.weights)
    num_columns = source.shape(projection.weights[0])[1]
    chosen: dict[str, Format] = {"int8": "q8", "int4": "q4", "float32": "f32"}
    if precision != "held":
        return PackedMatrix(chosen[precision], num_rows, num_columns)
    formats = {source.format(one) for one in projection.weights}
    held = formats.pop() if len(formats) == 1 else "q8"
    if name == "head" and held == "q8":
        # A third of a small model's bytes, read in every pass; what rounding it to
        # six bits costs cannot be measured (docs/performance.md).
        held = "q6"
    return PackedMatrix(held, num_rows, num_columns)


def _blocks(
    source: WeightSource, projection: Projection, matrix: PackedMatrix
) -> Iterator[Bytes]:
    """Give a matrix's blocks, some thousand rows at a time."""
    if len(projection.weights) > 1 or projection.rows is not None:
        whole = join_rows(
            [source.rows(one, 0, source.shape(one)[0]) for one in projection.weights]
        )
        if projection.rows is not None:
            whole = _reordered(whole, np.array(projection.rows))
        yield _packed(whole, matrix.format)
        return
    for start in range(0, matrix.num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, matrix.num_rows)
        yield _packed(source.rows(projection.weights[0], start, stop), matrix.format)


def _packed(rows: Floats | Integers, format: Format) -> Bytes:
    if isinstance(rows, Integers):
        if rows.format == format:
            return pack(rows)
        if format == "q8" and rows.format != "q4":
            return pack(widened(rows))
        rows = rows.values()
    return pack_floats(rows) if format == "f32" else pack(quantise(rows, format))


def _reordered(rows: Floats | Integers, order: Any) -> Floats | Integers:
    if not isinstance(rows, Integers):
        return np.ascontiguousarray(rows[order])
    minima = None if rows.minima is None else rows.minima[order]
    return Integers(rows.format, rows.numbers[order], rows.scales[order], minima)


def _bias(source: WeightSource, projection: Projection) -> Floats:
    """Return the biases in the matrix's order of rows, padded to whole blocks."""
    bias = np.concatenate([source.vector(name) for name in projection.biases])
    if projection.rows is not None:
        bias = bias[np.array(projection.rows)]
    return np.pad(bias, (0, -len(bias) % ROWS))


def _write_embedding(
    source: WeightSource, name: str, writer: SafetensorsWriter, dtype: str
) -> None:
    num_rows, num_columns = source.shape(name)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        rows = source.rows(name, start, min(start + _ROWS_AT_ONCE, num_rows))
        values = rows.values() if isinstance(rows, Integers) else rows
        written = values if dtype == "F32" else _to_bfloat16(values)
        writer.write("embedding", start * num_columns, written.ravel().data)


def _to_bfloat16(values: Floats) -> Any:
    """Round to nearest even, as uint16."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


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
    except (OSError, ValueError, TypeError, KeyError, WeightsCorruptError):
        return None
    return record if whole and record.packer_version == PACKER_VERSION else None
