"""``serve``: the language server on standard input and output, or on TCP."""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import signal
import sys
import threading

from pygls.io_ import run_async

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.lifecycle import leave
from lsp_stablecode.prometheus import serve_metrics
from lsp_stablecode.recording import recorded
from lsp_stablecode.server import StablecodeServer, make_server
from lsp_stablecode.settings import Settings
from lsp_stablecode.shared.serving import run as serve_shared
from lsp_stablecode.trace import open_tracer

logger = logging.getLogger(__name__)


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until the editor says ``exit``, closes the pipe or is gone."""
    if options.shared and not options.tcp:
        # Usually taken before anything of this was imported.
        return serve_shared(sys.argv[2:])
    if options.tcp and options.record:
        raise SettingsError(
            "What comes over --tcp is not recorded.",
            hint="Leave out --tcp or --record.",
        )
    address = parse_address(options.tcp, "--tcp") if options.tcp else None
    streams = recorded(sys.stdin.buffer, take_stdout(), options.record)
    server = make_server(settings, open_tracer(options.trace))
    if options.metrics:
        serve_metrics(server.session.pool, *parse_address(options.metrics, "--metrics"))
    signal.signal(signal.SIGINT, lambda *_: _stop(server, 130))
    signal.signal(signal.SIGTERM, lambda *_: _stop(server, 143))
    try:
        if address is None:
            server.start_io(*streams)
        else:
            print(f"listening on {address[0]}:{address[1]}", file=sys.stderr)
            asyncio.run(serve_tcp(server, *address))
    except SystemExit:
        pass  # pygls' way to end after `exit`; the code is kept by our protocol
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {options.tcp} ({error.strerror or error}).",
            hint="Choose another host or port.",
        ) from error
    except (OverflowError, MemoryError):
        logger.error("A message's Content-Length is absurd; the connection is closed.")
        _stop(server, 1)
    _stop(server, server.protocol.exit_code)
    return 0


def take_stdout() -> io.BufferedWriter:
    """Return the real standard output and let prints go to standard error.

    So no library's greeting can ever get between the protocol's messages.
    """
    protocol_output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return protocol_output


async def serve_tcp(server: StablecodeServer, host: str, port: int) -> None:
    """Serve one client, and return when it has gone, however it went.

    pygls' own would give the answers to whoever connects last, and would listen on
    for ever after a connection that broke in the middle of a message.
    """
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not listener.is_serving():
            writer.close()
            return
        listener.close()
        server.protocol.set_writer(writer)
        try:
            await run_async(threading.Event(), reader, server.protocol)
        except (OSError, EOFError, ValueError) as error:
            logger.warning("the connection broke (%s)", type(error).__name__)
        except SystemExit:
            pass  # after `exit`
        gone.set_result(None)

    listener = await asyncio.start_server(connected, host, port)
    await gone


def parse_address(text: str, option: str) -> tuple[str, int]:
    """Split the ``HOST:PORT`` of an option. Raises ``SettingsError``."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(
            f"{text!r} is no HOST:PORT.", hint=f"For example {option} 127.0.0.1:7777."
        )
    return host.strip("[]"), int(port)


def _stop(server: StablecodeServer, exit_code: int) -> None:
    """Release the engine and end, without waiting for the reader of stdin."""
    try:
        server.session.close()
    finally:
        leave(exit_code)
