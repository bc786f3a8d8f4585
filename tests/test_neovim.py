"""Ghost text in a real Neovim: seen on its screen, typed into, accepted, undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.editors.neovim import Frame, Neovim
from tests.editors.neovim_editing import (
    VARIANTS,
    VERSIONS,
    Editing,
    editing_in,
)
from tests.editors.samples import NUM_LONG_LINES

pytestmark = pytest.mark.editor

_SIZE = "    size = width * height"
"""What the echo engine makes of a line that begins with it."""
_PRINT = '    print("the area is", size)'
_AREA = [
    "def area(width, height):",
    '    """Return the area of a rectangle."""',
    _SIZE,
    _PRINT,
    "    return size",
]


editing = editing_in(VARIANTS)


@pytest.fixture
def neovim(editing: Editing) -> Neovim:
    """Open a fresh ``shapes.py``."""
    editing.open("shapes.py")
    return editing.neovim


@pytest.fixture
def blocks(editing: Editing) -> Iterator[Neovim]:
    """Open a fresh ``shapes.py``; the server suggests blocks wherever it can."""
    editing.change_settings(multiLine="always")
    editing.open("shapes.py")
    yield editing.neovim
    editing.change_settings()


def test_ghost_text_appears_behind_the_cursor(neovim: Neovim, editing: Editing) -> None:
    """On the screen, in its own colour, and not in the buffer."""
    neovim.type("Gosi")
    frame = neovim.see_ghost("ze = width * height")
    assert frame.rows[frame.cursor[0]] == _SIZE
    assert frame.cursor[1] == len("    si")
    assert neovim.line == "    si"
    shown = neovim.until(
        lambda: editing.notifications("textDocument/didShowCompletion"), "it is told"
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


def test_backspace_gives_back_what_was_typed(neovim: Neovim) -> None:
    neovim.type("Gosize")
    neovim.see_ghost(" = width * height")
    neovim.type("<BS><BS>")
    neovim.see_ghost("ze = width * height")
    neovim.type("<BS>")
    neovim.see_ghost("ize = width * height")


def test_leaving_insert_mode_takes_it_away(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Esc>")
    neovim.see_ghost()
    neovim.type("A")
    neovim.see_ghost("ze = width * height")


def test_moving_the_cursor_away_takes_it_away(neovim: Neovim) -> None:
    neovim.type("Gosi")
    start_s = neovim.see_ghost("ze = width * height").time_s
    neovim.type("<Up>")
    neovim.see(lambda frame: "ze = width * height" not in frame.ghost, "it goes")
    for frame in neovim.frames_since(start_s):
        if frame.cursor[0] != 12:
            assert "ze = width * height" not in frame.ghost, frame


def test_accepting_is_one_undo_step(neovim: Neovim, editing: Editing) -> None:
    """Before it comes what was typed before, behind it what was typed after."""
    before = editing.num_accepted()
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line(_SIZE)
    neovim.until(lambda: editing.num_accepted() == before + 1, "the server knows")
    neovim.type("  # more<Esc>")
    neovim.see_line(f"{_SIZE}  # more")
    for expected in (_SIZE, "    si"):
        neovim.type("u")
        neovim.see_line(expected)
    neovim.type("<C-r>")
    neovim.see_line(_SIZE)


def test_keys_typed_at_once_after_accepting_come_behind_it(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab># no key is lost<CR>x<Esc>")
    neovim.until(lambda: neovim.lines[-1] == "    x", "the last key")
    assert neovim.lines[-2] == f"{_SIZE}# no key is lost"


def test_accepting_at_once_after_typing_into_it_doubles_nothing(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("ze<Tab>")
    neovim.see_line(_SIZE)


def test_the_dot_repeats_what_was_typed_and_accepted(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>;<Esc>:0<CR>.")
    neovim.until(lambda: neovim.lines[1] == "size = width * height;", "it is repeated")


def test_a_word_a_line_and_the_rest(blocks: Neovim, editing: Editing) -> None:
    """What is left stays where it is meanwhile, in every frame."""
    neovim = blocks
    before = editing.num_accepted()
    neovim.type("Go<C-u>def ar")
    first, *others = (_AREA[0].removeprefix("def ar"), *_AREA[1:])
    start_s = neovim.see_ghost(first, *others).time_s
    neovim.type("<M-Right>")
    neovim.see_line("def area")
    neovim.see_ghost("(width, height):", *others)
    neovim.type("<M-C-Right>")
    neovim.see_line(_AREA[0])
    neovim.see_ghost(*others)
    neovim.type("<M-C-Right>")
    neovim.see_line(_AREA[1])
    neovim.see_ghost(*others[1:])
    texts = {frame.rows[12:17] for frame in neovim.frames_since(start_s)}
    assert texts == {tuple(_AREA)}
    _see_told(editing, "ea", "(width, height):", f"\n{_AREA[1]}")
    neovim.type("<Tab>")
    neovim.until(lambda: neovim.lines[12:] == _AREA, "the rest")
    neovim.until(lambda: editing.num_accepted() == before + 1, "the server knows")
    neovim.type("<Esc>u")
    neovim.until(lambda: neovim.lines[12:] == _AREA[:2], "undone in one step")


def _see_told(editing: Editing, *parts: str) -> None:
    """Wait until the server was told of these accepted parts.

    What is told counts from the item's start. That may be an earlier item's: the
    server's answer to the part before need not be there yet.
    """
    method = "textDocument/didPartiallyAcceptCompletion"
    neovim = editing.neovim
    neovim.until(lambda: len(editing.notifications(method)) == len(parts), "it is told")
    for told, part in zip(editing.notifications(method), parts, strict=True):
        accepted = told["item"]["insertText"][: told["acceptedLength"]]
        assert accepted.endswith(part)


def test_several_lines_are_shown_and_typed_into(blocks: Neovim) -> None:
    """Line ends typed by hand count as well, with the indentation Vim adds."""
    neovim = blocks
    neovim.type("Go<C-u>def ar")
    neovim.see_ghost(_AREA[0].removeprefix("def ar"), *_AREA[1:])
    neovim.type("ea(width, height):")
    neovim.see_ghost(*_AREA[1:])
    neovim.type("<CR>")
    neovim.see_ghost(_AREA[1].lstrip(), *_AREA[2:])
    neovim.type('"""Return')
    neovim.see_ghost(_AREA[1].removeprefix('    """Return'), *_AREA[2:])


