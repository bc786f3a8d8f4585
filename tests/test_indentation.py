"""The indentation that must come, told where it is certain."""

from __future__ import annotations

import pytest

from lsp_stablecode.indentation import lead_of
from lsp_stablecode.shape import decide_shape


@pytest.mark.parametrize(
    ("prefix", "suffix", "lead"),
    [
        ("def f(x):\n    if x:\n", "\n", " " * 8),
        ("def f(x):\n  if x:\n", "\n", "    "),
        ("class A:\n\tdef f(x):\n", "\n", "\t\t"),
        ("def f(x):\n", "\n    return 1\n", "    "),
        # The missing line is the header of what is below, deeper than the body.
        ("def f(x):\n", "\n        return 1\n    return 2\n", "    "),
        ("def f():\n    for a in b:\n        c(a,\n          d)\n", "\n", ""),
        ("def f(x):\r\n    if x:\r\n", "\r\n", " " * 8),
        # An editor has indented, or nothing opens a body, or the line is begun.
        ("def f():\n    ", "\n", ""),
        ("x = 1\n", "\n", ""),
        ("def f():", "\n", ""),
        ("def f():\n", "x = 1\n", ""),
        ("", "", ""),
    ],
)
def test_lead(prefix: str, suffix: str, lead: str) -> None:
    """One level below the header, in the document's own unit."""
    shape = decide_shape(prefix, suffix, "python", "auto")
    assert lead_of(prefix, suffix, shape) == lead


def test_braces_need_none() -> None:
    """Where indentation is no syntax nothing is forced."""
    shape = decide_shape("void f() {\n", "\n}\n", "c", "auto")
    assert lead_of("void f() {\n", "\n}\n", shape) == ""
