"""A model's weights by Hugging Face's names, whatever file they lie in.

Both sources give rows as float32, or as integers with scales where a GGUF file holds
them in a form that ``packing`` can keep as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from model.errors import WeightsCorruptError
from model.packing import (
    Floats,
    Format,
    Integers,
    held_format,
    move_blocks,
    widened,
)
from model.safetensors_files import SafetensorsFile, check_directory


class WeightSource(Protocol):
    """Tensors by name; matrices are ``[rows, columns]``."""

    @property
    def names(self) -> Collection[str]:
        """All names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        ...

    def held_format(self, name: str) -> Format | None:
        """Return the format that holds a matrix as the file does, if there is one."""
        ...

    def rows(self, name: str, start: int, stop: int) -> Floats | Integers:
        """Return some rows of a matrix."""
        ...

    def vector(self, name: str) -> Floats:
        """Return a whole tensor of one dimension."""
        ...

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if a file was written to meanwhile."""
        ...


class SafetensorsSource:
    """A Hugging Face directory. Use as a context manager: it holds files open."""

    def __init__(self, directory: Path) -> None:
        self._stack = ExitStack()
        self._files: dict[str, SafetensorsFile] = {}
        with self._stack:
            for path in check_directory(directory):
                file = self._stack.enter_context(SafetensorsFile(path))
                self._files |= dict.fromkeys(file.entries, file)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> SafetensorsSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def names(self) -> Collection[str]:
        """All names."""
        return self._files.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._files[name].entries[name].shape

    def held_format(self, name: str) -> Format | None:
        """Return None: the numbers are not rounded yet."""
        return None

    def rows(self, name: str, start: int, stop: int) -> Floats | Integers:
        """Return some rows of a matrix as float32."""
        return _floats(self._files[name].rows(name, start, stop))

    def vector(self, name: str) -> Floats:
        """Return a whole tensor of one dimension."""
        return cast(Floats, self.rows(name, 0, self.shape(name)[0]))

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if a file was written to meanwhile."""
        for file in set(self._files.values()):
            file.check_unchanged()


def _floats(array: npt.NDArray[np.generic]) -> Floats:
    if array.dtype == np.uint16:  # bfloat16: the upper half of a float32
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return cast(Floats, array.astype(np.float32))


class GgufSource:
    """A GGUF file. Use as a context manager: it holds the file open."""

    def __init__(self, path: Path) -> None:
        from model.gguf_configs import Header
        from model.gguf_families import family_of, map_tensors
        from model.gguf_reader import GgufFile

        self._file = GgufFile(path)
        try:
            header = Header(self._file)
            targets = map_tensors(header, family_of(header))
        except BaseException:
            self._file.close()
            raise
        self._tensors = {
            target.name: (self._file.tensors[name], target)
            for name, target in targets.items()
        }

    def __enter__(self) -> GgufSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def names(self) -> Collection[str]:
        """All names."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._tensors[name][0].shape

    def held_format(self, name: str) -> Format | None:
        """Return the format that holds a matrix as the file does, if there is one.

        None holds Q6_K: it has scales for 16 columns, and ours are for 32. Six bits
        lose some of it, which the infilling evaluation sees.
        """
        from gguf.constants import GGMLQuantizationType

        kind = GGMLQuantizationType(self._tensors[name][0].type_id)
        return held_format(kind)

    def rows(self, name: str, start: int, stop: int) -> Floats | Integers:
        """Return some rows of a matrix, as they are held where that can be kept."""
        from gguf.constants import GGMLQuantizationType

        tensor, target = self._tensors[name]
        kind = GGMLQuantizationType(tensor.type_id)
        keep = held_format(kind) is not None and not target.shift
        pieces: list[Floats | Integers] = []
        for piece in self._file.pieces(tensor, target.rows, start, stop):
            if keep:
                pieces.append(move_blocks(piece.raw(), kind))
            else:
                pieces.append(piece.values() + np.float32(target.shift))
        return join_rows(pieces)

    def vector(self, name: str) -> Floats:
        """Return a whole tensor of one dimension."""
        tensor, target = self._tensors[name]
        pieces = [p.values().ravel() for p in self._file.pieces(tensor, target.rows)]
        return np.concatenate(pieces) + np.float32(target.shift)

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if the file was written to meanwhile."""
        self._file.check_unchanged()


def join_rows(parts: list[Floats | Integers]) -> Floats | Integers:
    """Put rows one below the other, in a form that holds them all.

    Integers of one format stay; different ones become q8 without loss, where they
    can; anything else becomes floats.
    """
    if len(parts) == 1:
        return parts[0]
    integers = [part for part in parts if isinstance(part, Integers)]
    if len(integers) == len(parts):
        formats = {part.format for part in integers}
        if len(formats) > 1 and "q4" not in formats:
            integers = [widened(part) for part in integers]
            formats = {"q8"}
        if len(formats) == 1:
            minima = [part.minima for part in integers if part.minima is not None]
            return Integers(
                integers[0].format,
                np.concatenate([part.numbers for part in integers]),
                np.concatenate([part.scales for part in integers]),
                np.concatenate(minima) if minima else None,
            )
    floats = [p.values() if isinstance(p, Integers) else p for p in parts]
    if len({part.shape[1] for part in floats}) > 1:
        raise WeightsCorruptError(
            "Matrices that belong together have rows of different lengths.",
            hint="Fetch or convert the model again.",
        )
    return np.concatenate(floats)
