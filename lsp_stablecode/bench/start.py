"""From the start of a process to the first token, and what memory that took."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from lsp_stablecode.bench.field import Advance, Wanted
from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.scripts import Script
from lsp_stablecode.client.connection import Connection, ServerFailedError
from lsp_stablecode.client.editor import Editor
from lsp_stablecode.settings import Settings, to_wire
from model import (
    ModelError,
    Peer,
    PeerUnavailableError,
    ProcessMemory,
    Prompts,
    process_memory,
    start_peer,
)

_POLL_S = 0.05
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Started:
    """One start, in seconds from the process's; ``suggestion_s`` is ours alone."""

    first_token_s: float
    suggestion_s: float | None
    memory: ProcessMemory
    stages: tuple[str, ...] = ()


async def start_server_once(
    settings: Settings, script: Script, cache: Path | None = None
) -> Started:
    """Start the real server, wait for its first suggestion, and stop it.

    With ``cache`` it keeps its conversions there. Raises ``ServerFailedError``.
    """
    wire = to_wire(replace(settings, debounce_ms=0))
    connection = Connection(Path.cwd(), settings=wire)
    others = {one.pid for one in psutil.Process().children()}
    started = time.perf_counter()
    try:
        with _cache_in(cache):
            await connection.start(())
        process_id = server_process_id(others)
        editor = Editor(connection)
        uri = f"file:///{script.name}"
        text = script.before + script.after
        buffer = editor.open_text(uri, script.language_id, text)
        buffer.cursor = len(script.before)
        while (await connection.model_state(_POLL_S))["state"] != "ready":
            pass
        answer = await editor.suggest(buffer)
        explained = answer.explained or {}
        decode_ms = explained.get("statistics", {}).get("decode_ms", 0.0)
        suggestion_s = answer.arrived_s - started
        return Started(
            first_token_s=suggestion_s - decode_ms / 1000,
            suggestion_s=suggestion_s,
            memory=process_memory(process_id),
            stages=tuple(connection.stages),
        )
    finally:
        await connection.stop()


def server_process_id(others: set[int]) -> int:
    """Return the child that is not among ``others``. Raises ``ServerFailedError``."""
    for child in psutil.Process().children():
        if child.pid not in others and "serve" in child.cmdline():
            return child.pid
    raise ServerFailedError("The server ended at once.", hint="See doctor.")


def start_peer_once(peer: Peer, script: Script, prompts: Prompts) -> Started:
    """Measure a peer that was just started, and end it.

    Raises ``PeerUnavailableError``.
    """
    try:
        prompt = prompts.card(script.before, script.after)
        peer.complete(replace(prompt, max_new_tokens=1), prompts.stop_ids)
        return Started(
            first_token_s=time.perf_counter() - peer.started_s,
            suggestion_s=None,
            memory=peer.memory(),
        )
    finally:
        peer.close()


def measure_starts(
    settings: Settings,
    wanted: Wanted,
    script: Script,
    prompts: Prompts,
    report: Report,
    *,
    repetitions: int,
    cold: bool,
    advance: Advance,
) -> None:
    """Add first tokens and memory to the report, alternating, from a warm cache.

    With ``cold`` also our own start without one, once: it converts the model.
    """
    names = [OURS, *wanted.kinds]
    starts: dict[str, list[Started | None]] = {name: [] for name in names}
    for _ in range(repetitions):
        starts[OURS].append(asyncio.run(start_server_once(settings, script)))
        for kind in wanted.kinds:
            try:
                peer = start_peer(wanted.options(kind))
                starts[kind].append(start_peer_once(peer, script, prompts))
            except (ModelError, PeerUnavailableError) as error:
                report.note(str(error))
                starts[kind].append(None)
        advance()
    report.figures += start_figures(starts)
    if cold:
        with tempfile.TemporaryDirectory(
            prefix="lsp-stablecode-cold-", ignore_cleanup_errors=True
        ) as folder:
            one = asyncio.run(start_server_once(settings, script, Path(folder)))
        report.figures.append(
            _figure("start-cold", "first token, cold", "s", {OURS: [one.first_token_s]})
        )
        starts["cold"] = [one]
    report.details["starts"] = {
        name: [_start_json(one) for one in column if one]
        for name, column in starts.items()
    }


def start_figures(starts: dict[str, list[Started | None]]) -> list[Figure]:
    """Return the figures of warm starts."""
    ours = starts[OURS]
    return [
        _figure(
            "start-warm",
            "first token, warm",
            "s",
            {
                name: [one.first_token_s if one else None for one in column]
                for name, column in starts.items()
            },
        ),
        _figure(
            "start-suggestion",
            "first suggestion, warm",
            "s",
            {OURS: [one.suggestion_s if one else None for one in ours]},
        ),
        *(
            _figure(
                f"memory-{key}",
                f"memory, {title}",
                "MiB",
                {
                    name: [
                        asdict(one.memory)[f"{key}_bytes"] / _MIB if one else None
                        for one in column
                    ]
                    for name, column in starts.items()
                },
            )
            for key, title in (
                ("resident", "resident"),
                ("peak", "resident at most"),
                ("unique", "its own alone"),
            )
        ),
    ]


def _figure(
    key: str, title: str, unit: str, columns: dict[str, list[float | None]]
) -> Figure:
    samples = {name: Samples(tuple(column)) for name, column in columns.items()}
    return Figure(key, title, unit, samples)


def _start_json(started: Started) -> dict[str, Any]:
    data = asdict(started)
    data["stages"] = list(started.stages)
    return data


@contextmanager
def _cache_in(folder: Path | None) -> Iterator[None]:
    """Let a child keep its conversions in ``folder``."""
    name = "LSP_STABLECODE_CACHE"
    before = os.environ.get(name)
    if folder is not None:
        os.environ[name] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before
