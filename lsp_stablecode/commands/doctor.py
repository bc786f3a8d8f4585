"""``doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
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

logger = logging.getLogger(__name__)

_GIB = 1024**3
_MOST_CHARACTERS = 500
# What decides whether a second copy would be the same.
_OF_THE_WEIGHTS = ("backend", "model", "device", "dtype")
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


def examine(
    settings: Settings, running: Sequence[Mapping[str, Any]] = ()
) -> list[Finding]:
    """Look at everything a completion needs, and make one; never raise.

    ``running`` are models of running engines, as their overview tells them: what one
    of them has ready is not loaded again.
    """
    looks: list[tuple[str, Iterator[Finding]]] = [
        ("system", _look_at_system()),
        ("weights here", _look_at_weights()),
    ]
    if settings.backend == "local" and any(_is_ready(one, settings) for one in running):
        ready = "a running engine has the model ready; it is not loaded again"
        looks.append(("engine", iter([Finding("engine", ready)])))
    else:
        looks.append(("model", _test_completion(settings)))
    findings: list[Finding] = []
    for subject, look in looks:
        try:
            findings.extend(look)
        except StablecodeError as error:
            findings.append(Finding(subject, error.message, error.hint, fatal=True))
        except Exception as error:
            # Whoever asks is looking for just that.
            logger.debug("unexpected", exc_info=True)
            text = f"{type(error).__name__}: {error}"[:_MOST_CHARACTERS]
            advice = "this is unexpected: --log-level debug says where it happens"
            findings.append(Finding(subject, text, advice, fatal=True))
    return findings


def _is_ready(running: Mapping[str, Any], settings: Settings) -> bool:
    """Tell whether a running engine has the weights that the settings ask for."""
    wanted, options = asdict(model_options(settings)), running["options"]
    return running["state"] == "ready" and all(
        options[name] == wanted[name] for name in _OF_THE_WEIGHTS
    )


def _look_at_system() -> Iterator[Finding]:
    environment = describe_environment()
    versions = ", ".join(
        f"{name} {version}" for name, version in environment.versions.items() if version
    )
    yield Finding("system", f"Python {environment.python} on {environment.platform}")
    yield Finding("versions", versions)
    yield Finding(
        "memory",
        f"{environment.memory_free_bytes / _GIB:.1f} of "
        f"{environment.memory_total_bytes / _GIB:.1f} GiB free, "
        f"{environment.cpu_threads} threads",
    )
    yield Finding("kernels", environment.kernels, environment.kernels_advice)
    yield from _gpu_findings(environment.gpus, environment.flash_attention)
    if environment.mps:
        yield Finding("GPU", "Apple GPU (mps)")


def _look_at_weights() -> Iterator[Finding]:
    here = [one.name for one in CATALOG if weights_present(one.name)]
    advice = (
        'pip install "lsp-stablecode[starter]", or '
        "lsp-stablecode models pull stable-code-3b"
    )
    yield Finding("weights here", ", ".join(here) or "none", "" if here else advice)


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


def _test_completion(settings: Settings) -> Iterator[Finding]:
    """Load the model the settings name and complete one line with it."""
    if settings.backend == "openai":
        for check in check_server(model_options(settings)):
            yield Finding(check.subject, check.text, check.advice)
    else:
        choice = choose_model(settings.model, settings.device)
        yield Finding("model", f"{choice.model}: {choice.reason}")
    started = time.perf_counter()
    with closing(load_with_progress(model_options(settings))) as engine:
        loaded_s = time.perf_counter() - started
        yield _describe_engine(engine, loaded_s)
        if settings.backend == "openai" and (tokens := check_tokens(engine)):
            yield Finding(tokens.subject, tokens.text, tokens.advice)
        started = time.perf_counter()
        query = Query(_TEST_PREFIX, "\n", 0, "python", explicit=False)
        outcome = generate(engine, query, settings)
        milliseconds = (time.perf_counter() - started) * 1000
    text = outcome.suggestions[0].text if outcome.suggestions else ""
    first_ms = outcome.statistics.prefill_ms
    yield Finding(
        "test",
        f"def add(a, b): return → {text!r} in {milliseconds:.0f} ms, "
        f"the first token after {first_ms:.0f} ms",
        "" if text else "the model suggested nothing; try another --model",
    )


def _describe_engine(engine: Engine, loaded_s: float) -> Finding:
    info = engine.info
    return Finding(
        "engine",
        f"{info.dtype} on {info.device}, {info.backend}, "
        f"{info.context_tokens} tokens of context, loaded in {loaded_s:.1f} s\n"
        + "\n".join(info.notes),
    )
