"""Files read without trusting what lies at their path.

A model's directory may hold a pipe that never ends, a device, a file of terabytes that
takes no room on the disk, or one that somebody is still writing. Here only regular
files are opened, no more is read than was asked for, and what is read at an offset is
there or an error: a map of a file that is cut meanwhile would end the process.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from model.errors import WeightsCorruptError

_MOST_JSON_BYTES = 16 << 20
# Twice what the largest vocabularies take.
MOST_TOKENIZER_BYTES = 64 << 20
_PIECE_BYTES = 1 << 24
# A pipe without a writer would be waited for; Windows has neither flag nor such pipes.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class RegularFile:
    """An open file, read at offsets; threads may share it. Use as a context manager.

    Raises OSError when made where there is no file that can be read, or no regular
    one, and ``WeightsCorruptError`` for what it lacks later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, _FLAGS)
        status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._handle)
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        self.num_bytes = status.st_size
        self._mtime_ns = status.st_mtime_ns
        self._lock = threading.Lock()

    def read(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes at ``start``."""
        parts: list[bytes] = []
        while count:
            part = self._read(start, min(count, _PIECE_BYTES))
            if not part:
                raise self._changed("shorter")
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def map(self) -> mmap.mmap:
        """Return it as it lies in memory. Only for files that nobody cuts."""
        return mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ)

    def check_unchanged(self) -> None:
        """Raise ``WeightsCorruptError`` if somebody wrote to it since it was opened."""
        status = os.fstat(self._handle)
        if (status.st_size, status.st_mtime_ns) != (self.num_bytes, self._mtime_ns):
            raise self._changed("not what it was")

    def close(self) -> None:
        """Close it; a second time does nothing."""
        # Another file may have the number next.
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, start: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, start)
        with self._lock:
            os.lseek(self._handle, start, os.SEEK_SET)
            return os.read(self._handle, count)

    def _changed(self, how: str) -> WeightsCorruptError:
        return WeightsCorruptError(
            f"{self.path} is {how} by now: somebody writes to it.",
            hint="Wait until that is done and load the model again.",
        )


def read_json(path: Path, most_bytes: int = _MOST_JSON_BYTES) -> Any:
    """Return a file's content as JSON.

    Raises OSError, among them FileNotFoundError, and ValueError for what is no JSON,
    too long, or nested too deeply.
    """
    with RegularFile(path) as file:
        if file.num_bytes > most_bytes:
            raise ValueError(f"it has {file.num_bytes:,} bytes")
        raw = file.read(0, file.num_bytes)
    try:
        return json.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
