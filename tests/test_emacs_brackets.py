"""Ghost text in Emacs over closing brackets that it brings itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.editors.emacs import (
    LINE,
    NEXT,
    PREVIOUS,
    TAB,
    UNDO,
    WORD,
    Emacs,
)

pytest_plugins = ["tests.editors.emacs_fixtures"]
pytestmark = pytest.mark.editor

LEFT, DELETE = "\x02", "\x04"


@pytest.fixture
def pairing(emacs: Emacs) -> Iterator[Emacs]:
    """Let Emacs close what is opened."""
    emacs.lisp("(progn (electric-pair-mode 1) t)")
    yield emacs
    emacs.lisp("(progn (electric-pair-mode -1) t)")


def _open(emacs: Emacs, project: Path, before: str, after: str) -> None:
    """Visit a file with point between two texts, and nothing suggested."""
    emacs.open_copy(project / "shapes.py", before + after)
    emacs.lisp(
        "(progn (setq lsp-stablecode-automatic nil)"
        f" (goto-char {len(before) + 1}) (undo-boundary) t)"
    )


@pytest.mark.parametrize("is_covering_first", [True, False])
def test_each_alternative_has_a_range_of_its_own(
    emacs: Emacs, emacs_project: Path, is_covering_first: bool
) -> None:
    """What one covers, the next may leave."""
    items = [("b)", 1), ("a", 0)]
    if not is_covering_first:
        items.reverse()
    texts = {"b)": "foo(b)", "a": "foo(a)"}
    (first, _), (second, _) = items
    _open(emacs, emacs_project, "foo(", ")")
    emacs.show(*items)
    emacs.type(NEXT)
    emacs.wait_ghost(second)
    emacs.wait(lambda: texts[second] in emacs.terminal.text, "it looks as it would be")
    assert texts[second] + ")" not in emacs.terminal.text
    emacs.type(TAB)
    emacs.wait_text(texts[second])
    emacs.type(UNDO)
    emacs.wait_text("foo()")
    emacs.show(*items)
    emacs.type(NEXT)
    emacs.wait_ghost(second)
    emacs.type(PREVIOUS)
    emacs.wait_ghost(first)
    emacs.type(TAB)
    emacs.wait_text(texts[first])


@pytest.mark.parametrize(
    ("keys", "text", "accepted", "left"),
    [
        # The line brings the bracket.
        (LINE, "x):\n    pass", "x):", ""),
        # No word of these does.
        (WORD, "x):\n    pass", "x", ")"),
        (WORD + WORD, "f(x), y):\n    pass", "f(x", ")"),
        # The first word with it does, though others close brackets of theirs.
        (WORD + WORD, "x) and f(y):", "x) and", ""),
        (LINE, "\n    x,\n):", "\n    x,", ")"),
    ],
)
def test_a_part_that_brings_the_bracket_takes_it(
    emacs: Emacs, emacs_project: Path, keys: str, text: str, accepted: str, left: str
) -> None:
    """Neither twice nor never, whatever comes next; undone in one step."""
    _open(emacs, emacs_project, "if foo(", ")")
    emacs.show((text, 1))
    emacs.type(keys)
    emacs.wait_ghost(text.removeprefix(accepted))
    emacs.dismiss()
    buffer = emacs.wait_ghost("")
    assert (buffer.before, buffer.after) == ("if foo(" + accepted, left)


def test_undo_brings_the_bracket_back(emacs: Emacs, emacs_project: Path) -> None:
    """In the step of the part that took it, and the suggestion with it."""
    text = "x, y):\n    pass"
    _open(emacs, emacs_project, "if foo(", ")")
    emacs.show((text, 1))
    emacs.type(WORD)
    emacs.wait_ghost(", y):\n    pass")
    emacs.type(LINE)
    emacs.wait_ghost("\n    pass")
    assert emacs.buffer().text == "if foo(x, y):"
    emacs.type(UNDO)
    buffer = emacs.wait_ghost(", y):\n    pass")
    assert (buffer.before, buffer.after) == ("if foo(x", ")")
    emacs.type(UNDO)
    buffer = emacs.wait_ghost(text)
    assert (buffer.before, buffer.after) == ("if foo(", ")")
    emacs.type(TAB)
    emacs.wait_text("if foo(x, y):\n    pass")
    emacs.type(UNDO)
    assert emacs.wait_text("if foo()").after == ")"


def test_quotes_are_brackets_too(emacs: Emacs, emacs_project: Path) -> None:
    _open(emacs, emacs_project, 'print("', '")')
    emacs.show(('one", end="")', 2))
    emacs.type(WORD)
    emacs.wait_ghost('", end="")')
    emacs.type(WORD)
    emacs.wait_ghost('="")')
    buffer = emacs.buffer()
    assert (buffer.before, buffer.after) == ('print("one", end', ")")


def test_in_prose_an_apostrophe_is_none(emacs: Emacs, emacs_project: Path) -> None:
    _open(emacs, emacs_project, "# see (", ")")
    emacs.show(("it isn't 'so)", 1))
    emacs.type(TAB)
    emacs.wait_text("# see (it isn't 'so)")


def test_a_bracket_typed_beside_its_like_is_seen(
    emacs: Emacs, emacs_project: Path
) -> None:
    """What is hidden is only what the rest of the suggestion brings."""
    _open(emacs, emacs_project, "if foo(", ")")
    emacs.show(("x):\n    pass", 1))
    emacs.type("x")
    emacs.wait_ghost("):\n    pass")
    emacs.type(")")
    assert emacs.wait_text("if foo(x))").ghost == ""
    emacs.wait(lambda: "if foo(x))" in emacs.terminal.text, "it is on the screen")


def test_a_bracket_typed_over_its_like_stays_in_step(
    pairing: Emacs, emacs_project: Path
) -> None:
    emacs = pairing
    _open(emacs, emacs_project, "if foo(", ")")
    emacs.show(("x):\n    pass", 1))
    emacs.type("x")
    emacs.wait_ghost("):\n    pass")
    emacs.type(")")
    assert emacs.wait_ghost(":\n    pass").text == "if foo(x)"
    emacs.type(TAB)
    emacs.wait_text("if foo(x):\n    pass")


def test_brackets_that_emacs_adds_are_the_suggestions(
    pairing: Emacs, emacs_project: Path
) -> None:
    """Typing through nested ones, it is whole all the time, and asks for nothing."""
    emacs = pairing
    text = "a(b[0], {'c': d}))"
    _open(emacs, emacs_project, "foo(", ")")
    emacs.show((text, 1))
    requests = emacs.num_requests()
    with emacs.terminal.watched() as screens:
        for number, character in enumerate(text[:-1], 1):
            emacs.type(character)
            buffer = emacs.wait_ghost(text[number:])
            assert buffer.before == "foo(" + text[:number]
    for screen in screens:
        assert "foo(" + text in screen
    emacs.type(TAB)
    emacs.wait_text("foo(" + text)
    assert emacs.num_requests() == requests


def test_a_covered_bracket_can_be_deleted(emacs: Emacs, emacs_project: Path) -> None:
    _open(emacs, emacs_project, "foo(", ")")
    emacs.show(("x)", 1))
    emacs.type(DELETE)
    assert emacs.wait_text("foo(").ghost == "x)"
    emacs.type(TAB)
    emacs.wait_text("foo(x)")
