"""``bench``: how fast the engine and typing are, beside limits and peers."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from lsp_stablecode.bench.drafts import (
    QUICK_DRAFTS,
    DraftsPlan,
    infilling_gaps,
    measure_drafts,
    random_gaps,
)
from lsp_stablecode.bench.engine import QUICK_PLAN, EnginePlan, measure_engine
from lsp_stablecode.bench.field import PEERS, Advance, Wanted, started_peers
from lsp_stablecode.bench.keys import (
    QUICK_KEYS,
    KeysPlan,
    Typing,
    key_figures,
    key_totals,
    keys_json,
)
from lsp_stablecode.bench.machine import describe_machine
from lsp_stablecode.bench.picture import draw, save_picture
from lsp_stablecode.bench.report import Report
from lsp_stablecode.bench.scripts import (
    Script,
    make_script,
    read_text,
    standard_paths,
)
from lsp_stablecode.bench.show import drafts_summary, keys_summary, print_report
from lsp_stablecode.bench.start import measure_starts
from lsp_stablecode.bench.typing_picture import draw_typing
from lsp_stablecode.bench.typing_report import print_typing
from lsp_stablecode.commands.bench_typing import bench_shared, bench_typing
from lsp_stablecode.commands.console import load_with_progress, progress_bar
from lsp_stablecode.commands.infilling import check_writable
from lsp_stablecode.demo.picture import check_place
from lsp_stablecode.evaluation.client import start_server
from lsp_stablecode.settings import Settings, model_options, to_wire
from model import (
    BenchmarkError,
    ContextTooLargeError,
    Engine,
    OutOfMemoryError,
    PeerKind,
    Prompts,
    choose_model,
    choose_threads,
    engine_contender,
    measure_limits,
    peer_prompts,
)

_START_PROMPT_TOKENS = 512
# The prompt grows while it is typed, and windows are cut at whole lines.
_TYPING_ROOM_TOKENS = 128

_TABLE_COLUMNS = 132


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Measure, print and save; return the exit code. Raises ``StablecodeError``."""
    # Not after ten minutes of work.
    if options.json not in (None, "-"):
        check_writable(options.json)
    if options.picture:
        check_place(Path(options.picture))
    report = Report(options.kind, list(sys.argv), settings=to_wire(settings))
    report.machine = describe_machine()
    if options.quick:
        report.note("A short run: limits and figures are too rough to be quoted.")
    _KINDS[options.kind](options, settings, report)
    show, picture = (
        (print_typing, draw_typing)
        if options.kind in ("typing", "shared")
        else (print_report, draw)
    )
    show(report, _console(to_stderr=options.json == "-"))
    if options.json is not None:
        text = json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, "utf-8")
    if options.picture:
        save_picture(Path(options.picture), picture(report))
    return 0


def bench_engine(
    options: argparse.Namespace, settings: Settings, report: Report
) -> None:
    """Fill a report with the engine's figures, then with those of whole starts."""
    plan = QUICK_PLAN if options.quick else EnginePlan()
    if options.repetitions:
        plan = replace(plan, repetitions=options.repetitions)
    prompts = prompts_of(settings)
    engine = load_roomy(settings, plan.context_tokens)
    try:
        info = engine.info
        report.model = asdict(info)
        plan = plan.fitted(info.context_tokens, report)
        ours = engine_contender(engine)
        with _advancing("limits of this machine", 1) as advance:
            report.limits = measure_limits(
                info.device, ours.num_threads, quick=options.quick
            )
            advance()
        wanted = Wanted(
            kinds=peer_kinds(options),
            model=info.model,
            device=info.device,
            num_threads=ours.num_threads,
            context_tokens=plan.context_tokens,
            batch_tokens=options.llama_batch_tokens,
        )
        text = "\n".join(read_text(path) for path in standard_paths())
        token_ids = prompts.encode(text[: plan.context_tokens * 12])
        with (
            started_peers(wanted, report) as peers,
            _advancing("engine", plan.num_turns) as advance,
        ):
            contenders = [ours, *peers]
            report.introduce(contenders)
            measure_engine(contenders, plan, token_ids, report.limits, report, advance)
        ours.close()
    finally:
        engine.close()
    if not options.no_start:
        script = make_script(
            standard_paths()[0], prompts.count, _START_PROMPT_TOKENS, 1
        )
        repetitions = 1 if options.quick else plan.repetitions
        with _advancing("starts", repetitions) as advance:
            measure_starts(
                settings,
                wanted,
                script,
                prompts,
                report,
                repetitions=repetitions,
                cold=options.cold,
                advance=advance,
            )


