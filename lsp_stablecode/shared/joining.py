"""Joining the hub that runs, or starting one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lsp_stablecode.shared.errors import HubUnreachableError
from lsp_stablecode.shared.link import Link, open_link
from lsp_stablecode.shared.rendezvous import (
    Address,
    Rendezvous,
    open_connection,
)

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02
_CONNECT_TIMEOUT_S = 5.0
_TOLD_CHARACTERS = 600
# Windows' DETACHED_PROCESS and CREATE_NEW_PROCESS_GROUP.
_DETACHED = 0x00000208


def join(rendezvous: Rendezvous, arguments: Sequence[str], log: Path) -> Link:
    """Return a link to the hub, which is started if none runs.

    Several fronts may start one each at the same time: all but one of them see that
    and end at once. Raises ``HubUnreachableError`` and ``RefusedError``.
    """
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    started: subprocess.Popen[bytes] | None = None
    while True:
        link = _joined(rendezvous, arguments)
        if link is not None:
            return link
        if started is None:
            started = _start(rendezvous, log)
        if started.poll() not in (None, 0):
            raise HubUnreachableError(
                f"The engine process ended with code {started.returncode}. "
                f"{_end_of(log)}".rstrip(),
                hint=f"Its log is {log}.",
            )
        if started.poll() == 0 and rendezvous.address() is None:
            # It found another one, which has gone since, or withdrew.
            started = None
        if time.monotonic() > deadline_s:
            raise HubUnreachableError(
                "The engine process does not answer.", hint=f"Its log is {log}."
            )
        time.sleep(_POLL_S)


def _joined(rendezvous: Rendezvous, arguments: Sequence[str]) -> Link | None:
    address = rendezvous.address()
    if address is None or not _is_alive(address):
        return None
    try:
        connection = open_connection(address, _CONNECT_TIMEOUT_S)
        return open_link(connection, address.secret, arguments)
    except OSError:
        return None


def _is_alive(address: Address) -> bool:
    """Return whether the process may still be there; a cheap first look."""
    if os.name == "nt":
        return True
    try:
        os.kill(address.process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _start(rendezvous: Rendezvous, log: Path) -> subprocess.Popen[bytes]:
    """Start a hub that outlives this process and its editor."""
    command = [sys.executable, "-m", "lsp_stablecode", "hub"]
    command += ["--folder", str(rendezvous.folder), "--", *rendezvous.arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=os.name != "nt",
            creationflags=_DETACHED if os.name == "nt" else 0,
        )


def _end_of(log: Path) -> str:
    """Return what a process that has ended said last."""
    with contextlib.suppress(OSError):
        text = log.read_text("utf-8", "replace")[-_TOLD_CHARACTERS:].strip()
        return text.splitlines()[-1] if text else ""
    return ""
