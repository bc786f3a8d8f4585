"""A report as an SVG picture: a group of bars for each figure."""

from __future__ import annotations

from pathlib import Path

from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.show import number, share
from lsp_stablecode.bench.svg import (
    ASIDE,
    COLOURS,
    MARK,
    TEXT,
    bar,
    legend,
    page,
    text,
)
from lsp_stablecode.errors import DocumentError

_LEFT = 210
_BAR_WIDTH = 380
_BAR_HEIGHT = 13
_GROUP_GAP = 12
_TOP = 64


def save_picture(path: Path, svg: str) -> None:
    """Write a picture. Raises ``DocumentError`` where it cannot be written."""
    try:
        path.write_text(svg, "utf-8")
    except OSError as error:
        raise DocumentError(
            f"The picture cannot be written to {path} ({error.strerror}).",
            hint="Name another file after --picture.",
        ) from error


def draw(report: Report) -> str:
    """Return the picture: a group of bars for each figure, scaled to its longest."""
    figures = [one for one in report.figures if any(one.samples.values())]
    names = list(dict.fromkeys(name for one in figures for name in one.samples))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    has_limits = any(one.limits for one in figures)
    body = legend(colours, "this machine's limit for ours" if has_limits else "")
    top = _TOP
    for figure in figures:
        group, height = _group(figure, colours, top)
        body += group
        top += height + _GROUP_GAP
    return page(f"lsp-stablecode bench {report.benchmark}", top + 12, body)


def _group(figure: Figure, colours: dict[str, str], top: int) -> tuple[list[str], int]:
    """Return a figure's bars and their height."""
    present = {name: one for name, one in figure.samples.items() if one}
    limit = figure.limits.get(OURS)
    longest = max([one.median for one in present.values()] + [limit or 0.0]) or 1.0
    parts = [
        text(16, top + 10, figure.title, TEXT),
        text(16, top + 23, _goal(figure), ASIDE, size=9),
    ]
    at = top
    for name, samples in present.items():
        width = max(1.0, samples.median / longest * _BAR_WIDTH)
        parts.append(bar(_LEFT, at, width, _BAR_HEIGHT - 2, colours[name]))
        end = width
        if name == OURS and limit is not None:
            end = max(width, limit / longest * _BAR_WIDTH)
        value = _value(figure, name)
        parts.append(text(_LEFT + end + 6, at + 10, value, TEXT, size=10))
        at += _BAR_HEIGHT
    if limit is not None:
        place = _LEFT + limit / longest * _BAR_WIDTH
        parts.append(bar(place, top - 1, 1.5, at - top, MARK))
    return parts, max(at - top, 2 * _BAR_HEIGHT)


def _goal(figure: Figure) -> str:
    if not figure.is_compared:
        return figure.unit
    return f"{figure.unit}, {'more' if figure.higher_is_better else 'less'} is better"


def _value(figure: Figure, name: str) -> str:
    """Return what stands beside a bar."""
    value = number(figure.samples[name].median)
    of_limit = figure.share_of_limit(name)
    faster = figure.speedup_over(name)
    if name == OURS and of_limit is not None:
        value += f" ({share(of_limit)} of the limit)"
    if faster is not None:
        value += f" (ours {faster.of_medians:.2f}x)"
    return value
