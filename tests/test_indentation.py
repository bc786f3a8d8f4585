"""The indentation that must come, told where it is certain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsp_stablecode.completion import from_memory, generate
from lsp_stablecode.documents import Document
from lsp_stablecode.indentation import in_unit, is_indented, lead_of
from lsp_stablecode.query import Query, make_query
from lsp_stablecode.settings import Settings
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.suggestions import Known, Suggested, SuggestionMemory
from model import Candidate, EngineInfo, FillRequest, FillResult, Statistics


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


# The editor's unit ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("\n    if x:\n        y", "\t", "\n\tif x:\n\t\ty"),
        ("\n    if x:\n        y", "  ", "\n  if x:\n    y"),
        ("\n\tif x:\n\t\ty", "    ", "\n    if x:\n        y"),
        ("\r\n  a\r\n    b\r\n", "\t", "\r\n\ta\r\n\t\tb\r\n"),
        # What remains beyond whole levels aligns.
        ("\n    f(a,\n      b)", "\t", "\n\tf(a,\n\t  b)"),
        ("\n    a\n\n    b", "\t", "\n\ta\n\n\tb"),
        # Nothing is indented; a single blank aligns.
        ("(x):", "\t", "(x):"),
        ("\nx = 1\n * y", "\t", "\nx = 1\n * y"),
        ("", "\t", ""),
    ],
)
def test_a_suggestion_in_the_editors_unit(text: str, unit: str, expected: str) -> None:
    """Level by level; each line end and all that is no indentation stays."""
    assert in_unit(text, unit, "python", at_line_start=False) == expected


def test_the_first_line_counts_where_it_begins_one() -> None:
    assert in_unit("    x", "\t", "python", at_line_start=True) == "\tx"
    assert in_unit("    x", "\t", "python", at_line_start=False) == "    x"


@pytest.mark.parametrize("language", ["makefile", "yaml", "markdown"])
def test_indentation_with_a_meaning_of_its_own_stays(language: str) -> None:
    assert in_unit("\n    x", "\t", language, at_line_start=False) == "\n    x"


@pytest.mark.parametrize(
    ("text", "indented"),
    [
        ("", False),
        ("def f():\n", False),
        ("/*\n * x\n */\n", False),
        ("x\n    y\n", True),
        ("x\r\ty", True),
        ("  x", True),
        ("x\n\t", True),
    ],
)
def test_what_says_how_it_is_indented(text: str, indented: bool) -> None:
    """Also a line of blanks only: the editor has indented there."""
    assert is_indented(text) == indented


class FourSpaces:
    """An engine that has only ever seen four spaces."""

    info = EngineInfo("four", "test", "cpu", "float32", 4096, ("psm",), 0.0)

    def count_tokens(self, text: str) -> int:
        return len(text)

    def fill(self, request: FillRequest, *_: object) -> FillResult:
        text = "\n    if x:\n        return x\n    return 1\n"
        if not request.prefix.endswith(":"):
            text = "return x"
        return FillResult((Candidate(text, "eos", 9, -0.01),), Statistics(), "psm")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        # Behind the header, and in column 0 below it.
        ("def f(x):", "\t", "\n\tif x:\n\t\treturn x\n\treturn 1"),
        ("def f(x):\n", "\t", "\treturn x"),
        ("def f(x):\n", "  ", "  return x"),
        # The document says otherwise, or the editor nothing.
        ("x = [\n    1,\n]\ndef f(x):\n", "\t", "    return x"),
        ("def f(x):\n", "", "    return x"),
    ],
)
def test_the_editors_unit_where_the_document_has_none(
    text: str, unit: str, expected: str
) -> None:
    """An empty or unindented document is indented as its editor does it."""
    document = Document("file:///a", "python", 1, text)
    place = document.position_at(len(text))
    query = make_query(document, *place, explicit=True, indent_unit=unit)
    outcome = generate(FourSpaces(), query, Settings(candidates=1))
    assert [one.text for one in outcome.suggestions] == [expected]
