"""The parts of the benchmarks' pictures: SVG without fonts or anything from elsewhere.

The demo's palette: GitHub's dark one, readable on a white page as on a black.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH = 760
TEXT = "#e6edf3"
ASIDE = "#8b949e"
MARK = "#ff7b72"
COLOURS = ("#7ee787", "#79c0ff", "#d2a8ff", "#d29922")

_BACKGROUND = "#0d1117"
_LEGEND_BOTTOM = 45


def page(label: str, height: int, body: Sequence[str]) -> str:
    """Return the whole picture, its label at the top."""
    head = [
        f'<svg viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg" '
        f'role="img" aria-label="{escape(label)}" font-size="11" '
        'font-family="Arial, Helvetica, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{_BACKGROUND}"/>',
        text(16, 24, label, TEXT, size=15),
    ]
    return "\n".join([*head, *body, "</svg>", ""])


def legend(colours: dict[str, str], mark: str = "") -> list[str]:
    """Return what the colours mean, and the mark, below the label."""
    parts = []
    left = 16
    for name, colour in colours.items():
        parts.append(bar(left, _LEGEND_BOTTOM - 9, 10, 10, colour))
        parts.append(text(left + 15, _LEGEND_BOTTOM, name, ASIDE))
        left += 35 + 7 * len(name)
    if mark:
        parts.append(bar(left + 2, _LEGEND_BOTTOM - 10, 1.5, 12, MARK))
        parts.append(text(left + 10, _LEGEND_BOTTOM, mark, ASIDE))
    return parts


def bar(left: float, top: float, width: float, height: float, colour: str) -> str:
    """Return a filled rectangle."""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{colour}"/>'
    )


def text(left: float, bottom: float, content: str, colour: str, size: int = 11) -> str:
    """Return a line of text."""
    return (
        f'<text x="{left:.1f}" y="{bottom:.1f}" fill="{colour}" font-size="{size}">'
        f"{escape(content)}</text>"
    )
