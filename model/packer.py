"""Writing packed weights: from what a model's files hold to the kernels' layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from model.decoder_config import DecoderConfig
from model.errors import UnsupportedArchitectureError, WeightsCorruptError
from model.families import DecoderTensors, Norm, Projection, decoder_tensors
from model.interface import LoadProgress, ProgressCallback
from model.packed_layout import EMBEDDING, HEAD, matrix_shapes
from model.packed_weights import (
    RECORD_NAME,
    WEIGHTS_NAME,
    PackedMatrix,
    PackedRecord,
    Precision,
)
from model.packing import (
    COLUMNS,
    ROWS,
    Bytes,
    Floats,
    Format,
    Integers,
    pack,
    pack_floats,
    quantise,
    widened,
)
from model.safetensors_files import SafetensorsWriter
from model.weight_sources import WeightSource, join_rows

_ROWS_AT_ONCE = 4096
_NUM_THREADS = 2
_MOST_DIMENSIONS = 256


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
    yield HEAD, Projection((tensors.head,), ())


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
    _check_tensors(source, config, tensors)
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
        _numbers(name, vector)
        shapes[name], dtypes[name] = vector.shape, "F32"
    shapes[EMBEDDING] = (config.vocab_size, config.hidden_size)
    dtypes[EMBEDDING] = "F32" if precision == "float32" else "BF16"
    with SafetensorsWriter(directory / WEIGHTS_NAME, shapes, dtypes) as writer:
        for name, vector in vectors.items():
            writer.write(name, 0, vector.data)
        _write_matrices(source, tensors, matrices, writer, progress)
        _write_embedding(source, tensors.embedding, writer, dtypes[EMBEDDING])
    record = asdict(PackedRecord(made_from, precision, matrices))
    (directory / RECORD_NAME).write_text(json.dumps(record, indent=1), "utf-8")


def _check_tensors(
    source: WeightSource, config: DecoderConfig, tensors: DecoderTensors
) -> None:
    """Raise ``WeightsCorruptError`` unless all shapes are what the config says.

    The kernels trust them.
    """
    hidden = config.hidden_size
    shapes = matrix_shapes(config)
    for name, projection in matrices_of(tensors):
        shape = shapes[name]
        heights = shape.heights
        if len(projection.weights) == 1:
            heights = (shape.num_rows,)
        for weight, height in zip(projection.weights, heights, strict=True):
            _check_shape(source, weight, (height, shape.num_columns))
        for bias, height in zip(projection.biases, heights, strict=False):
            _check_shape(source, bias, (height,))
    _check_shape(source, tensors.embedding, (config.vocab_size, hidden))
    for name, norm in norms_of(tensors):
        width = config.head_dim if name.endswith(("query_norm", "key_norm")) else hidden
        for one in (norm.weight, norm.bias):
            if one is not None:
                _check_shape(source, one, (width,))


def _check_shape(source: WeightSource, name: str, wanted: tuple[int, ...]) -> None:
    if source.shape(name) != wanted:
        raise _misshapen(name)


def _misshapen(name: str) -> WeightsCorruptError:
    return WeightsCorruptError(
        f"The tensor {name} has not the shape that the configuration says.",
        hint="Fetch or convert the model again.",
    )


def _write_matrices(
    source: WeightSource,
    tensors: DecoderTensors,
    matrices: dict[str, PackedMatrix],
    writer: SafetensorsWriter,
    progress: ProgressCallback | None,
) -> None:
    """Pack matrices on two threads: numpy does most of it without Python's lock."""
    total = sum(one.num_bytes for one in matrices.values())
    written: list[int] = []

    def write(item: tuple[str, Projection]) -> None:
        name, projection = item
        at = 0
        for blocks in _blocks(source, projection, matrices[name]):
            writer.write(name, at, np.ascontiguousarray(blocks).data)
            at += blocks.size
            written.append(blocks.size)

    with ThreadPoolExecutor(_NUM_THREADS, "pack") as pool:
        for _ in pool.map(write, matrices_of(tensors)):
            if progress is not None:
                progress(LoadProgress("pack weights", sum(written) / total))


def _plan(
    source: WeightSource, name: str, projection: Projection, precision: Precision
) -> PackedMatrix:
    """Choose a matrix's format."""
    num_rows = sum(source.shape(one)[0] for one in projection.weights)
    num_columns = source.shape(projection.weights[0])[1]
    chosen: dict[str, Format] = {"int8": "q8", "int4": "q4", "float32": "f32"}
    if precision != "held":
        return PackedMatrix(chosen[precision], num_rows, num_columns)
    formats = {source.held_format(one) for one in projection.weights}
    held = (formats.pop() if len(formats) == 1 else None) or "q8"
    if name == HEAD and source.held_format(projection.weights[0]) == "q8":
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
        yield _packed(_numbers(projection.weights[0], whole), matrix.format)
        return
    for start in range(0, matrix.num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, matrix.num_rows)
        rows = source.rows(projection.weights[0], start, stop)
        yield _packed(_numbers(projection.weights[0], rows), matrix.format)


def _numbers(name: str, rows: Floats | Integers) -> Floats | Integers:
    """Return rows as they are. Raises ``WeightsCorruptError`` for infinite numbers.

    One would make a token the most probable for ever.
    """
    if isinstance(rows, Integers):
        finite = np.isfinite(rows.scales).all() and (
            rows.minima is None or np.isfinite(rows.minima).all()
        )
    else:
        finite = np.isfinite(rows).all()
    if not finite:
        raise WeightsCorruptError(
            f"The tensor {name} holds what is no number.",
            hint="Fetch or convert the model again.",
        )
    return rows


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
        writer.write(EMBEDDING, start * num_columns, written.ravel().data)


def _to_bfloat16(values: Floats) -> Any:
    """Round to nearest even, as uint16."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
