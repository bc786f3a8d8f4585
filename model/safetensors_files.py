"""Safetensors files: headers checked before they are believed, a writer that streams.

Format: https://github.com/huggingface/safetensors#format. The ``safetensors`` package
can only write tensors that are all in memory at once, hence the writer.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from model.errors import WeightsCorruptError
from model.regular_files import RegularFile, read_json

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
# The format's own limit is 100 MB, which take gigabytes once they are objects. A
# hundred thousand tensors fit into this one.
_MAX_HEADER_BYTES = 16 << 20
_MAX_DIMENSIONS = 8
_MAX_NUMBER = 1 << 62
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
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
    "C64": 64,
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
    with SafetensorsFile(path) as file:
        return file.entries


class SafetensorsFile:
    """An open file: ``entries`` by name, and rows read where they are asked for.

    bfloat16 comes as uint16: numpy has no such number. The data begin at
    ``data_start``. Use as a context manager. Raises ``WeightsCorruptError`` as
    ``read_header`` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = RegularFile(path)
        except OSError as error:
            raise _corrupt(path, error.strerror or str(error)) from error
        try:
            self.entries, self.data_start = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def rows(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows ``start`` to ``stop`` of a tensor of one dimension or more."""
        import numpy as np

        entry = self.entries[name]
        row_bytes = (entry.end - entry.start) // max(1, entry.shape[0])
        raw = self._file.read(
            self.data_start + entry.start + start * row_bytes,
            (stop - start) * row_bytes,
        )
        numbers = np.frombuffer(raw, _number_format(self.path, name, entry))
        return numbers.reshape(stop - start, *entry.shape[1:])

    def map(self) -> mmap.mmap:
        """Return the whole file as it lies in memory, longer than it is open."""
        return self._file.map()

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if somebody wrote to it since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_header(self) -> tuple[dict[str, TensorEntry], int]:
        """Return the entries, and where the data begin."""
        num_bytes = self._file.num_bytes
        if num_bytes < 8:
            raise _corrupt(self.path, "it is shorter than a header")
        (header_bytes,) = struct.unpack("<Q", self._file.read(0, 8))
        if header_bytes > num_bytes - 8:
            raise _corrupt(self.path, "it is truncated or no safetensors file")
        if header_bytes > _MAX_HEADER_BYTES:
            raise _corrupt(self.path, f"its header has {header_bytes:,} bytes")
        try:
            entries = _parse(self._file.read(8, header_bytes))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            reason = f"its header cannot be read ({_shortened(error)})"
            raise _corrupt(self.path, reason) from error
        base = 8 + header_bytes
        expected = base + max((one.end for one in entries.values()), default=0)
        if num_bytes != expected:
            raise _corrupt(
                self.path, f"it has {num_bytes:,} bytes and should have {expected:,}"
            )
        return entries, base


class MappedFile:
    """A file mapped into memory; its arrays are read where they lie.

    Only for files of our own, which nobody cuts while they are in use. Raises
    ``WeightsCorruptError`` as ``read_header`` does.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np

        self._file = SafetensorsFile(path)
        weakref.finalize(self, self._file.close)
        self.entries = self._file.entries
        data = np.frombuffer(self._file.map(), np.uint8)
        self._data = data[self._file.data_start :]

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a view of a tensor."""
        entry = self.entries[name]
        raw = self._data[entry.start : entry.end]
        number_format = _number_format(self._file.path, name, entry)
        return raw.view(number_format).reshape(entry.shape)

    def row(self, name: str, number: int) -> npt.NDArray[Any]:
        """Return a copy of one row, ``[1, …]``, read past the mapping."""
        return self._file.rows(name, number, number + 1)

    def close(self) -> None:
        """Close the file; arrays stay as long as they are used."""
        self._file.close()


def _number_format(path: Path, name: str, entry: TensorEntry) -> str:
    number_format = _NUMPY.get(entry.dtype)
    if number_format is None:
        raise _corrupt(path, f"{name} is of type {entry.dtype}")
    return number_format


def _parse(raw: bytes) -> dict[str, TensorEntry]:
    """Read a header; raises what JSON of another form makes Python raise."""
    if not raw.startswith(b"{"):
        raise ValueError("it is no object")
    header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(one, str) for one in metadata.values()):
        raise ValueError("metadata that is no text")
    entries = {name: _entry(item) for name, item in header.items()}
    end = 0
    for entry in sorted(entries.values(), key=lambda one: (one.start, one.end)):
        if entry.start != end:
            raise ValueError("tensors overlap or leave gaps")
        end = entry.end
    return entries


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; readers disagree on which of two equal keys counts.

    Nor do all take half a character, which JSON can carry.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    for text in (*found.keys(), *found.values()):
        if isinstance(text, str):
            text.encode("utf-8")
    return found


def _entry(item: Mapping[str, Any]) -> TensorEntry:
    """Parse one header item; raises KeyError, TypeError or ValueError."""
    start, end = item["data_offsets"]
    entry = TensorEntry(item["dtype"], tuple(item["shape"]), start, end)
    numbers = (start, end, *entry.shape)
    if len(entry.shape) > _MAX_DIMENSIONS or not all(
        type(one) is int and 0 <= one < _MAX_NUMBER for one in numbers
    ):
        raise ValueError("a shape or offset is no such thing")
    if prod(entry.shape) * _BITS[entry.dtype] != (end - start) * 8:
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
    weight_map = read_index(directory)
    shards = sorted(set(weight_map.values()))
    # A name may be longer than any file's: ``Path.is_file`` raises then.
    missing = [one for one in shards if not os.path.isfile(directory / one)]
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
    if sum(map(len, held.values())) != len(set().union(*held.values())):
        raise _corrupt(index, "two of its files hold the same tensor")
    return tuple(directory / shard for shard in shards)


def read_index(directory: Path) -> dict[str, str]:
    """Return the file of each tensor, as the index of a directory names it.

    Raises ``WeightsCorruptError``, for a file outside of the directory too.
    """
    path = directory / INDEX_NAME
    try:
        weight_map = read_json(path)["weight_map"]
        shards = set(weight_map.values())
        if not shards or any(Path(shard).name != shard for shard in shards):
            raise ValueError("no shards, or one outside of the directory")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _corrupt(path, "it is no weight index") from error
    return dict(weight_map)


def _corrupt(path: Path, why: str) -> WeightsCorruptError:
    """Return the error for a file that cannot be used."""
    return WeightsCorruptError(f"{path} is damaged: {why}.", hint=_REDO_HINT)


def _shortened(error: Exception) -> str:
    return str(error)[:80]


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
