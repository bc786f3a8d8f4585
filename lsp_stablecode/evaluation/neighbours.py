"""Which files stand open beside the one that somebody types in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from lsp_stablecode.evaluation.selection import read_source
from lsp_stablecode.evaluation.sources import SourceFile


def neighbours_of(
    files: Sequence[SourceFile], num_open: int
) -> Mapping[str, Sequence[SourceFile]]:
    """Return the files to open beside each, by its name, computed when asked for."""
    return _Neighbours({one.name: one for one in files}, num_open)


class _Neighbours(Mapping[str, Sequence[SourceFile]]):
    def __init__(self, files: Mapping[str, SourceFile], num_open: int) -> None:
        self._files = files
        self._num_open = num_open
        self._known: dict[str, tuple[SourceFile, ...]] = {}

    def __getitem__(self, name: str) -> Sequence[SourceFile]:
        file = self._files[name]
        if name not in self._known:
            self._known[name] = nearest_files(
                file, list(self._files.values()), self._num_open
            )
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def nearest_files(
    file: SourceFile, files: Sequence[SourceFile], num_open: int
) -> tuple[SourceFile, ...]:
    """Return the files of the same language that are fewest folders away."""
    others = [
        one
        for one in files
        if one.language_id == file.language_id and one.name != file.name
    ]
    found: list[SourceFile] = []
    for one in sorted(others, key=partial(_rank, file.name)):
        if len(found) == num_open:
            break
        if read_source(one) is not None:
            found.append(one)
    return tuple(found)


def _rank(name: str, other: SourceFile) -> tuple[int, str]:
    """Return how many folders are to be gone up and down, and the name."""
    here, there = name.split("/")[:-1], other.name.split("/")[:-1]
    shared = 0
    for one, two in zip(here, there, strict=False):
        if one != two:
            break
        shared += 1
    return len(here) + len(there) - 2 * shared, other.name