def bench_keys(options: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Fill a report with what comes of typing."""
    plan = QUICK_KEYS if options.quick else KeysPlan()
    plan = replace(
        plan,
        batch_tokens=options.llama_batch_tokens,
        time_limit_ms=options.llama_time_limit,
        **{
            name: value
            for name in ("prompt_tokens", "characters", "card_every")
            if (value := getattr(options, name)) is not None
        },
    )
    report.settings["plan"] = asdict(plan)
    prompts = prompts_of(settings)
    paths = options.file or standard_paths()[: 1 if options.quick else None]
    scripts = [
        make_script(path, prompts.count, plan.prompt_tokens, plan.characters)
        for path in paths
        for _ in range(options.repetitions or 1)
    ]
    room = plan.prompt_tokens + _TYPING_ROOM_TOKENS + settings.max_new_tokens
    settings = replace(
        settings, context_tokens=settings.context_tokens or room, debounce_ms=0
    )
    asyncio.run(_type_all(scripts, settings, plan, prompts, options, report))


async def _type_all(
    scripts: Sequence[Script],
    settings: Settings,
    plan: KeysPlan,
    prompts: Prompts,
    options: argparse.Namespace,
    report: Report,
) -> None:
    async with start_server((), to_wire(settings)) as server:
        status = await server.wait_until_ready()
        report.model = status["engine"]
        wanted = Wanted(
            kinds=peer_kinds(options),
            model=report.model["model"],
            device=report.model["device"],
            num_threads=choose_threads(settings.threads),
            # Both habits at their longest: a full batch and all that is generated.
            context_tokens=max(plan.batch_tokens, plan.prompt_tokens) + 512,
            batch_tokens=plan.batch_tokens,
        )
        num_keys = sum(len(script.keys) for script in scripts)
        with (
            started_peers(wanted, report) as peers,
            _advancing("keys", num_keys) as advance,
        ):
            report.introduce(peers)
            typing = Typing(server.connection, peers, prompts, plan, report)
            for script in scripts:
                await typing.play(script, advance)
    totals = key_totals(typing.columns)
    report.figures += key_figures(typing.columns)
    report.details["scripts"] = [asdict(script) for script in scripts]
    report.details["totals"] = totals
    report.details["keys"] = keys_json(typing.columns)
    report.details["summary"] = keys_summary(totals)


def bench_drafts(
    options: argparse.Namespace, settings: Settings, report: Report
) -> None:
    """Fill a report with what guessing ahead gains."""
    plan = QUICK_DRAFTS if options.quick else DraftsPlan()
    if options.repetitions:
        plan = replace(plan, repetitions=options.repetitions)
    prompts = prompts_of(settings)
    engine = load_roomy(settings, plan.prompt_tokens * 2 + plan.new_tokens)
    try:
        report.model = asdict(engine.info)
        gaps = {
            "fill-in": infilling_gaps(plan),
            "random": random_gaps(prompts, plan),
        }
        num_turns = sum(map(len, gaps.values())) * plan.repetitions
        with _advancing("drafts", num_turns) as advance:
            measure_drafts(engine, gaps, plan, report, advance)
    finally:
        engine.close()
    report.details["summary"] = drafts_summary(report.details)


def prompts_of(settings: Settings) -> Prompts:
    """Return the tokenizer of the model that is measured.

    Raises ``BenchmarkError`` for the echo, which has none.
    """
    name = choose_model(settings.model, settings.device).model
    if name.partition(":")[0] == "echo":
        raise BenchmarkError(
            f"{name} computes nothing that could be measured.",
            hint="Name a real model after --model.",
        )
    return peer_prompts(name)


def load_roomy(settings: Settings, context_tokens: int) -> Engine:
    """Load a model with at least that context, where the user did not choose one.

    Where that is too much, with what is usual.
    """
    if settings.context_tokens is not None:
        return load_with_progress(model_options(settings))
    try:
        roomy = replace(settings, context_tokens=context_tokens)
        return load_with_progress(model_options(roomy))
    except (ContextTooLargeError, OutOfMemoryError):
        return load_with_progress(model_options(settings))


_KINDS = {
    "engine": bench_engine,
    "keys": bench_keys,
    "typing": bench_typing,
    "shared": bench_shared,
    "drafts": bench_drafts,
}


def peer_kinds(options: argparse.Namespace) -> tuple[PeerKind, ...]:
    """Return the peers that are asked for, all by default."""
    chosen = options.peer or PEERS
    return tuple(kind for kind in PEERS if kind in chosen)


def _console(*, to_stderr: bool) -> Console:
    """Return where the table goes; a file or pipe is as wide as the table."""
    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console.width = _TABLE_COLUMNS
    return console


@contextmanager
def _advancing(description: str, total: int) -> Iterator[Advance]:
    """Show a bar on standard error; its step is what is yielded."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)
        step: Callable[[], None] = lambda: progress.advance(task)  # noqa: E731
        yield step