def test_dismissed_until_the_text_changes(neovim: Neovim, editing: Editing) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    num_asked = editing.num_asked()
    neovim.type("<C-]>")
    neovim.see_row("    si")
    assert neovim.line == "    si"
    assert editing.num_asked() == num_asked
    neovim.type("z")
    neovim.see_ghost("e = width * height")


def test_by_hand_there_are_alternatives(neovim: Neovim) -> None:
    """The one that is shown stays first; they go round."""
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<M-]>")
    second = neovim.see(lambda frame: "(2/3)" in _hinted(frame), "the second")
    assert second.ghost
    assert second.ghost != ("ze = width * height",)
    neovim.type("<M-]><M-]>")
    neovim.see(lambda frame: "(1/3)" in _hinted(frame), "the first again")
    neovim.see(lambda frame: "size = width * height" in _hinted(frame), "its text")
    neovim.type("<M-[>")
    neovim.see(lambda frame: "(3/3)" in _hinted(frame), "the last")
    neovim.type("<M-[>")
    neovim.see(lambda frame: "(2/3)" in _hinted(frame), "the second again")
    neovim.type("<Tab>")
    neovim.see_line("    si" + second.ghost[0])


def _hinted(frame: Frame) -> str:
    return frame.rows[frame.cursor[0]]


def test_asked_by_hand_after_it_was_dismissed(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<C-]>")
    neovim.see_ghost()
    neovim.type("<M-Bslash>")
    neovim.see(
        lambda frame: "ze = width * height" in "".join(frame.ghost), "it is back"
    )


@pytest.mark.parametrize("scope", ["global", "buffer", "language"])
def test_switched_off_and_on(neovim: Neovim, editing: Editing, scope: str) -> None:
    """It comes and goes at once; nothing is asked for in between."""
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type(f"<Cmd>LspStablecode toggle {scope}<CR>")
    neovim.see_row("    si")
    num_asked = editing.num_asked()
    neovim.type("ze")
    neovim.see_row("    size")
    assert editing.num_asked() == num_asked
    neovim.type(f"<Cmd>LspStablecode toggle {scope}<CR>")
    neovim.see_ghost(" = width * height")


def test_a_buffer_can_be_silent(neovim: Neovim, editing: Editing) -> None:
    num_asked = editing.num_asked()
    neovim.lua("vim.b.lsp_stablecode = false")
    neovim.type("Gosi")
    neovim.see_row("    si")
    assert editing.num_asked() == num_asked
    neovim.lua("vim.b.lsp_stablecode = true")
    neovim.type("z")
    neovim.see_ghost("e = width * height")


