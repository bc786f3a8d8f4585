"""The process that holds the models, for all editors of a user.

Each connection is an editor with a server of its own; what they share is the pool of
models. The hub ends a while after the last editor has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from pygls.io_ import run_async

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.lifecycle import leave
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.overview import bug_report, overview
from lsp_stablecode.prometheus import serve_metrics
from lsp_stablecode.server import StablecodeServer, make_server
from lsp_stablecode.shared.framing import frame
from lsp_stablecode.shared.front import PING, RESTORE
from lsp_stablecode.shared.greeting import is_proof, make_nonce, proof
from lsp_stablecode.shared.rendezvous import Rendezvous
from lsp_stablecode.trace import open_tracer
from model import StablecodeError

logger = logging.getLogger(__name__)

_BROKEN = (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError)
_LOOK_S = 2.0
_HELLO_TIMEOUT_S = 10.0
_MOST_HELLO_BYTES = 65_536


class Hub:
    """Listens for fronts and serves each, all with one pool of models."""

    def __init__(self, rendezvous: Rendezvous, linger_s: float) -> None:
        self._rendezvous = rendezvous
        self._linger_s = linger_s
        self.pool = ModelPool(keeps_unused=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._servers: set[StablecodeServer] = set()
        self._ended = asyncio.Event()
        self._listener: asyncio.Server | None = None

    async def run(self) -> None:
        """Serve until there was no editor for a while, or it is told to end."""
        loop = asyncio.get_running_loop()
        if hasattr(signal, "SIGTERM") and os.name != "nt":
            loop.add_signal_handler(signal.SIGTERM, self._ended.set)
        await self._listen()
        last_seen_s = loop.time()
        try:
            while loop.time() - last_seen_s < self._linger_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._ended.wait(), min(_LOOK_S, self._linger_s)
                    )
                    return
                if self._connections:
                    last_seen_s = loop.time()
                await self._look_at_address()
        finally:
            self._rendezvous.withdraw()
            for server in list(self._servers):
                server.session.close()
            await asyncio.to_thread(self.pool.close)

    async def _look_at_address(self) -> None:
        """See that new editors find the way here, and to nobody else."""
        if self._listener is None or self._rendezvous.is_reachable():
            return
        if self._rendezvous.is_another_there():
            # Somebody has removed the lock, and another hub has it now: new editors
            # are its, and this one ends with those it has.
            logger.warning("another engine process has begun; this one takes no more")
            self._listener.close()
            self._listener = None
            return
        logger.warning("the socket was removed; listening anew")
        try:
            await self._listen()
        except (OSError, StablecodeError) as error:
            logger.error("nobody can join (%s); trying again", error)

    async def _listen(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._rendezvous.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        listening = self._rendezvous.listen()
        listening.setblocking(False)
        self._listener = await _start_server(self._connected, listening)

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        server: StablecodeServer | None = None
        try:
            hello = await asyncio.wait_for(
                self._greet(reader, writer), _HELLO_TIMEOUT_S
            )
            if hello is None:
                return
            if "question" in hello:
                await _send(writer, self._answer(str(hello["question"])))
                return
            try:
                server = _make_server(
                    [str(one) for one in hello["arguments"]],
                    Path(str(hello["folder"])),
                    self.pool,
                )
            except (StablecodeError, KeyError, TypeError) as error:
                await _send(writer, {"refused": str(error)})
                return
            self._servers.add(server)
            await _send(writer, {"processId": os.getpid()})
            await _serve(server, reader, writer)
        except _BROKEN as error:
            logger.warning("a connection broke (%s)", type(error).__name__)
        finally:
            self._connections.discard(task)
            writer.close()
            if server is not None:
                self._servers.discard(server)
                server.session.close()
                # A session is a knot of references; its documents may be large.
                del server
                gc.collect()

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, Any] | None:
        """Exchange proofs with whoever connects; return what it wants."""
        secret = self._rendezvous.secret
        first = await _read(reader)
        nonce = make_nonce()
        answer = {"nonce": nonce, "proof": proof(secret, first.get("nonce"), "hub")}
        await _send(writer, answer)
        hello = await _read(reader)
        if not is_proof(secret, nonce, "front", hello.get("proof")):
            logger.warning("a connection without the secret was refused")
            return None
        return hello

    def _answer(self, question: str) -> dict[str, Any]:
        """Return what a command wants to know."""
        if question == "report":
            return bug_report(self.pool)
        return overview(self.pool)


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(frame(json.dumps(answer).encode()))
    await writer.drain()


async def _serve(
    server: StablecodeServer,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Serve one editor until it has gone, however it went."""
    server.protocol.set_writer(writer)
    try:
        await run_async(threading.Event(), reader, server.protocol)
    except (OverflowError, MemoryError):
        logger.error("A message's Content-Length is absurd; the connection is closed.")
    except SystemExit:
        pass  # after `exit`


async def _start_server(
    connected: Callable[
        [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]
    ],
    listening: socket.socket,
) -> asyncio.Server:
    if listening.family == getattr(socket, "AF_UNIX", None):
        return await asyncio.start_unix_server(connected, sock=listening)
    return await asyncio.start_server(connected, sock=listening)


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return a message of the greeting. Raises ``ValueError`` for what is none."""
    header = await reader.readuntil(b"\r\n\r\n")
    length = int(header.split(b":", 1)[1])
    if not 0 < length <= _MOST_HELLO_BYTES:
        raise ValueError("the greeting is too long")
    hello = json.loads(await reader.readexactly(length))
    if not isinstance(hello, dict):
        raise ValueError("the greeting is no object")
    return hello


def serve_fronts(rendezvous: Rendezvous, linger_s: float) -> int:
    """Be the hub, whose lock the caller holds; return the exit code."""
    from lsp_stablecode.cli import parse_serve
    from lsp_stablecode.commands.serve import parse_address

    hub = Hub(rendezvous, linger_s)
    try:
        metrics = parse_serve(rendezvous.arguments).metrics
        if metrics:
            serve_metrics(hub.pool, *parse_address(metrics, "--metrics"))
    except SettingsError as error:
        # An older hub may still have the port, and editors need no metrics. Wrong
        # options are told to the editor that brings them.
        logger.error("%s", error)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(hub.run())
    leave(0)
    return 0


def _make_server(
    arguments: list[str], folder: Path, pool: ModelPool
) -> StablecodeServer:
    """Return the server of an editor, from its front's options.

    ``folder`` is the front's working directory. Raises ``SettingsError``.
    """
    from lsp_stablecode.cli import parse_serve, settings_from

    options = parse_serve(arguments)
    trace = None if options.trace is None else folder / options.trace
    server = make_server(settings_from(options), open_tracer(trace), pool)

    # ``Any``: for anything that the server is an instance of pygls would hand it in.
    @server.feature(PING)
    def ping(params: Any) -> None:
        """Answer: that is all a front wants to know."""

    @server.feature(RESTORE)
    def restore(params: Any) -> None:
        """Take in what was switched at a hub that is gone."""
        server.session.switch.restore_later(params)

    return server
