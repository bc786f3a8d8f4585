"""GGUF files: a bounded header parser and tensors dequantised piece by piece.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The ``gguf``
package's own reader takes seconds for a large vocabulary and trusts every count in
the file, so only its tables and dequantisation are used here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from model.errors import WeightsCorruptError
from model.regular_files import RegularFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
# Four times what the largest vocabularies take. As Python's objects they grow tenfold.
_MAX_HEADER_BYTES = 64 << 20
_MAX_TENSORS = _MAX_METADATA = 1 << 16
_MAX_STRINGS = 1 << 21
_MAX_DIMS = 4
_MAX_DIM = 1 << 24
_MIN_TENSOR_INFO_BYTES = 8 + 4 + 8 + 4 + 8
_MIN_METADATA_BYTES = 8 + 4 + 1
_DEFAULT_ALIGNMENT = 32
CHUNK_ELEMENTS = 1 << 18  # 1 MiB of float32: stays in the cache while it is worked on


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where one tensor lies. ``shape`` is in torch order, ``offset`` from the start."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int
    num_bytes: int

    @property
    def num_rows(self) -> int:
        """Rows of the flattened matrix; a vector counts one row per element."""
        return self.shape[0] if len(self.shape) == 1 else prod(self.shape[:-1])

    @property
    def row_elements(self) -> int:
        """Elements per row."""
        return 1 if len(self.shape) == 1 else self.shape[-1]


class GgufFile:
    """An open GGUF file: ``metadata`` by key, ``tensors`` by name.

    Numbers in metadata come as numpy arrays, strings as lists. Raises
    ``WeightsCorruptError`` for anything that is truncated, lies, or is not GGUF; no
    header makes it allocate more than some hundred MiB. Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = RegularFile(path)
        except FileNotFoundError as error:
            raise WeightsCorruptError(f"There is no file {path}.") from error
        except OSError as error:
            raise WeightsCorruptError(
                f"{path} cannot be read ({error}).", hint="Fetch the file again."
            ) from error
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, GgufTensor] = {}
        self._position = 0
        try:
            self._head = self._file.read(
                0, min(self._file.num_bytes, _MAX_HEADER_BYTES)
            )
            self._parse()
        except (struct.error, ValueError) as error:
            self.close()
            raise self.corrupt("its header cannot be read") from error
        except BaseException:
            self.close()
            raise
        self._head = b""

    def corrupt(self, why: str) -> WeightsCorruptError:
        """Return the error for this file."""
        return WeightsCorruptError(
            f"{self.path} is no usable GGUF file: {why}.",
            hint="Fetch the file again.",
        )

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if somebody wrote to it since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _parse(self) -> None:
        """Read metadata and the table of tensors."""
        if self._head[:4] != b"GGUF":
            raise self.corrupt("it does not start with GGUF")
        self._position = 4
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise self.corrupt(f"version {version} is not one of {_VERSIONS}")
        num_tensors = self._count(_MIN_TENSOR_INFO_BYTES, "tensors", _MAX_TENSORS)
        num_entries = self._count(_MIN_METADATA_BYTES, "entries", _MAX_METADATA)
        for _ in range(num_entries):
            key = self._string()
            if key in self.metadata:
                raise self.corrupt(f"its metadata hold {key} twice")
            self.metadata[key] = self._value(self._scalar("I"))
        table = [self._tensor_info() for _ in range(num_tensors)]
        alignment = self.metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment % 8:
            raise self.corrupt(f"alignment {alignment}")
        base = -(-self._position // alignment) * alignment
        end = base
        for name, shape, type_id, offset in sorted(table, key=lambda one: one[3]):
            if name in self.tensors:
                raise self.corrupt(f"tensor {name} occurs twice")
            num_bytes = self._tensor_bytes(name, shape, type_id)
            tensor = GgufTensor(name, shape, type_id, base + offset, num_bytes)
            if tensor.offset < end:
                raise self.corrupt(f"tensor {name} overlaps another")
            end = tensor.offset + num_bytes
            if end > self._file.num_bytes:
                raise self.corrupt(f"it is truncated within tensor {name}")
            self.tensors[name] = tensor

    def _scalar(self, code: str) -> Any:
        """Read one little-endian number."""
        (value,) = struct.unpack_from("<" + code, self._head, self._position)
        self._position += struct.calcsize("<" + code)
        return value

    def _count(self, item_bytes: int, what: str, most: int | None = None) -> int:
        """Read a count and check that so many items can still follow."""
        count: int = self._scalar("Q")
        room = (len(self._head) - self._position) // item_bytes
        if count > (room if most is None else min(room, most)):
            raise self.corrupt(f"it says it holds {count:,} {what} and cannot")
        return count

    def _string(self) -> str:
        """Read one string."""
        length = self._count(1, "bytes of text")
        start, self._position = self._position, self._position + length
        return self._head[start : self._position].decode("utf-8")

    def _value(self, kind: int) -> Any:
        """Read one metadata value: a number, a string, or a flat list of them."""
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise self.corrupt(f"metadata of unknown type {kind}")
        kind = self._scalar("I")
        if kind in _SCALARS:
            return self._numbers("<" + _SCALARS[kind])
        if kind != _STRING:
            raise self.corrupt(f"a metadata array of type {kind}")
        count = self._count(8, "strings", _MAX_STRINGS)
        return [self._string() for _ in range(count)]

    def _numbers(self, code: str) -> npt.NDArray[Any]:
        import numpy as np

        item_bytes = struct.calcsize(code)
        count = self._count(item_bytes, "numbers")
        start, self._position = self._position, self._position + count * item_bytes
        return np.frombuffer(self._head[start : self._position], np.dtype(code))

    def _tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        """Read one row of the table: name, shape, type, offset in the data."""
        name = self._string()
        num_dims = self._scalar("I")
        if not 1 <= num_dims <= _MAX_DIMS:
            raise self.corrupt(f"tensor {name} has {num_dims} dimensions")
        shape = tuple(self._scalar("Q") for _ in range(num_dims))[::-1]
        if not all(0 < size <= _MAX_DIM for size in shape):
            raise self.corrupt(f"tensor {name} has the shape {shape}")
        return name, shape, self._scalar("I"), self._scalar("Q")

    def _tensor_bytes(self, name: str, shape: tuple[int, ...], type_id: int) -> int:
        """Return the bytes a tensor takes in the file."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block_elements, block_bytes = GGML_QUANT_SIZES[
                GGMLQuantizationType(type_id)
            ]
        except (ValueError, KeyError):
            raise self.corrupt(
                f"tensor {name} is of type {type_id}, which is unknown here"
            ) from None
        # A vector in blocks would have no rows to permute; no converter writes one.
        if shape[-1] % block_elements or (len(shape) == 1 and block_elements > 1):
            raise self.corrupt(f"tensor {name} has rows of {shape[-1]} elements")
        return prod(shape) // block_elements * int(block_bytes)

    def pieces(
        self,
        tensor: GgufTensor,
        rows: npt.NDArray[np.intp] | None = None,
        first_row: int = 0,
        last_row: int | None = None,
    ) -> Iterator[Piece]:
        """Cut a tensor, or a range of its rows, into pieces of whole rows.

        They come in the order ``rows`` gives; the range counts in that order.

        The pieces are independent: they may be dequantised by different threads.
        """
        num_rows = tensor.num_rows
        step = max(1, CHUNK_ELEMENTS // tensor.row_elements)
        stop = num_rows if last_row is None else min(last_row, num_rows)
        for start in range(first_row, stop, step):
            end = min(start + step, stop)
            yield Piece(tensor, self._file, start, end, rows)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``start`` to ``end`` of a tensor, still quantised and not yet read."""

    tensor: GgufTensor
    file: RegularFile
    start: int
    end: int
    rows: npt.NDArray[np.intp] | None

    @property
    def first_element(self) -> int:
        """Index of the piece's first element in the flattened tensor."""
        return self.start * self.tensor.row_elements

    def raw(self) -> npt.NDArray[np.uint8]:
        """Read: the blocks as they lie in the file, [rows, bytes]."""
        import numpy as np

        row_bytes = self.tensor.num_bytes // self.tensor.num_rows
        first = self.tensor.offset
        if self.rows is None:
            num_bytes = (self.end - self.start) * row_bytes
            raw = self.file.read(first + self.start * row_bytes, num_bytes)
        else:
            raw = b"".join(
                self.file.read(first + int(row) * row_bytes, row_bytes)
                for row in self.rows[self.start : self.end]
            )
        return np.frombuffer(raw, np.uint8).reshape(-1, row_bytes)

    def values(self) -> npt.NDArray[np.float32]:
        """Read and dequantise: float32 [rows, row elements].

        Raises ``UnsupportedArchitectureError`` for a quantisation ``gguf`` cannot undo.
        """
        import numpy as np
        from gguf import quants
        from gguf.constants import GGMLQuantizationType

        from model.errors import UnsupportedArchitectureError

        raw = self.raw()
        kind = GGMLQuantizationType(self.tensor.type_id)
        by_rows = getattr(quants, kind.name, None)
        values: npt.NDArray[np.float32]
        try:
            # A scale of infinity is the file's own; the warning would help nobody.
            with np.errstate(all="ignore"):
                if by_rows is None:
                    values = quants.dequantize(raw, kind)
                else:
                    # All rows at once: ``dequantize`` takes them 16 by 16, and two
                    # threads then wait for the interpreter most of the time.
                    by_rows.init_grid()
                    values = by_rows.dequantize_rows(raw)
        except NotImplementedError:
            raise UnsupportedArchitectureError(
                f"Tensor {self.tensor.name} is quantised as {kind.name}, "
                "which cannot be read here.",
                hint="Use a file quantised as Q4_K_M, Q8_0, F16 or BF16.",
            ) from None
        return values