def test_a_file_with_crlf_stays_one(blocks: Neovim, editing: Editing) -> None:
    neovim = blocks
    path = editing.open("crlf.py")
    neovim.type("Go<C-u>def ar")
    neovim.see_ghost(_AREA[0].removeprefix("def ar"), *_AREA[1:])
    neovim.type("<M-C-Right>")
    neovim.see_ghost(*_AREA[1:])
    neovim.type("<M-C-Right>")
    neovim.see_ghost(*_AREA[2:])
    _see_told(editing, _AREA[0].removeprefix("def ar"), f"\r\n{_AREA[1]}")
    neovim.type("<Tab><Esc>")
    neovim.until(lambda: neovim.lines[12:] == _AREA, "all lines")
    neovim.command("write")
    written = path.read_bytes()
    assert written.endswith("\r\n".join([*_AREA, ""]).encode())
    assert written.count(b"\n") == written.count(b"\r\n") == written.count(b"\r")


def test_emoji_before_the_cursor(editing: Editing) -> None:
    editing.open("emoji.py")
    neovim = editing.neovim
    neovim.type('Goprint("🏁 👩‍👩‍👧 fi')
    neovim.see_ghost('rst", flag)')
    neovim.type("<M-Right>")
    neovim.see_ghost('", flag)')
    neovim.type("<Tab>")
    neovim.see_line('print("🏁 👩‍👩‍👧 first", flag)')


def test_tabs_are_shown_as_wide_as_they_are(editing: Editing) -> None:
    editing.open("tabs.go")
    neovim = editing.neovim
    neovim.command("setlocal tabstop=4")
    neovim.type("Go<Esc>0C<C-v><Tab>si")
    frame = neovim.see_ghost("ze := width * 2")
    assert frame.rows[frame.cursor[0]] == "    size := width * 2"
    neovim.type("<Tab>")
    neovim.see_line("\tsize := width * 2")


def test_a_long_file(editing: Editing) -> None:
    """At its end and in its middle; nothing grows with its length."""
    editing.open("long.py")
    neovim = editing.neovim
    neovim.type("Gototal = s")
    neovim.see_ghost("um(range(10))")
    neovim.type("<Tab><Esc>")
    neovim.see_line("total = sum(range(10))")
    neovim.type("5000Govalue_4999 =")
    neovim.see_ghost(" 4999")
    neovim.type("<Tab><Esc>")
    neovim.see_line("value_4999 = 4999")
    assert len(neovim.lines) == NUM_LONG_LINES + 2


def test_closing_brackets_that_are_there_are_not_doubled(neovim: Neovim) -> None:
    """The text is shown around them, as it will stand, and accepted so."""
    neovim.command("inoremap <buffer> ( ()<Left>")
    neovim.type("Gopri")
    neovim.see_ghost(_PRINT.removeprefix("    pri"))
    neovim.type("nt(")
    neovim.see_line("    print()")
    neovim.see_row(_PRINT)
    neovim.type('"the')
    neovim.see_row(_PRINT)
    neovim.type("<M-Right>")
    neovim.see_line('    print("the area)')
    neovim.see_row(_PRINT)
    neovim.type("<Tab>")
    neovim.see_line(_PRINT)
    assert neovim.request("nvim_win_get_cursor", 0)[1] == len(_PRINT)
    neovim.type("<Esc>u")
    neovim.see_line('    print("the area)')


def test_text_right_of_the_cursor_stays(blocks: Neovim, editing: Editing) -> None:
    """Several lines before it: it is shown, and stands, behind the last of them.

    Neovim's own drawing leaves it where it is.
    """
    neovim = blocks
    neovim.type("Go<C-u>def ar)  # 🏁 👩‍👩‍👧 kept<C-o>F)")
    neovim.see_line("def ar)  # 🏁 👩‍👩‍👧 kept")
    neovim.type("<M-Bslash>")
    frame = neovim.see(lambda frame: len(frame.ghost) == len(_AREA), "several lines")
    shown = [row.removesuffix(" (1/3)") for row in frame.rows[12 : 12 + len(_AREA)]]
    neovim.type("<Tab>")
    neovim.until(lambda: len(neovim.lines) == 12 + len(_AREA), "all lines")
    assert neovim.lines[-1].endswith(")  # 🏁 👩‍👩‍👧 kept")
    if editing.variant.ghost_text == "own":
        assert neovim.lines[12:] == shown


