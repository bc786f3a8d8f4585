"""``bench typing``: real files typed through the real server at human speed."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lsp_stablecode.bench.report import Report
from lsp_stablecode.bench.shared_run import (
    SharedRun,
    Work,
    shared_summary,
    shared_totals,
)
from lsp_stablecode.bench.typing_places import Place, choose_places, copy_work
from lsp_stablecode.bench.typing_report import (
    typing_figures,
    typing_json,
    typing_summary,
    typing_totals,
)
from lsp_stablecode.bench.typing_run import TypingPlan, TypingRun
from lsp_stablecode.client.connection import Connection
from lsp_stablecode.commands.console import progress_bar
from lsp_stablecode.evaluation.client import Filler
from lsp_stablecode.settings import Settings, to_wire

_QUICK_KEYS = 60
# At least: a quick typist who accepts much. There may be places left over.
_CHARACTERS_A_KEY = 2
_KEYS_A_MINUTE = 400


def bench_typing(
    options: argparse.Namespace, settings: Settings, report: Report
) -> None:
    """Fill a report with what comes of typing at human speed."""
    plan = plan_from(options)
    # A benchmark teaches nobody's server what is accepted.
    settings = replace(
        settings, learn_from_use=False, context=settings.context and options.context
    )
    report.settings = to_wire(settings) | {"plan": asdict(plan)}
    folder, places = choose_places(
        options.path,
        language_id=options.language,
        seed=plan.seed,
        num_characters=_num_keys(plan) * _CHARACTERS_A_KEY,
    )
    with tempfile.TemporaryDirectory(prefix="typing-") as directory:
        work = Path(directory, folder.name or "work").resolve()
        work.mkdir()
        copy_work(folder, places, work)
        asyncio.run(_type_all(folder, places, work, plan, settings, report))
    report.details["summary"] = typing_summary(report.details["totals"])


def bench_shared(
    options: argparse.Namespace, settings: Settings, report: Report
) -> None:
    """Fill a report with what comes of several editors with one engine."""
    plan = plan_from(options)
    settings = replace(
        settings, learn_from_use=False, context=settings.context and options.context
    )
    plan_json = {**asdict(plan), "editors": options.editors}
    report.settings = to_wire(settings) | {"plan": plan_json}
    shared = SharedRun()
    with tempfile.TemporaryDirectory(prefix="typing-") as directory:
        works = [
            _work(options, replace(plan, seed=plan.seed + number), Path(directory))
            for number in range(options.editors)
        ]
        with progress_bar() as progress:
            task = progress.add_task("typing", total=None)
            asyncio.run(
                shared.play(
                    works, plan, to_wire(settings), lambda: progress.advance(task)
                )
            )
    report.model = shared.model
    sittings = [one for run in shared.runs for one in run.sittings]
    report.figures += typing_figures(sittings)
    report.details["totals"] = shared_totals(shared)
    report.details["memory"] = shared.memory
    report.details["summary"] = shared_summary(report.details["totals"])
    if not all(run.is_over for run in shared.runs):
        report.note("There was nothing left to type; the run is shorter than asked.")


def _work(options: argparse.Namespace, plan: TypingPlan, directory: Path) -> Work:
    """Choose one editor's places and copy its files."""
    folder, places = choose_places(
        options.path,
        language_id=options.language,
        seed=plan.seed,
        num_characters=_num_keys(plan) * _CHARACTERS_A_KEY,
    )
    copies = Path(directory, str(plan.seed), folder.name or "work").resolve()
    copies.mkdir(parents=True)
    copy_work(folder, places, copies)
    return Work(folder, copies, places)


def _num_keys(plan: TypingPlan) -> int:
    return plan.num_keys or int((plan.minutes or 0) * _KEYS_A_MINUTE * plan.speed)


def plan_from(options: argparse.Namespace) -> TypingPlan:
    """Return the plan that the options ask for."""
    plan = TypingPlan(
        seed=options.seed, speed=options.speed, num_open=max(0, options.open)
    )
    if options.minutes is not None:
        return replace(plan, num_keys=None, minutes=options.minutes)
    usual = _QUICK_KEYS if options.quick else plan.num_keys
    return replace(plan, num_keys=options.keys or usual)


async def _type_all(
    folder: Path,
    places: Sequence[Place],
    work: Path,
    plan: TypingPlan,
    settings: Settings,
    report: Report,
) -> None:
    connection = Connection(work, settings=to_wire(settings))
    try:
        await connection.start(())
        before = await Filler(connection).wait_until_ready()
        report.model = before["engine"]
        with progress_bar() as progress:
            task = progress.add_task("typing", total=plan.num_keys)
            run = TypingRun(connection, plan, lambda: progress.advance(task))
            for place in places:
                if run.is_over:
                    break
                copies = [work / one.relative_to(folder) for one in place.related]
                related = [one for one in copies if one.is_file()][: plan.num_open]
                path = work / place.path.relative_to(folder)
                await run.play(place.script, place.first_line, path, related)
        after = await connection.command("status")
    finally:
        await connection.stop()
    if not run.is_over:
        report.note("There was nothing left to type; the run is shorter than asked.")
    report.figures += typing_figures(run.sittings)
    report.details["totals"] = typing_totals(run.sittings, before, after)
    report.details["places"] = typing_json(run.sittings)
