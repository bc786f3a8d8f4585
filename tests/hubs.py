"""The engine processes that servers share, found by their runtime folder."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lsp_stablecode.shared.rendezvous import RUNTIME_VARIABLE

# The names of sockets are short, and those of tests' folders are not.
SHORT_FOLDERS = "/tmp" if Path("/tmp").is_dir() else None
_END_S = 30.0


class Hubs:
    """The hubs of a test's own runtime folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def process(self) -> psutil.Process:
        """Return the hub's process, of which there is to be one."""
        (address,) = self.folder.glob("*.json")
        return psutil.Process(json.loads(address.read_text())["process_id"])

    def processes(self) -> list[psutil.Process]:
        """Return all hubs of this folder, whether they can be found or not."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if "hub" not in (process.info["cmdline"] or []):
                continue
            with contextlib.suppress(psutil.Error):
                folder = process.environ().get(RUNTIME_VARIABLE)
                if folder == str(self.folder) and process.status() != "zombie":
                    found.append(process)
        return found

    def kill(self) -> None:
        """Kill them all, also those that are stopped."""
        killed = self.processes()
        for process in killed:
            with contextlib.suppress(psutil.NoSuchProcess):
                if hasattr(signal, "SIGCONT"):
                    process.send_signal(signal.SIGCONT)
                process.kill()
        # Not psutil's wait: who has not taken notice of its child's end keeps a zombie.
        deadline_s = time.monotonic() + _END_S
        while not set(killed).isdisjoint(self.processes()):
            assert time.monotonic() < deadline_s, "a hub does not end"
            time.sleep(0.01)


@contextmanager
def runtime_folder() -> Iterator[Hubs]:
    """Make a runtime folder; no process of it outlives the context."""
    with tempfile.TemporaryDirectory(dir=SHORT_FOLDERS) as folder:
        hubs = Hubs(Path(folder))
        try:
            yield hubs
        finally:
            hubs.kill()