@pytest.mark.parametrize("editing", VERSIONS, indirect=True, ids=str)
def test_text_right_of_the_cursor_that_wraps_is_hidden(blocks: Neovim) -> None:
    """And ghost text that is wider than its row is shown in whole."""
    neovim = blocks
    kept = ")  # " + "kept " * 30
    neovim.command(f"call append('$', 'def ar{kept}')")
    neovim.type("G0f)i<M-Bslash>")
    frame = neovim.see(lambda frame: len(frame.ghost) == len(_AREA), "several lines")
    first, last = frame.rows.index(_AREA[0]), frame.rows.index(_AREA[1]) - 1
    assert not any(row.strip() for row in frame.rows[first + 1 : last + 1])
    assert "".join(frame.rows).count("kept") < 30
    neovim.type("<Esc>")
    narrow = len(_AREA[0]) - 2
    neovim.command(f"vsplit | vertical resize {narrow} | setlocal signcolumn=no")
    neovim.type("a<M-Bslash>")
    frame = neovim.see(lambda frame: frame.ghost, "ghost text")
    rows = [row[:narrow] for row in frame.rows]
    first = rows.index(_AREA[0][:narrow])
    assert rows[first + 1].strip() == _AREA[0][narrow:]
    neovim.type("<Esc>")
    neovim.command("only")


@pytest.mark.parametrize("editing", VERSIONS, indirect=True, ids=str)
def test_ghost_text_is_in_one_window(blocks: Neovim) -> None:
    """The other one shows the same buffer, and its lines stay where they are."""
    neovim = blocks
    neovim.command("split")
    for _ in range(2):
        neovim.type("ggO<C-u>def ar")
        neovim.see_ghost("ea(width, height):")
        neovim.type("<Esc>")
        neovim.see_ghost()
        neovim.command("undo | wincmd w")
    neovim.command("only")


def test_options_that_format_what_is_typed_leave_it_alone(neovim: Neovim) -> None:
    neovim.command("setlocal textwidth=12 formatoptions+=tcroa cindent")
    neovim.type("Go<Esc>")
    neovim.command("call setline('.', '    si') | startinsert!")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line(_SIZE)


def test_a_wrapped_line_and_a_fold(neovim: Neovim) -> None:
    neovim.command("setlocal foldmethod=manual | 4,8fold")
    neovim.type("Go<Esc>ggO<C-u># " + "long " * 20 + "<Esc>Go<C-u>    si")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line(_SIZE)


def test_who_draws_changes_with_the_server_only(
    neovim: Neovim, editing: Editing
) -> None:
    """Until it is started again ghost text is shown as it was."""
    other = "builtin" if editing.variant.ghost_text == "own" else "own"
    neovim.lua("require('lsp-stablecode').setup({ ghost_text = ... })", other)
    try:
        neovim.type("Gosi")
        neovim.see_ghost("ze = width * height")
        neovim.type("<Tab>")
        neovim.see_line(_SIZE)
    finally:
        neovim.lua("require('lsp-stablecode').setup({})")


def test_a_macro_means_the_same_every_time(neovim: Neovim, editing: Editing) -> None:
    """While keys are recorded, and while they are played, there is no ghost text."""
    neovim.command("setlocal expandtab shiftwidth=4 softtabstop=4")
    num_asked = editing.num_asked()
    neovim.type("Gqqosi<Tab>x")
    neovim.see_row("    si  x")
    neovim.type("<Esc>q@q")
    neovim.until(lambda: neovim.lines[-2:] == ["    si  x"] * 2, "it is played")
    assert editing.num_asked() == num_asked
    neovim.type("osi")
    neovim.see_ghost("  x")


def test_none_in_replace_mode_and_where_nothing_is_to_be_changed(
    neovim: Neovim, editing: Editing
) -> None:
    num_asked = editing.num_asked()
    neovim.command("call append('$', 'X')")
    neovim.type("GRsi")
    neovim.see_row("si")
    neovim.type("<Esc>:setlocal readonly<CR>ori")
    neovim.see_row("ri")
    neovim.type("<Esc>:setlocal noreadonly<CR>:normal! opi<CR>")
    neovim.see_row("pi")
    assert editing.num_asked() == num_asked
    neovim.type("o    retu")
    neovim.see_ghost("rn size")
