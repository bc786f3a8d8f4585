"""Joining the hub that runs, or starting one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lsp_stablecode import __version__
from lsp_stablecode.shared.errors import HubUnreachableError
from lsp_stablecode.shared.link import Link, open_link
from lsp_stablecode.shared.rendezvous import (
    RUNTIME_VARIABLE,
    Address,
    Rendezvous,
    open_connection,
)

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02
# Another front's hub was first; it may need that long to listen.
_RESTART_AFTER_S = 3.0
_CONNECT_TIMEOUT_S = 5.0
_TOLD_CHARACTERS = 600
# Windows' DETACHED_PROCESS and CREATE_NEW_PROCESS_GROUP.
_DETACHED = 0x00000208


def join(rendezvous: Rendezvous, arguments: Sequence[str], log: Path) -> Link:
    """Return a link to the hub, which is started if none runs.

    Several fronts may start one each at the same time: all but one of them see that
    and end at once. One that does not answer for a minute is killed. Raises
    ``HubUnreachableError`` and ``RefusedError``.
    """
    for is_last in (False, True):
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        link = _join_before(deadline_s, rendezvous, arguments, log)
        if link is not None:
            return link
        if not is_last:
            _kill_silent_hub(rendezvous)
    raise HubUnreachableError(
        "The engine process does not answer.", hint=f"Its log is {log}."
    )


def _join_before(
    deadline_s: float, rendezvous: Rendezvous, arguments: Sequence[str], log: Path
) -> Link | None:
    started: subprocess.Popen[bytes] | None = None
    ended_s: float | None = None
    while time.monotonic() < deadline_s:
        link = _joined(rendezvous, arguments)
        if link is not None:
            return link
        if started is None:
            started, ended_s = _start(rendezvous, log), None
        elif (code := started.poll()) is not None:
            if code != 0:
                said = f"The engine process ended with code {code}. {_end_of(log)}"
                raise HubUnreachableError(
                    said.strip(),
                    hint=f"Its log is {log}.",
                )
            ended_s = ended_s or time.monotonic()
            if time.monotonic() - ended_s > _RESTART_AFTER_S:
                started = None
        time.sleep(_POLL_S)
    return None


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
    except (OSError, OverflowError):
        return True
    return True


def _kill_silent_hub(rendezvous: Rendezvous) -> None:
    """Kill the hub that holds the lock and answers nobody."""
    address = rendezvous.address()
    lock = rendezvous.lock()
    if lock is not None:
        # Nobody has it: what the address names is no hub, or none any more.
        lock.release()
    elif address is not None:
        with contextlib.suppress(OSError, OverflowError):
            os.kill(address.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))


def _start(rendezvous: Rendezvous, log: Path) -> subprocess.Popen[bytes]:
    """Start a hub that outlives this process and its editor.

    Not in the editor's folder, which it would keep in use, and where Python would look
    for modules first.
    """
    command = [sys.executable, "-P", "-m", "lsp_stablecode", "hub"]
    command += ["--name", rendezvous.name, "--version", __version__]
    command += ["--", *rendezvous.arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(descriptor, "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=rendezvous.folder,
            env={**os.environ, RUNTIME_VARIABLE: str(rendezvous.folder)},
            close_fds=True,
            start_new_session=os.name != "nt",
            creationflags=_DETACHED if os.name == "nt" else 0,
        )


def _end_of(log: Path) -> str:
    """Return what a process that has ended said last."""
    with contextlib.suppress(OSError):
        text = log.read_text("utf-8", "replace")[-_TOLD_CHARACTERS:].strip()
        return text.splitlines()[-1] if text else ""
    return ""
