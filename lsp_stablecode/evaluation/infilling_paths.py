"""The two paths to an infilled text: the server over stdio, and the raw model.

Both get the same tasks, prompt order and token limit, greedily. The raw model's text
is left as it is, but for lines: those are cut at their end, which it cannot know of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.progress import Progress

from lsp_stablecode.evaluation.client import Trigger, start_server
from lsp_stablecode.evaluation.humaneval import InfillingTask
from lsp_stablecode.settings import Settings, model_options, to_wire
from model import Cut, FillRequest, ProgressCallback, StopRule, load_engine

PathName = Literal["server", "raw"]
Advance = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """What one path made of a task: the text inserted, and the source with it.

    ``outcome`` is the server's own name for it, or why the raw model stopped.
    """

    task: InfillingTask
    inserted: str
    source: str
    outcome: str
    shape: str
    fim_order: str
    num_tokens: int
    elapsed_ms: float


async def fill_with_server(
    tasks: Sequence[InfillingTask],
    settings: Settings,
    trigger: Trigger,
    arguments: Sequence[str],
    progress: Progress,
) -> tuple[dict[str, Any], list[Filled]]:
    """Ask a server over stdio, one task after the other; also return its model."""
    filled = []
    async with start_server(arguments, to_wire(settings)) as server:
        loading = progress.add_task("server: loading the model", total=None)
        status = await server.wait_until_ready()
        progress.remove_task(loading)
        advance = counter(progress, "server: completing", len(tasks))
        for task in tasks:
            uri = f"file:///{task.task_id}.py"
            answer = await server.fill(uri, task.prefix, task.suffix, trigger)
            said = answer.explanation
            shape = said.get("shape") or {}
            costs = said.get("statistics") or {}
            filled.append(
                Filled(
                    task=task,
                    inserted=answer.inserted,
                    source=answer.text,
                    outcome=said.get("outcome", "unknown"),
                    shape=f"{shape['kind']}: {shape['reason']}" if shape else "",
                    fim_order=said.get("fimOrder", ""),
                    num_tokens=costs.get("generated_tokens", 0),
                    elapsed_ms=answer.elapsed_ms,
                )
            )
            advance()
    return status.get("engine") or {}, filled


def fill_with_model(
    tasks: Sequence[InfillingTask],
    settings: Settings,
    stop_rule: StopRule | None,
    progress: Progress,
    report_loading: ProgressCallback,
) -> tuple[dict[str, Any], list[Filled]]:
    """Ask the engine in this process, with that rule or none; also return its model.

    Raises ``StablecodeError``.
    """
    engine = load_engine(model_options(settings), report_loading)
    filled = []
    try:
        advance = counter(progress, "raw model: completing", len(tasks))
        for task in tasks:
            request = FillRequest(
                prefix=task.prefix,
                suffix=task.suffix,
                max_new_tokens=settings.max_new_tokens,
                fim_order=settings.fim_order,
                stop_rule=stop_rule,
            )
            started = time.perf_counter()
            result = engine.fill(request)
            elapsed_ms = (time.perf_counter() - started) * 1000
            best = result.candidates[0]
            filled.append(
                Filled(
                    task=task,
                    inserted=best.text,
                    source=task.prefix + best.text + task.suffix,
                    outcome=best.finish_reason,
                    shape="",
                    fim_order=result.fim_order,
                    num_tokens=result.statistics.generated_tokens,
                    elapsed_ms=elapsed_ms,
                )
            )
            advance()
        return asdict(engine.info), filled
    finally:
        engine.close()


def stop_at_line_end(text: str) -> Cut | None:
    """Cut at the first line end after text that is not blank."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return Cut(end, "line") if end >= 0 and start < len(text) else None


def counter(progress: Progress, description: str, total: int) -> Advance:
    """Add a bar for ``total`` things in place of the others; return its step."""
    for one in progress.task_ids:
        progress.remove_task(one)
    task = progress.add_task(description, total=total)
    return lambda: progress.advance(task)
