"""A report for people: one table, each figure beside its limit and the peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples, Speedup

_GIB = 1024**3


def print_report(report: Report, console: Console) -> None:
    """Print everything but single samples."""
    for line in headings(report):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()
    console.print(figures_table(report.figures))
    for line in report.details.get("summary", ()):
        console.print(line, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(Text(f"Note: {note}", "yellow"), soft_wrap=True)


def headings(report: Report) -> list[str]:
    """Return the lines above the table: the machine, the model, the limits."""
    machine = report.machine
    memory = machine["memory_total_bytes"] / _GIB
    lines = [
        f"{machine['processor']}, {machine['cpu_threads']} threads, "
        f"{memory:.0f} GiB, load {_join(machine['load_average'])}"
    ]
    if report.model:
        model = report.model
        lines.append(
            f"{model['model']}: {model['backend']}, {model['dtype']} on "
            f"{model['device']}, {model['context_tokens']} tokens of context"
        )
    if report.limits is not None:
        rates = ", ".join(
            f"{name} {gops:,.0f}" for name, gops in report.limits.matrix_gops.items()
        )
        lines.append(
            f"limits: {report.limits.read_gb_per_s:.1f} GB/s read; products in "
            f"10⁹ operations/s: {rates}"
        )
    lines += [
        f"{name}: {one['description']}"
        for name, one in report.contenders.items()
        if name != OURS
    ]
    return lines


def figures_table(figures: Sequence[Figure]) -> RenderableType:
    """Return the table: our median and spread, its share of the limit, the peers.

    ``gain`` is how many times as good we are, in turns compared one by one.
    """
    others = list(
        dict.fromkeys(
            name
            for figure in figures
            for name, samples in figure.samples.items()
            if samples and name != OURS
        )
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("figure", no_wrap=True)
    for name in ("median", "p10-p90", "p95", "of limit"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("gain", justify="right", no_wrap=True)
    for figure in figures:
        cells = [f"{figure.title}, {figure.unit}", *spread(figure.samples.get(OURS))]
        cells.append(share(figure.share_of_limit(OURS)))
        for name in others:
            theirs = figure.samples.get(name)
            cells.append(number(theirs.median) if theirs else "")
            cells.append(times(figure.speedup_over(name)))
        table.add_row(*cells)
    return table


def keys_summary(totals: dict[str, Any]) -> list[str]:
    """Return a line for each contender: what kinds its answers were."""
    lines = []
    for name, one in totals.items():
        line = (
            f"{name}: {one['keys']} keys, {one['computed']} computed, "
            f"{one['type_through']} typed through, {one['empty']} empty"
        )
        if one["drafted_tokens"]:
            line += (
                f"; drafts accepted {one['accepted_tokens']} of "
                f"{one['drafted_tokens']} ({one['acceptance']:.0%})"
            )
        if one["p95_by_median"]:
            line += f"; p95 is {one['p95_by_median']:.1f} times the median"
        lines.append(line)
    return lines


def drafts_summary(details: dict[str, Any]) -> list[str]:
    """Return a line for each kind of text."""
    lines = []
    for kind, one in details.items():
        sums = one["totals"]
        acceptance = sums["acceptance"]
        accepted = f", {acceptance:.0%} accepted" if acceptance is not None else ""
        line = (
            f"{kind}: {sums['speedup'] or 0:.2f} times as fast with drafts; "
            f"{sums['generated_tokens']} tokens in {sums['forwards']} passes, the "
            f"prompts' own included, "
            f"{sums['drafted_tokens']} drafted{accepted}; "
            f"{sums['same_text']} of {sums['prompts']} texts the same"
        )
        if missed := sums["prompts_without_accepted"]:
            line += (
                f"; {sums['speedup_without_accepted'] or 0:.2f} times as fast in the "
                f"{missed} where no draft was right"
            )
        lines.append(line)
    return lines


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def share(value: float | None) -> str:
    """Return a share in percent."""
    return "" if value is None else f"{value:.0%}"


def times(value: Speedup | None) -> str:
    """Return a speed-up by pairs where there are any, else of medians."""
    if value is None:
        return ""
    factor = value.of_medians if value.of_pairs is None else value.of_pairs
    return f"{factor:.2f}x"


def spread(samples: Samples | None) -> list[str]:
    """Return median, p10 to p90, and p95."""
    if not samples:
        return ["", "", ""]
    return [
        number(samples.median),
        f"{number(samples.at(0.1))}-{number(samples.at(0.9))}",
        number(samples.at(0.95)),
    ]


def _join(values: Sequence[float]) -> str:
    return " ".join(str(one) for one in values) or "unknown"
