"""The one file that habits are kept in; several servers may share it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from pathlib import Path

from lsp_stablecode.judgement.counts import Counts, CountsError, read_counts

logger = logging.getLogger(__name__)

STATE_VARIABLE = "LSP_STABLECODE_STATE"
_VERSION = 1
_MOST_BYTES = 100_000


def state_directory() -> Path:
    """Return where habits are kept; ``LSP_STABLECODE_STATE`` overrides it."""
    if value := os.environ.get(STATE_VARIABLE):
        return Path(value).expanduser().absolute()
    from platformdirs import user_state_dir

    return Path(user_state_dir("lsp-stablecode", appauthor=False))


class HabitsFile:
    """Reads and adds to ``habits.json`` in a folder. Nothing here raises.

    What cannot be read or written is logged once, and everybody works from memory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "habits.json"
        self._has_warned = False

    def read(self) -> Counts:
        """Return what is there; nothing where there is no file or a broken one."""
        try:
            return self._read()
        except CountsError:
            return Counts()  # `add` says so, and does something about it
        except OSError as error:
            self._warn("read", error)
            return Counts()

    def add(self, counts: Counts, timeout_s: float) -> Counts | None:
        """Add to what is there by now and return the sum.

        ``None`` where it could not be written, or where another server has held the
        file for ``timeout_s``.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=timeout_s):
                total = self._read_or_begin().plus(counts)
                self._write(total)
                return total
        except Timeout:
            return None
        # filelock says so where a file system has no locks.
        except (OSError, NotImplementedError) as error:
            self._warn("written", error)
            return None

    def _read(self) -> Counts:
        """Read the file. Raises ``OSError``, and ``CountsError`` where it is broken."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return Counts()
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise CountsError("it is no JSON") from error
        if not isinstance(data, dict) or data.get("version") != _VERSION:
            raise CountsError(f"it is not of version {_VERSION}")
        return read_counts(data.get("counts"))

    def _read_or_begin(self) -> Counts:
        """Read the file, or put a broken one aside; the caller holds the lock."""
        try:
            return self._read()
        except CountsError as error:
            aside = self.path.with_suffix(".broken.json")
            os.replace(self.path, aside)
            logger.warning(
                "%s is broken (%s); it is put aside as %s and a new one begun",
                self.path,
                error,
                aside.name,
            )
            return Counts()

    def _write(self, counts: Counts) -> None:
        data = {
            "about": "How often lsp-stablecode's suggestions were shown and accepted, "
            "by confidence. Delete it to begin anew; learnFromUse switches it off.",
            "version": _VERSION,
            "counts": counts.to_json(),
        }
        handle, name = tempfile.mkstemp(prefix=".habits.", dir=self.path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
                file.write("\n")
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _warn(self, what: str, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s cannot be %s (%s); what you accept is remembered until this "
                "server ends",
                self.path,
                what,
                error,
            )
