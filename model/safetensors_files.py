"""Safetensors files: a cheap check of their headers, and a writer that streams.

Format: https://github.com/huggingface/safetensors#format. The ``safetensors`` package
can only write tensors that are all in memory at once, hence the writer.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from model.errors import WeightsCorruptError

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
}
_DATA_ALIGNMENT = 64
_NUMPY = {"U8": "u1", "BF16": "<u2", "F16": "<f2", "F32": "<f4"}
_REDO_HINT = "Fetch or convert the model again."


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a header; ``start`` and ``end`` are bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return a file's tensors by name after checking that the file holds them all.

    Reads the header only. Raises ``WeightsCorruptError`` when the file is missing,
    truncated, longer than it says, or no safetensors file.
    """
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _corrupt(path, "it is shorter than a header")
            (header_bytes,) = struct.unpack("<Q", prefix)
            if header_bytes > min(_MAX_HEADER_BYTES, num_bytes - 8):
                raise _corrupt(path, "it is truncated or no safetensors file")
            raw = file.read(header_bytes)
    except OSError as error:
        raise _corrupt(path, error.strerror or str(error)) from error
    try:
        entries = {
            name: _entry(item)
            for name, item in json.loads(raw).items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(path, "its header cannot be read") from error
    expected = 8 + header_bytes + max((e.end for e in entries.values()), default=0)
    if num_bytes != expected:
        raise _corrupt(path, f"it has {num_bytes:,} bytes and should have {expected:,}")
    return entries


def _entry(item: Mapping[str, Any]) -> TensorEntry:
    """Parse one header item; raises KeyError, TypeError or ValueError."""
    start, end = (int(offset) for offset in item["data_offsets"])
    entry = TensorEntry(item["dtype"], tuple(map(int, item["shape"])), start, end)
    if start < 0 or end < start or any(size < 0 for size in entry.shape):
        raise ValueError("negative size")
    bits = _BITS.get(entry.dtype)
    if bits is not None and prod(entry.shape) * bits != (end - start) * 8:
        raise ValueError("shape and length disagree")
    return entry


def check_directory(directory: Path) -> tuple[Path, ...]:
    """Check all weight files that a model directory names; return their paths.

    With an index, every shard and tensor it lists must be there. Raises
    ``WeightsCorruptError``. The result is empty when there are no such files.
    """
    index = directory / INDEX_NAME
    single = directory / SINGLE_NAME
    if single.is_file():
        read_header(single)
        return (single,)
    if not index.is_file():
        return ()
    try:
        weight_map: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
        shards = sorted(set(weight_map.values()))
        if any(Path(shard).name != shard for shard in shards):
            raise ValueError("a shard outside the directory")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _corrupt(index, "it is no weight index") from error
    missing = [shard for shard in shards if not (directory / shard).is_file()]
    if missing:
        raise WeightsCorruptError(
            f"The model in {directory} lacks {len(missing)} of {len(shards)} weight "
            f"files ({', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}).",
            hint=_REDO_HINT,
        )
    held = {shard: read_header(directory / shard) for shard in shards}
    absent = [name for name, shard in weight_map.items() if name not in held[shard]]
    if absent:
        raise _corrupt(index, f"it names {absent[0]}, which its file does not hold")
    return tuple(directory / shard for shard in shards)


def _corrupt(path: Path, why: str) -> WeightsCorruptError:
    """Return the error for a file that cannot be used."""
    return WeightsCorruptError(f"{path} is damaged: {why}.", hint=_REDO_HINT)


class MappedFile:
    """A safetensors file mapped into memory; its arrays are read where they lie.

    bfloat16 comes as uint16: numpy has no such number. Raises
    ``WeightsCorruptError`` as ``read_header`` does.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np

        self.entries = read_header(path)
        self._path = path
        self._bytes = np.memmap(path, np.uint8, mode="r")
        data_bytes = max((entry.end for entry in self.entries.values()), default=0)
        self._base = len(self._bytes) - data_bytes

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a view of a tensor."""
        entry = self.entries[name]
        kind = _NUMPY.get(entry.dtype)
        if kind is None:
            raise _corrupt(self._path, f"{name} is of type {entry.dtype}")
        raw = self._bytes[self._base + entry.start : self._base + entry.end]
        return raw.view(kind).reshape(entry.shape)


class SafetensorsWriter:
    """Writes a file whose tensors come in pieces, in any order, from any thread.

    ``shapes`` gives all names and shapes, ``dtype`` one number format for all
    (``F32``, ``F16``, ``BF16``, ``U8`` …) or one for each name. OSError passes
    through.
    """

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: str | Mapping[str, str],
    ) -> None:
        self._starts: dict[str, int] = {}
        self._item_bytes: dict[str, int] = {}
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, shape in shapes.items():
            number_format = dtype if isinstance(dtype, str) else dtype[name]
            self._item_bytes[name] = _BITS[number_format] // 8
            start, end = end, end + prod(shape) * self._item_bytes[name]
            header[name] = {
                "dtype": number_format,
                "shape": list(shape),
                "data_offsets": [start, end],
            }
            self._starts[name] = start
        raw = json.dumps(header, separators=(",", ":")).encode()
        # The format wants a multiple of 8; processors read lines of 64.
        raw += b" " * (-(8 + len(raw)) % _DATA_ALIGNMENT)
        self._base = 8 + len(raw)
        self._lock = threading.Lock()
        self._file = path.open("wb")
        try:
            self._file.write(struct.pack("<Q", len(raw)) + raw)
            self._file.truncate(self._base + end)
        except BaseException:
            self._file.close()
            raise

    def write(self, name: str, first_element: int, data: memoryview) -> None:
        """Put ``data`` at ``first_element`` of tensor ``name``."""
        item_bytes = self._item_bytes[name]
        offset = self._base + self._starts[name] + first_element * item_bytes
        with self._lock:
            self._file.seek(offset)
            self._file.write(data)

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                # Without it a power cut can leave a renamed file full of zeros.
                os.fsync(self._file.fileno())
