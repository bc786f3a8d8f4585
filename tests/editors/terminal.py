"""A program in a terminal of its own: keys go in, and the screen can be read."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pyte

PATIENCE_S = 60.0
# pyte stumbles over them; the parts of an emoji so stand one by one.
_JOINERS = re.compile("[\u200d\ufe0f]")


class _Screen(pyte.Screen):
    """Hears a terminal's private questions, too; nobody waits for the answers."""

    def report_device_status(self, *_: int, **__: bool) -> None:
        """Answer nothing."""


class Terminal:
    """Runs a command, and emulates an xterm around it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str],
        columns: int = 100,
        lines: int = 30,
    ) -> None:
        self._screen = _Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._changed = threading.Condition()
        self._watchers: list[list[str]] = []
        self._master, slave = pty.openpty()
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        self._process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # A session of its own, whose terminal this is.
            preexec_fn=lambda: os.login_tty(os.dup(slave)),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """The screen's lines, without the spaces at their ends."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's row and column."""
        with self._changed:
            return self._screen.cursor.y, self._screen.cursor.x

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the program is still there."""
        return self._process.poll() is None

    def coloured(self, foreground: str) -> str:
        """Return what of the screen is drawn in a colour, line by line."""
        lines = []
        with self._changed:
            for row in range(self._screen.lines):
                cells = self._screen.buffer[row]
                line = "".join(
                    cells[column].data if cells[column].fg == foreground else "\0"
                    for column in range(self._screen.columns)
                )
                parts = [part for part in line.split("\0") if part]
                if parts:
                    lines.append(" ".join(parts))
        return "\n".join(lines)

    def rows(self) -> list[list[pyte.screens.Char]]:
        """Return the screen's cells."""
        with self._changed:
            columns = range(self._screen.columns)
            rows = range(self._screen.lines)
            return [[self._screen.buffer[row][one] for one in columns] for row in rows]

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Collect what the screen showed, whenever something was drawn."""
        screens: list[str] = []
        with self._changed:
            self._watchers.append(screens)
        try:
            yield screens
        finally:
            with self._changed:
                self._watchers.remove(screens)

    def send(self, keys: str) -> None:
        """Type: the characters and control sequences a terminal would send."""
        os.write(self._master, keys.encode())

    def wait_until(
        self,
        is_so: Callable[[], object],
        what: str,
        *,
        patience_s: float = PATIENCE_S,
        details: Callable[[], str] = lambda: "",
    ) -> float:
        """Wait until the screen is as wished; return the time in seconds.

        Raises ``AssertionError`` that shows the screen.
        """
        deadline = time.monotonic() + patience_s
        while True:
            if is_so():
                return time.perf_counter()
            if time.monotonic() > deadline or not self.is_running:
                raise AssertionError(
                    f"this did not come: {what}\n{self.text}\n{details()}"
                )
            with self._changed:
                # What is looked at may be elsewhere than on the screen.
                self._changed.wait(0.02)

    def close(self) -> None:
        """Kill the program and all that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            program = psutil.Process(self._process.pid)
            for one in [*program.children(recursive=True), program]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self._process.wait()
        self._reader.join(10)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                break
            if not data:
                break
            text = _JOINERS.sub("", self._decoder.decode(data))
            with self._changed:
                self._stream.feed(text)
                for screens in self._watchers:
                    screens.append(self.text)
                self._changed.notify_all()
