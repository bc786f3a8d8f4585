"""``bench shared``: several typists, each at an editor of his own, with one engine."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from lsp_stablecode.bench.field import Advance
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.typing_places import Place
from lsp_stablecode.bench.typing_run import Pressed, TypingPlan, TypingRun
from lsp_stablecode.client.connection import Connection
from lsp_stablecode.evaluation.client import Filler
from lsp_stablecode.shared.rendezvous import Rendezvous

_SAMPLE_S = 5.0
# Memory is compared once caches are full and each typist has been at a few places.
_WARM_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """One editor's files: where they were, where they lie now, where is typed."""

    folder: Path
    copies: Path
    places: Sequence[Place]


@dataclass(slots=True)
class SharedRun:
    """What came of it: each editor's keys, and the engine process's memory."""

    runs: list[TypingRun] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)
    process_ids: set[int] = field(default_factory=set)

    async def play(
        self,
        works: Sequence[Work],
        plan: TypingPlan,
        settings: dict[str, Any],
        advance: Advance,
    ) -> None:
        """Let one typist for each work type until the plan is over."""
        connections = [Connection(work.copies, settings=settings) for work in works]
        with _runtime_folder():
            try:
                await asyncio.gather(*(one.start(("--shared",)) for one in connections))
                states = await asyncio.gather(
                    *(Filler(one).wait_until_ready() for one in connections)
                )
                self.model = states[0]["engine"]
                started_s = time.perf_counter()
                watching = asyncio.create_task(self._watch_memory(started_s))
                self.runs = [
                    TypingRun(one, replace(plan, seed=plan.seed + number), advance)
                    for number, one in enumerate(connections)
                ]
                await asyncio.gather(
                    *(
                        _type_all(run, work)
                        for run, work in zip(self.runs, works, strict=True)
                    )
                )
                watching.cancel()
            finally:
                await asyncio.gather(*(one.stop() for one in connections))
                _end(self.process_ids)

    async def _watch_memory(self, started_s: float) -> None:
        rendezvous = Rendezvous([])
        while True:
            address = rendezvous.address()
            if address is not None:
                self.process_ids.add(address.process_id)
                resident = psutil.Process(address.process_id).memory_info().rss
                self.memory.append((time.perf_counter() - started_s, resident))
            await asyncio.sleep(_SAMPLE_S)


async def _type_all(run: TypingRun, work: Work) -> None:
    for place in work.places:
        if run.is_over:
            return
        copies = [work.copies / one.relative_to(work.folder) for one in place.related]
        related = [one for one in copies if one.is_file()][: run.plan.num_open]
        path = work.copies / place.path.relative_to(work.folder)
        await run.play(place.script, place.first_line, path, related)


def shared_totals(shared: SharedRun) -> dict[str, Any]:
    """Return what the editors had, one by one, and how evenly it was shared."""
    editors = [_editor(run) for run in shared.runs]
    # What is answered from memory takes some ten milliseconds, what the model computes
    # many times that: who was suggested more of which is no matter of fairness.
    medians = [one["computed_ms"] for one in editors if one["computed_ms"] is not None]
    every = [ms for run in shared.runs for ms in _answers_ms(run)]
    warm = [size for at_s, size in shared.memory if at_s >= _warm_from_s(shared)]
    return {
        "editors": editors,
        "requests": sum(one["requests"] for one in editors),
        "unanswered": sum(one["unanswered"] for one in editors),
        "slowest_to_fastest": max(medians) / min(medians) if medians else None,
        "median_ms": Samples(tuple(every)).median if every else None,
        "p95_ms": Samples(tuple(every)).at(0.95) if every else None,
        "engine_processes": len(shared.process_ids),
        "memory_bytes": {
            "warm": warm[0] if warm else None,
            "end": warm[-1] if warm else None,
            "growth": warm[-1] / warm[0] - 1 if warm else None,
        },
    }


def shared_summary(totals: dict[str, Any]) -> list[str]:
    """Return the same in sentences."""
    lines = [
        f"{len(totals['editors'])} editors, {totals['engine_processes']} engine "
        f"process: {totals['requests']} requests, {totals['unanswered']} unanswered",
        f"from key to answer: median {_ms(totals['median_ms'])}, "
        f"p95 {_ms(totals['p95_ms'])}; slowest editor's median of what the model "
        f"computed {totals['slowest_to_fastest'] or 0:.2f} times the fastest's",
    ]
    memory = totals["memory_bytes"]
    if memory["warm"]:
        lines.append(
            f"memory of the engine process: {memory['warm'] / 2**20:.0f} MiB warm, "
            f"{memory['end'] / 2**20:.0f} MiB at the end ({memory['growth']:+.1%})"
        )
    return lines + [
        f"editor {number}: {one['keys']} keys, {one['requests']} requests, "
        f"{one['shown']} suggestions, median {_ms(one['median_ms'])}, "
        f"p95 {_ms(one['p95_ms'])}, computed {_ms(one['computed_ms'])}"
        for number, one in enumerate(totals["editors"], 1)
    ]


def _editor(run: TypingRun) -> dict[str, Any]:
    pressed = _pressed(run)
    times = Samples(tuple(_answers_ms(run)))
    computed = Samples(tuple(_answers_ms(run, kind="computed")))
    return {
        "keys": len(pressed),
        "requests": sum(one.fate != "unasked" for one in pressed),
        "unanswered": sum(one.fate == "waiting" for one in pressed),
        "shown": sum(
            one.answer is not None and bool(one.answer.text) for one in pressed
        ),
        "median_ms": times.median if times else None,
        "p95_ms": times.at(0.95) if times else None,
        "computed_ms": computed.median if computed else None,
    }


def _pressed(run: TypingRun) -> list[Pressed]:
    return [one for sitting in run.sittings for one in sitting.pressed]


def _answers_ms(run: TypingRun, kind: str = "") -> Iterator[float]:
    """Yield the times to answers, of one kind or of all."""
    return (
        one.answer.ms
        for one in _pressed(run)
        if one.answer is not None and kind in ("", one.answer.kind)
    )


def _warm_from_s(shared: SharedRun) -> float:
    return _WARM_SHARE * shared.memory[-1][0] if shared.memory else 0.0


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


@contextmanager
def _runtime_folder() -> Iterator[None]:
    """Let the engine process be one of our own, not the user's."""
    name = "LSP_STABLECODE_RUNTIME"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(prefix="ls-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _end(process_ids: set[int]) -> None:
    """End the engine processes; their folder goes with them."""
    for process_id in process_ids:
        try:
            process = psutil.Process(process_id)
            process.terminate()
            process.wait(10)
        except psutil.Error:
            continue
