"""Where a user's fronts and the hub find each other, and how they know each other.

A private folder (0700, owned by the user) holds, for each kind of hub, a socket and an
*address*: a small file (0600) with the hub's process id, how to reach it, and a secret
that both sides must know. On Windows, where Python has no Unix sockets, the hub listens
on the loopback interface, and the secret is all that keeps others out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsp_stablecode import __version__
from lsp_stablecode.shared.errors import RuntimeFolderError

if TYPE_CHECKING:
    # It imports asyncio, which a front has no use for.
    import filelock

RUNTIME_VARIABLE = "LSP_STABLECODE_RUNTIME"

# Of a Unix socket's address the system takes so many bytes, less on macOS.
_LONGEST_PATH_BYTES = 100
# What they say holds for a whole process.
_SHAPING_VARIABLES = ("LSP_STABLECODE_", "CUDA_VISIBLE_DEVICES", "HF_HOME")
_HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")


@dataclass(frozen=True, slots=True)
class Address:
    """How a running hub is reached; ``port`` is 0 where ``path`` is a Unix socket."""

    process_id: int
    path: str
    port: int
    secret: str


class Rendezvous:
    """The files of one kind of hub: same user, same version, same options.

    A ``name`` stands for a kind whose name is known already.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path | None = None, name: str = ""
    ) -> None:
        self.arguments = list(arguments)
        self.folder = folder or runtime_folder()
        self.name = name or kind_of_hub(arguments)
        self.address_file = self.folder / f"{self.name}.json"
        self.secret = ""
        self._lock_file = self.folder / f"{self.name}.lock"
        self._socket_file = self.folder / f"{self.name}.sock"

    def address(self) -> Address | None:
        """Return where the hub says it is; it may have died since."""
        return read_address(self.address_file)

    def lock(self) -> filelock.BaseFileLock | None:
        """Return the lock that only one hub can have, or ``None`` if one has it.

        The system lets go of it when the process ends, however that happens.
        """
        import filelock

        lock = filelock.FileLock(self._lock_file)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return lock

    def listen(self, *, over_tcp: bool = not _HAS_UNIX_SOCKETS) -> socket.socket:
        """Listen, and write the address. The caller holds the lock file's lock."""
        listener = self._listener(over_tcp=over_tcp)
        port = listener.getsockname()[1] if over_tcp else 0
        self.secret = secrets.token_hex(32)
        address = Address(os.getpid(), str(self._socket_file), port, self.secret)
        part = self.address_file.with_suffix(".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(address), file)
        part.replace(self.address_file)
        return listener

    def is_reachable(self) -> bool:
        """Return whether this process's own address still leads to it."""
        address = self.address()
        if address is None or address.process_id != os.getpid():
            return False
        return bool(address.port) or self._socket_file.exists()

    def is_another_there(self) -> bool:
        """Return whether the address names another hub, which can be connected to."""
        address = self.address()
        if address is None or address.process_id == os.getpid():
            return False
        try:
            open_connection(address, 1.0).close()
        except OSError:
            return False
        return True

    def withdraw(self) -> None:
        """Remove what ``listen`` wrote, unless another hub has written it since."""
        address = self.address()
        if address is None or address.process_id == os.getpid():
            self.address_file.unlink(missing_ok=True)
            self._socket_file.unlink(missing_ok=True)

    def _listener(self, *, over_tcp: bool) -> socket.socket:
        if over_tcp:
            return socket.create_server(("127.0.0.1", 0))
        self._socket_file.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self._socket_file))
            os.chmod(self._socket_file, 0o600)
            listener.listen(64)
        except BaseException:
            listener.close()
            raise
        return listener


def kind_of_hub(arguments: Sequence[str]) -> str:
    """Return a short name for what decides whether two editors share a hub."""
    places = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SHAPING_VARIABLES) and name != RUNTIME_VARIABLE
    }
    parts = [__version__, sys.prefix, sys.version, list(arguments), places]
    kind = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(kind.encode(), digest_size=6).hexdigest()


def read_address(file: Path) -> Address | None:
    """Return what an address file says, if it is one."""
    try:
        return Address(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def open_connection(address: Address, timeout_s: float) -> socket.socket:
    """Return a connection to a hub. Raises ``OSError``."""
    if address.port:
        return socket.create_connection(("127.0.0.1", address.port), timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address.path)
    except BaseException:
        connection.close()
        raise
    return connection


def runtime_folder() -> Path:
    """Return the user's private folder for sockets, made if need be.

    ``$LSP_STABLECODE_RUNTIME`` names another one. Raises ``RuntimeFolderError``.
    """
    chosen = os.environ.get(RUNTIME_VARIABLE)
    folder = Path(chosen).absolute() if chosen else _default_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise RuntimeFolderError(
            f"{folder} cannot be used for sockets ({error.strerror or error}).",
            hint=f"Name another folder in {RUNTIME_VARIABLE}.",
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        problem = "is no folder"
    elif os.name != "nt" and status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif os.name != "nt" and status.st_mode & 0o077:
        problem = "is open to other users"
    else:
        return folder
    raise RuntimeFolderError(
        f"{folder} {problem}, so no socket is put there.",
        hint=f"Remove it, or name another folder in {RUNTIME_VARIABLE}.",
    )


def _default_folder() -> Path:
    """Return what platformdirs names, or a short path where that is too long."""
    import platformdirs

    folder = platformdirs.user_runtime_path("lsp-stablecode", appauthor=False)
    if len(os.fsencode(folder)) + 20 > _LONGEST_PATH_BYTES:
        user = os.geteuid() if hasattr(os, "geteuid") else 0
        folder = Path(tempfile.gettempdir()) / f"lsp-stablecode-{user}"
    # Of folders above it, only the system's own may be missing.
    with contextlib.suppress(OSError):
        folder.parent.mkdir(mode=0o700, exist_ok=True)
    return folder
