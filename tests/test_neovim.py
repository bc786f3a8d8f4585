"""Ghost text in a real Neovim: seen on its screen, typed into, accepted, undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.editors.neovim import Neovim
from tests.editors.neovim_editing import VARIANTS, Editing, Variant, start

pytestmark = pytest.mark.editor

_SIZE = "    size = width * height"
"""What the echo engine makes of a line that begins with it."""


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def editing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Editing]:
    variant: Variant = request.param
    with start(variant, tmp_path_factory.mktemp("neovim")) as one:
        yield one


@pytest.fixture
def neovim(editing: Editing) -> Neovim:
    """Open a fresh ``shapes.py``."""
    editing.open("shapes.py")
    return editing.neovim


def test_ghost_text_appears_behind_the_cursor(neovim: Neovim, editing: Editing) -> None:
    """On the screen, in its own colour, and not in the buffer."""
    neovim.type("Gosi")
    frame = neovim.see_ghost("ze = width * height")
    assert frame.row_with("size = width") == _SIZE
    assert frame.rows[frame.cursor[0]] == _SIZE
    assert frame.cursor[1] == len("    si")
    assert neovim.line == "    si"
    shown = neovim.until(
        lambda: editing.notifications("textDocument/didShowCompletion"),
        "it is reported",
    )
    assert [one["item"]["insertText"] for one in shown] == ["ze = width * height"]


def test_typing_into_ghost_text_shortens_it_without_flicker(neovim: Neovim) -> None:
    """In no frame does the line look otherwise than what it will be."""
    neovim.type("Gosi")
    start_s = neovim.see_ghost("ze = width * height").time_s
    typed = "    si"
    for character in "ze = width":
        neovim.type(character)
        typed += character
        neovim.see_ghost(_SIZE.removeprefix(typed))
    lines = {frame.row_with("    si") for frame in neovim.frames_since(start_s)}
    assert lines == {_SIZE}
    assert neovim.line == typed


def test_a_key_that_does_not_fit_ends_it_at_once(neovim: Neovim) -> None:
    """No frame shows the old ghost text behind another character."""
    neovim.type("Gosi")
    start_s = neovim.see_ghost("ze = width * height").time_s
    neovim.type("X")
    neovim.see(lambda frame: frame.row_with("    siX"), "the key")
    for frame in neovim.frames_since(start_s):
        assert not (frame.row_with("    siX") and frame.ghost), frame


def test_accepting_is_one_undo_step(neovim: Neovim, editing: Editing) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line(_SIZE)
    accepted = neovim.until(lambda: _num_accepted(editing), "the server knows")
    assert accepted == 1
    neovim.type("  # more<Esc>")
    neovim.see_line(f"{_SIZE}  # more")
    for expected in (_SIZE, "    si"):
        neovim.type("u")
        neovim.see_line(expected)
    neovim.type("<C-r>")
    neovim.see_line(_SIZE)


def _num_accepted(editing: Editing) -> Any:
    return editing.ask_server("status").get("accepted")
