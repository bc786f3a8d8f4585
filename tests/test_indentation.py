"""The indentation that must come, told where it is certain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsp_stablecode.completion import from_memory
from lsp_stablecode.indentation import lead_of
from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.suggestions import Known, Suggested, SuggestionMemory


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
        # What a docstring aligns is no level.
        (
            'def f():\n    """Say:\n       so\n    """\n    for a in b:\n',
            "\n        return\n",
            " " * 8,
        ),
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


@pytest.mark.parametrize("num_typed", range(8))
def test_typing_into_a_remembered_indentation(num_typed: int) -> None:
    """However much of the blanks is typed, the line ends up where it was shown."""
    head, tail = "def f(x):\n    if x:\n", "\n"
    text = "        return sum(x)"
    memory = SuggestionMemory()
    memory.remember("a", head, tail, (Suggested(text, "line", 0.5, "1.0"),), 1)
    query = Query(head + " " * num_typed, tail, 0, "python", False)
    known = memory.recall("a", query.prefix, query.suffix)
    assert known is not None
    outcome = from_memory(query, Settings(), known)
    assert outcome is not None
    [shown] = outcome.suggestions
    assert " " * num_typed + shown.text == text
    assert shown.origin == "1.0"


def test_asking_by_hand_is_more_than_a_remembered_silence() -> None:
    """What was withheld from somebody who typed is there for who asks."""
    query = Query("x = ", "\n", 0, "python", True)
    one = replace(Settings(), candidates=1)
    assert from_memory(query, one, Known((), 0, 1)) is None
    automatic = replace(query, explicit=False)
    assert from_memory(automatic, one, Known((), 0, 1)) is not None
