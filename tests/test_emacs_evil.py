"""Ghost text beside Evil: in the states in which text is typed, with its keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.editors.emacs import ALONE, TAB, Emacs, documented_init
from tests.editors.emacs_install import emacs_with
from tests.editors.installing import NotInstallableError
from tests.editors.samples import SHAPES, make_project

pytestmark = pytest.mark.editor


@pytest.fixture
def emacs(tmp_path: Path) -> Iterator[Emacs]:
    try:
        installation = emacs_with("evil", "goto-chg")
    except NotInstallableError as error:
        pytest.skip(f"Emacs with Evil: {error}")
    emacs = Emacs(
        installation,
        init=documented_init("Install") + "(require 'evil) (evil-mode 1)",
        settings=ALONE,
        file=make_project(tmp_path) / "shapes.py",
    )
    try:
        emacs.wait_ready("shapes.py")
        yield emacs
    finally:
        emacs.close()


def test_dot_repeats_what_was_inserted(emacs: Emacs) -> None:
    """Not the keys, which would do something else where nothing is shown."""
    emacs.type("Go")
    emacs.wait_text(SHAPES + "\n    ")
    emacs.type("si")
    emacs.wait_ghost("ze = width * height")
    emacs.type(TAB)
    text = SHAPES + "\n    size = width * height"
    emacs.wait_text(text)
    emacs.type("\x1b")
    emacs.wait(lambda: emacs.lisp("evil-state") == "normal", "normal state")
    emacs.type(".")
    emacs.wait_text(text + "\n    size = width * height")
    emacs.type("u")
    emacs.wait_text(text)


def test_suggestions_are_for_insert_state(emacs: Emacs) -> None:
    emacs.type("Go")
    emacs.wait(lambda: emacs.lisp("evil-state") == "insert", "insert state")
    emacs.wait_text(SHAPES + "\n    ")
    emacs.type("si")
    emacs.wait_ghost("ze = width * height")
    emacs.type(TAB)
    text = SHAPES + "\n    size = width * height"
    emacs.wait_text(text)
    emacs.type("\x1b")
    emacs.wait(lambda: emacs.lisp("evil-state") == "normal", "normal state")
    assert emacs.buffer().ghost == ""
    requests = emacs.num_requests()
    emacs.type("x")
    emacs.wait_text(text[:-1])
    emacs.settle()
    assert emacs.num_requests() == requests
    assert emacs.buffer().ghost == ""
