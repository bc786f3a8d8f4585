"""A front's connection to the hub: a thread that reads, and one that writes.

Neither ever makes the front wait: a hub that was stopped reads nothing, and an editor
must be able to type on meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO

from lsp_stablecode.shared.errors import FramingError, SharedError
from lsp_stablecode.shared.framing import frame, read_message
from lsp_stablecode.shared.greeting import greet_hub

_GREETING_TIMEOUT_S = 10.0


class RefusedError(SharedError):
    """The hub does not want this front; it says why."""


class Link:
    """An open connection, after both sides have said who they are.

    ``on_message`` gets every body, and ``None`` once the connection has ended, both on
    the reading thread.
    """

    def __init__(
        self, connection: socket.socket, stream: BinaryIO, process_id: int
    ) -> None:
        self.process_id = process_id
        self._connection = connection
        self._stream = stream
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def start(self, on_message: Callable[[Link, bytes | None], None]) -> None:
        """Begin to read and to write."""
        for work in (lambda: self._read(on_message), self._write):
            threading.Thread(target=work, name="link", daemon=True).start()

    def send(self, body: bytes) -> None:
        """Queue a message; one that can no longer arrive is lost with the link."""
        self._outgoing.put(frame(body))

    def close(self) -> None:
        """End the connection; what is queued already is still written if it can be."""
        self._outgoing.put(None)

    def _read(self, on_message: Callable[[Link, bytes | None], None]) -> None:
        with contextlib.suppress(OSError, FramingError, ValueError):
            while (body := read_message(self._stream)) is not None:
                on_message(self, body)
        on_message(self, None)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (data := self._outgoing.get()) is not None:
                self._connection.sendall(data)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def open_link(connection: socket.socket, secret: str, arguments: Sequence[str]) -> Link:
    """Greet a hub over a fresh connection and return the link.

    Raises ``RefusedError``, and ``OSError`` where no hub of ours answers in time.
    """
    try:
        connection.settimeout(_GREETING_TIMEOUT_S)
        hello = {"arguments": list(arguments), "folder": os.getcwd()}
        answer, stream = greet_hub(connection, secret, hello)
        connection.settimeout(None)
        if "refused" in answer:
            raise RefusedError(str(answer["refused"]))
        return Link(connection, stream, int(answer["processId"]))
    except (KeyError, TypeError, ValueError) as error:
        connection.close()
        raise ConnectionResetError("the hub's greeting cannot be read") from error
    except BaseException:
        connection.close()
        raise
