"""A report as an SVG picture: bars, without fonts or anything else from elsewhere."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.show import number, share
from lsp_stablecode.errors import DocumentError

_WIDTH = 760
_LEFT = 210
_BAR_WIDTH = 380
_BAR_HEIGHT = 13
_GROUP_GAP = 12
_TOP = 64
# As the demo's picture: GitHub's dark palette, readable on a white page as on a black.
_BACKGROUND = "#0d1117"
_TEXT = "#e6edf3"
_ASIDE = "#8b949e"
_LIMIT = "#ff7b72"
_COLOURS = ("#7ee787", "#79c0ff", "#d2a8ff", "#d29922")


def save_picture(path: Path, report: Report) -> None:
    """Write the picture. Raises ``DocumentError`` where it cannot be written."""
    try:
        path.write_text(draw(report), "utf-8")
    except OSError as error:
        raise DocumentError(
            f"The picture cannot be written to {path} ({error.strerror}).",
            hint="Name another file after --picture.",
        ) from error


def draw(report: Report) -> str:
    """Return the picture: a group of bars for each figure, scaled to its longest."""
    figures = [one for one in report.figures if any(one.samples.values())]
    names = list(dict.fromkeys(name for one in figures for name in one.samples))
    colours = {
        name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)
    }
    body: list[str] = []
    top = _TOP
    for figure in figures:
        group, height = _group(figure, colours, top)
        body += group
        top += height + _GROUP_GAP
    height = top + 12
    label = f"lsp-stablecode bench {report.benchmark}"
    head = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg" '
        f'role="img" aria-label="{escape(label)}" font-size="11" '
        'font-family="Arial, Helvetica, sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_BACKGROUND}"/>',
        _text(16, 24, label, _TEXT, size=15),
        *_legend(colours, any(one.limits for one in figures)),
    ]
    return "\n".join([*head, *body, "</svg>", ""])


def _legend(colours: dict[str, str], has_limits: bool) -> list[str]:
    parts = []
    left = 16
    for name, colour in colours.items():
        parts.append(
            f'<rect x="{left}" y="36" width="10" height="10" fill="{colour}"/>'
        )
        parts.append(_text(left + 15, 45, name, _ASIDE))
        left += 35 + 7 * len(name)
    if has_limits:
        parts.append(_limit_mark(left + 2, 35, 12))
        parts.append(_text(left + 10, 45, "this machine's limit for ours", _ASIDE))
    return parts


def _group(figure: Figure, colours: dict[str, str], top: int) -> tuple[list[str], int]:
    """Return a figure's bars and their height."""
    present = {name: one for name, one in figure.samples.items() if one}
    limit = figure.limits.get(OURS)
    longest = max([one.median for one in present.values()] + [limit or 0.0]) or 1.0
    parts = [
        _text(16, top + 10, figure.title, _TEXT),
        _text(16, top + 23, _goal(figure), _ASIDE, size=9),
    ]
    at = top
    for name, samples in present.items():
        width = max(1.0, samples.median / longest * _BAR_WIDTH)
        parts.append(
            f'<rect x="{_LEFT}" y="{at}" width="{width:.1f}" '
            f'height="{_BAR_HEIGHT - 2}" fill="{colours[name]}"/>'
        )
        end = width
        if name == OURS and limit is not None:
            end = max(width, limit / longest * _BAR_WIDTH)
        parts.append(
            _text(_LEFT + end + 6, at + 10, _value(figure, name), _TEXT, size=10)
        )
        at += _BAR_HEIGHT
    if limit is not None:
        place = _LEFT + limit / longest * _BAR_WIDTH
        parts.append(_limit_mark(place, top - 1, at - top))
    return parts, max(at - top, 2 * _BAR_HEIGHT)


def _goal(figure: Figure) -> str:
    if not figure.is_compared:
        return figure.unit
    return f"{figure.unit}, {'more' if figure.higher_is_better else 'less'} is better"


def _value(figure: Figure, name: str) -> str:
    """Return what stands beside a bar."""
    text = number(figure.samples[name].median)
    of_limit = figure.share_of_limit(name)
    faster = figure.speedup_over(name)
    if name == OURS and of_limit is not None:
        text += f" ({share(of_limit)} of the limit)"
    if faster is not None:
        text += f" (ours {faster.of_medians:.2f}x)"
    return text


def _limit_mark(left: float, top: float, height: float) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top}" width="1.5" height="{height}" '
        f'fill="{_LIMIT}"/>'
    )


def _text(left: float, bottom: float, text: str, colour: str, size: int = 11) -> str:
    return (
        f'<text x="{left:.1f}" y="{bottom}" fill="{colour}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
