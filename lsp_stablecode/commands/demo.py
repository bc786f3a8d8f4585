"""``demo``: the real server, a small editor, and what comes of the two."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from lsp_stablecode.client.connection import Connection, ServerFailedError
from lsp_stablecode.demo.picture import check_place, save_picture
from lsp_stablecode.demo.scenes import Play, Played, Started
from lsp_stablecode.demo.show import NEXT, Screen, table, timings
from lsp_stablecode.settings import Settings


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Play all scenes. Raises ``ServerFailedError`` if nothing is suggested."""
    if options.picture:
        check_place(Path(options.picture))
    console = Console()
    return asyncio.run(_play(options, console))


def server_arguments(options: argparse.Namespace) -> list[str]:
    """Return the common options again, for ``serve``."""
    arguments = []
    for name in (
        "model",
        "device",
        "dtype",
        "cache_dtype",
        "threads",
        "context_tokens",
        "log_level",
        "trace",
    ):
        value = getattr(options, name, None)
        if value is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    if options.log_level is None:
        # Shown only if something fails.
        arguments += ["--log-level", "info"]
    return arguments


async def _play(options: argparse.Namespace, console: Console) -> int:
    screen = Screen(console)
    with (
        tempfile.TemporaryDirectory(
            prefix="lsp-stablecode-demo-", ignore_cleanup_errors=True
        ) as folder,
        as_file(files("lsp_stablecode.demo") / "samples") as samples,
    ):
        workspace = Path(folder).resolve()
        for sample in samples.iterdir():
            if sample.is_file():
                (workspace / sample.name).write_bytes(sample.read_bytes())
        connection = Connection(workspace, screen.loading)
        try:
            await connection.start(server_arguments(options))
            play = Play(connection, workspace, screen)
            started, all_played = await _show(play, screen, console)
        except ServerFailedError:
            screen.close()
            for line in filter(None, connection.log):
                print(f"server: {line}", file=sys.stderr)
            raise
        finally:
            screen.close()
            await connection.stop()
    if options.picture:
        save_picture(Path(options.picture), started, all_played)
    for message in connection.messages:
        console.print(f"The server says: {message}", markup=False, highlight=False)
    return 0


async def _show(
    play: Play, screen: Screen, console: Console
) -> tuple[Started, list[Played]]:
    started, first = await play.first()
    screen.end(first)
    console.print(timings(started), "", sep="\n")
    all_played = [first]
    async for played in play.rest():
        screen.end(played)
        all_played.append(played)
    if not any(one.answer.count("generated") for one in all_played):
        raise ServerFailedError(
            "The model generated nothing.", hint="Run lsp-stablecode doctor."
        )
    console.print(table(all_played), "", NEXT, sep="\n", highlight=False)
    return started, all_played
