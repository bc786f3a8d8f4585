"""A session recorded message by message, source text included, to be played again.

One JSON object a line: first what recorded it, then each message with the seconds since
the beginning and who sent it. Only its owner may read the file.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from lsp_stablecode import __version__
from lsp_stablecode.errors import RecordingError

_MARK = "lsp-stablecode"
_BEGIN = f'{{"{_MARK}":'.encode()

Sender = Literal["editor", "server"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message, and when it was sent."""

    at_s: float
    sender: Sender
    message: dict[str, Any]


class Recorder:
    """Appends messages to a file; any thread may call it."""

    def __init__(self, path: Path) -> None:
        """Begin a file. Raises ``RecordingError`` where it cannot be written."""
        try:
            descriptor = _opened(path)
        except OSError as error:
            raise RecordingError(
                f"The recording cannot be written to {path} ({error.strerror}).",
                hint="Choose another file for --record.",
            ) from error
        self._file = open(  # noqa: SIM115
            descriptor, "w", encoding="utf-8", buffering=1, errors="surrogatepass"
        )
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._write(
            {
                _MARK: __version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
            }
        )

    def note(self, sender: Sender, body: bytes) -> None:
        """Record a message's body; what is no JSON object is left out."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return
        at_s = round(time.monotonic() - self._started_s, 4)
        self._write({"at": at_s, "from": sender, "message": message})

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(json.dumps(line) + "\n")
            except OSError as error:
                # A full disk must not cost anybody his editor.
                print(f"The recording ends here ({error.strerror}).", file=sys.stderr)
                with suppress(OSError):
                    self._file.close()


def _opened(path: Path) -> int:
    """Open a new file, in place of an older recording and of nothing else.

    Raises ``RecordingError`` or ``OSError``.
    """
    if os.path.lexists(path):
        if not _is_recording(path):
            raise RecordingError(
                f"{path} is there already, and is no recording.",
                hint="Choose another file for --record.",
            )
        path.unlink()
    # Whoever puts a link there meanwhile must not choose what is written to.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags, 0o600)


def _is_recording(path: Path) -> bool:
    """Tell whether a file begins as recordings do, or is empty."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        begin = file.read(len(_BEGIN))
    return not begin or begin == _BEGIN


def recorded(
    stdin: BinaryIO, stdout: BinaryIO, path: Path | None
) -> tuple[BinaryIO, BinaryIO]:
    """Return the streams, recorded where a ``path`` is given.

    Raises ``RecordingError``.
    """
    if path is None:
        return stdin, stdout
    recorder = Recorder(path)
    return (
        cast(BinaryIO, _RecordedReader(stdin, recorder)),
        cast(BinaryIO, _RecordedWriter(stdout, recorder)),
    )


class _RecordedReader:
    """A stream of messages that are recorded as they are read."""

    def __init__(self, stream: BinaryIO, recorder: Recorder) -> None:
        self._stream = stream
        self._recorder = recorder

    def readline(self, limit: int = -1) -> bytes:
        """Read a header line."""
        return self._stream.readline(limit)

    def read(self, size: int) -> bytes:
        """Read a body."""
        body = self._stream.read(size)
        self._recorder.note("editor", body)
        return body


class _RecordedWriter:
    """A stream that messages are recorded for as they are written, each whole."""

    def __init__(self, stream: BinaryIO, recorder: Recorder) -> None:
        self._stream = stream
        self._recorder = recorder

    def write(self, data: bytes) -> int:
        """Write a message with its header."""
        self._recorder.note("server", data.partition(b"\r\n\r\n")[2])
        return self._stream.write(data)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{path} is no recording ({error}).",
            hint="Make one with: lsp-stablecode serve --record FILE.",
        ) from error


def read_recording(path: Path) -> list[Recorded]:
    """Return a recording's messages. Raises ``RecordingError``."""
    with _told(path):
        first, *lines = path.read_text("utf-8", "surrogatepass").splitlines()
        if _MARK not in json.loads(first):
            raise ValueError("its first line does not say so")
        found = []
        for line in lines:
            one = json.loads(line)
            if one["from"] not in ("editor", "server"):
                raise ValueError(f"sent by {one['from']!r}")
            if isinstance(one["message"], dict):
                found.append(Recorded(float(one["at"]), one["from"], one["message"]))
        return found
