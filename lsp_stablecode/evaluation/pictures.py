"""A report's pictures: SVG to stand inside a page, whose style sheet colours them.

Paths are told apart by shade and by an outline or a dash too, not by hue alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Groups = Mapping[str, Mapping[str, float]]
"""A value of 0 to 1 for each group's name and each path's."""

_WIDTH = 640
_LEFT = 150
_BAR_WIDTH = 400
_BAR_HEIGHT = 12
_GROUP_GAP = 8
_SIDE = 300
_MARGIN = 46
_NUM_BUCKETS = 10
_TICKS_MS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)


def bars(title: str, groups: Groups) -> str:
    """Return bars side by side, one group below the other, with their values."""
    longest = max((abs(v) for one in groups.values() for v in one.values()), default=0)
    parts: list[str] = []
    top = 6
    for name, values in groups.items():
        middle = top + len(values) * _BAR_HEIGHT / 2 + 4
        parts.append(_text(_LEFT - 8, middle, name, anchor="end"))
        for path, value in values.items():
            width = max(1.0, max(0.0, value) / (longest or 1) * _BAR_WIDTH)
            parts.append(
                f'<rect class="bar {escape(path)}" x="{_LEFT}" y="{top}" '
                f'width="{width:.1f}" height="{_BAR_HEIGHT - 2}"/>'
            )
            label = f"{value * 100:.1f} %"
            parts.append(_text(_LEFT + width + 6, top + 9, label, kind="aside"))
            top += _BAR_HEIGHT
        top += _GROUP_GAP
    return _svg(title, _WIDTH, top, parts)


def reliability(title: str, judged: Sequence[tuple[float, bool]]) -> str:
    """Return how often suggestions were right, against how sure the server was.

    A circle's area is the share of suggestions in its bucket; on the diagonal the
    confidence is what it says.
    """
    buckets: list[list[tuple[float, bool]]] = [[] for _ in range(_NUM_BUCKETS)]
    for confidence, is_right in judged:
        index = min(_NUM_BUCKETS - 1, max(0, int(confidence * _NUM_BUCKETS)))
        buckets[index].append((confidence, is_right))
    parts = _axes("the server's confidence", "share that was right")
    x0, y0 = _point(0, 0)
    x1, y1 = _point(1, 1)
    parts.append(f'<path class="ideal" d="M{x0} {y0}L{x1} {y1}"/>')
    for bucket in filter(None, buckets):
        right = sum(is_right for _, is_right in bucket) / len(bucket)
        x, y = _point(sum(c for c, _ in bucket) / len(bucket), right)
        radius = 3 + 22 * math.sqrt(len(bucket) / len(judged))
        parts.append(
            f'<circle class="bar server" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{len(bucket)} suggestions, {right:.0%} right</title></circle>"
        )
        parts.append(_text(x, y + 3, str(len(bucket)), anchor="middle", kind="on"))
    return _svg(title, _SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN, parts)


def calibration_error(judged: Sequence[tuple[float, bool]]) -> float:
    """Return the mean distance of confidence and share right over ten buckets."""
    buckets: dict[int, list[tuple[float, bool]]] = {}
    for one in judged:
        buckets.setdefault(min(_NUM_BUCKETS - 1, int(one[0] * 10)), []).append(one)
    return sum(
        abs(sum(confidence for confidence, _ in one) - sum(right for _, right in one))
        for one in buckets.values()
    ) / len(judged)


def latencies(title: str, times_ms: Mapping[str, Sequence[float]]) -> str:
    """Return which share of the answers came within which time, a line for a path."""
    every = [max(1.0, one) for times in times_ms.values() for one in times]
    low, high = math.log10(min(every)), math.log10(max(every) * 1.05)
    span = max(high - low, 0.1)
    parts = _axes("milliseconds", "share of answers")
    for tick in _TICKS_MS:
        share = (math.log10(tick) - low) / span
        if 0 <= share <= 1:
            x, y = _point(share, 0)
            parts.append(f'<path class="axis" d="M{x:.1f} {y}v5"/>')
            label = f"{tick // 1000}k" if tick >= 1000 else str(tick)
            parts.append(_text(x, y + 16, label, anchor="middle", kind="aside"))
    for path, times in times_ms.items():
        points = []
        for number, one in enumerate(sorted(times), 1):
            share = (math.log10(max(1.0, one)) - low) / span
            x, y = _point(share, number / len(times))
            points.append(f"{x:.1f} {y:.1f}")
        parts.append(f'<path class="line {escape(path)}" d="M{"L".join(points)}"/>')
    return _svg(title, _SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN, parts)


def _axes(below: str, beside: str) -> list[str]:
    left, bottom = _point(0, 0)
    right, top = _point(1, 1)
    parts = [f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = _point(0, share)
        parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
        parts.append(_text(left - 5, y + 4, f"{share:.0%}", anchor="end", kind="aside"))
    middle = (left + right) / 2
    parts.append(_text(middle, bottom + 34, below, anchor="middle", kind="aside"))
    parts.append(_text(left, top - 12, beside, kind="aside"))
    return parts


def _point(x: float, y: float) -> tuple[float, float]:
    """Return where a point of the unit square stands."""
    return _MARGIN + x * _SIDE, _MARGIN + (1 - y) * _SIDE


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    return "\n".join([head, *parts, "</svg>"])


def _text(
    left: float, bottom: float, text: str, *, anchor: str = "start", kind: str = "label"
) -> str:
    return (
        f'<text class="{kind}" x="{left:.1f}" y="{bottom:.1f}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
