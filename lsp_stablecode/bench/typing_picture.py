"""The picture of ``bench typing``: how soon suggestions came, and what they saved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lsp_stablecode.bench.report import OURS, Report
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.show import number
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

_LEFT = 40
_RIGHT = 720
_TOP = 80
_BOTTOM = 230
_LEAST_MS, _MOST_MS = 1.0, 4096.0
_NUM_BINS = 48
_SHARES_TOP = 290
_SHARES_LEFT = 270
_SHARES_WIDTH = 380


def draw_typing(report: Report) -> str:
    """Return the picture: times on a logarithmic scale, and shares as bars."""
    samples = {one.key: one.samples[OURS] for one in report.figures}
    columns = {
        "from memory": samples["key-memory"],
        "computed": samples["key-computed"],
    }
    colours = dict(zip(columns, COLOURS, strict=False))
    totals = report.details["totals"]
    body = legend(colours, "p50, p90 and p99 of all")
    body += _histogram(columns, colours)
    body += _marks(samples["key"])
    shares = {
        "keys with a suggestion before the next": totals["shown_share"],
        "answers without the model": totals["from_memory_share"],
        "prompt reused, median": totals["reuse_median"],
        "keys saved": totals["keys_saved_share"],
        "requests given up": _given_up(totals),
    }
    top = _SHARES_TOP
    for name, value in shares.items():
        body += _share_bar(name, value, top)
        top += 22
    label = f"lsp-stablecode bench typing: {totals['keys']} keys"
    return page(label, top + 10, body)


def _histogram(columns: dict[str, Samples], colours: dict[str, str]) -> list[str]:
    """Return stacked counts of keys by their time."""
    counts = {
        name: Counter(_bin(value) for value in samples.present)
        for name, samples in columns.items()
    }
    sums = [sum(one[place] for one in counts.values()) for place in range(_NUM_BINS)]
    highest = max(sums) or 1
    width = (_RIGHT - _LEFT) / _NUM_BINS
    parts = [text(_LEFT, _TOP - 12, f"keys, at most {highest} in a step", ASIDE, 9)]
    for place in range(_NUM_BINS):
        bottom = float(_BOTTOM)
        for name, one in counts.items():
            height = one[place] / highest * (_BOTTOM - _TOP)
            if height:
                bottom -= height
                left = _LEFT + place * width
                parts.append(bar(left, bottom, width - 1, height, colours[name]))
    parts.append(bar(_LEFT, _BOTTOM, _RIGHT - _LEFT, 1, ASIDE))
    for power in range(0, 13, 2):
        left = _place(2.0**power)
        parts.append(text(left, _BOTTOM + 15, f"{2**power:,} ms", ASIDE, 9))
    return parts


def _marks(samples: Samples) -> list[str]:
    parts: list[str] = []
    for row, one in enumerate((0.5, 0.9, 0.99) if samples else ()):
        left = _place(samples.at(one))
        parts.append(bar(left, _TOP - 4, 1.5, _BOTTOM - _TOP + 4, MARK))
        name = f"p{round(100 * one)} {number(samples.at(one))} ms"
        parts.append(text(left + 4, _TOP + 6 + 12 * row, name, TEXT, 10))
    return parts


def _share_bar(name: str, value: float | None, top: int) -> Sequence[str]:
    parts = [text(16, top + 10, name, TEXT)]
    if value is not None:
        width = max(1.0, min(1.0, value) * _SHARES_WIDTH)
        parts.append(bar(_SHARES_LEFT, top, width, 11, COLOURS[2]))
        parts.append(text(_SHARES_LEFT + width + 6, top + 10, f"{value:.1%}", TEXT, 10))
    return parts


def _given_up(totals: dict[str, Any]) -> float | None:
    requests = totals["requests"]
    given_up: int = requests["superseded"] + requests["cancelled"] + requests["late"]
    sent: int = requests["sent"]
    return given_up / sent if sent else None


def _scale(ms: float) -> float:
    """Return a time's place on the scale, 0 to 1."""
    bounded = min(max(ms, _LEAST_MS), _MOST_MS)
    return math.log(bounded / _LEAST_MS) / math.log(_MOST_MS / _LEAST_MS)


def _bin(ms: float) -> int:
    return min(_NUM_BINS - 1, int(_scale(ms) * _NUM_BINS))


def _place(ms: float) -> float:
    return _LEFT + _scale(ms) * (_RIGHT - _LEFT)
