"""Keys are what they were where there is no ghost text; menus beside ghost text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.editors.neovim import Neovim
from tests.editors.neovim_editing import VERSIONS, Editing, editing_in

pytestmark = pytest.mark.editor

_MAPPINGS = {
    "text": ("inoremap {buffer} <Tab> (tab)", "(tab)"),
    "mapped again": ("imap {buffer} <Tab> (<C-q>)", "(q)"),
    "begins with itself": ("imap {buffer} <Tab> <Tab>q", " q"),
    "expression": ("inoremap {buffer} <expr> <Tab> '(' . (1 + 1) . ')'", "(2)"),
}


editing = editing_in(VERSIONS)


@pytest.fixture
def neovim(editing: Editing) -> Iterator[Neovim]:
    """Open a fresh ``shapes.py``, in which a tab is two blanks.

    Neovim itself maps Tab, for snippets.
    """
    neovim = editing.neovim
    neovim.lua("neovims_own = vim.fn.maparg('<Tab>', 'i', false, true)")
    neovim.command("inoremap <C-q> q")
    editing.open("shapes.py")
    neovim.command("setlocal expandtab shiftwidth=2 softtabstop=2")
    yield neovim
    neovim.command("stopinsert | silent! %bwipeout!")
    neovim.lua("vim.fn.mapset('i', false, neovims_own)")


def _see_tab(neovim: Neovim, otherwise: str) -> None:
    """Press Tab where there is no ghost text, and then where there is."""
    neovim.lua("vim.b.lsp_stablecode = false")
    neovim.type("Gox<Tab>")
    neovim.see_line(f"    x{otherwise}")
    neovim.lua("vim.b.lsp_stablecode = true")
    neovim.type("<Esc>osi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line("    size = width * height")


def test_tab_is_a_tab(neovim: Neovim) -> None:
    _see_tab(neovim, " ")


@pytest.mark.parametrize("kind", _MAPPINGS)
def test_tab_is_the_mapping_of_all_buffers(neovim: Neovim, kind: str) -> None:
    """Made before or after the server was attached."""
    command, otherwise = _MAPPINGS[kind]
    neovim.command(command.format(buffer=""))
    _see_tab(neovim, otherwise)


@pytest.mark.parametrize("kind", _MAPPINGS)
def test_tab_is_the_mapping_of_the_buffer(
    neovim: Neovim, editing: Editing, kind: str
) -> None:
    """Made by a file type's plugin, or in an autocommand of the user."""
    command, otherwise = _MAPPINGS[kind]
    line = command.format(buffer="<buffer>")
    neovim.lua(
        "vim.api.nvim_create_autocmd('FileType', { once = true, command = ... })",
        f"setlocal expandtab shiftwidth=2 softtabstop=2 | {line}",
    )
    editing.open("shapes.py")
    _see_tab(neovim, otherwise)


def test_tab_is_a_function_that_changes_the_text(neovim: Neovim) -> None:
    neovim.lua(
        "vim.keymap.set('i', '<Tab>', function() "
        "vim.api.nvim_put({ '(lua)' }, 'c', false, true) end)"
    )
    _see_tab(neovim, "(lua)")


def test_tab_is_an_expression_in_lua(neovim: Neovim) -> None:
    neovim.lua(
        "vim.keymap.set('i', '<Tab>', function() return '<C-v>u2192' end, "
        "{ expr = true })"
    )
    _see_tab(neovim, "→")


def test_tab_is_a_mapping_that_calls_ours(neovim: Neovim) -> None:
    """Plugins wrap what they find in the buffer, and map that in all buffers."""
    neovim.until(
        lambda: "lsp-stablecode" in neovim.command("imap <buffer> <Tab>"),
        "it is mapped",
    )
    neovim.lua(
        "local found = vim.fn.maparg('<Tab>', 'i', false, true) "
        "vim.keymap.set('i', '<Tab>', function() return found.callback() end, "
        "{ expr = true, remap = true })"
    )
    _see_tab(neovim, " ")


def test_tab_of_a_buffer_that_was_unloaded(neovim: Neovim, editing: Editing) -> None:
    """And loaded again: Vim keeps its mappings."""
    neovim.lua(
        "vim.api.nvim_create_autocmd('FileType', { once = true, command = ... })",
        "inoremap <buffer> <Tab> (mine)",
    )
    path = editing.open("shapes.py")
    neovim.until(
        lambda: "lsp-stablecode" in neovim.command("imap <buffer> <Tab>"),
        "it is mapped",
    )
    neovim.command("messages clear | enew | bunload #")
    neovim.edit(path)
    neovim.until(
        lambda: "lsp-stablecode" in neovim.command("imap <buffer> <Tab>"),
        "it is mapped again",
    )
    _see_tab(neovim, "(mine)")
    assert neovim.messages() == ""


def test_tab_goes_on_in_a_snippet(neovim: Neovim, editing: Editing) -> None:
    """There is no ghost text unasked between its places."""
    num_asked = editing.num_asked()
    neovim.type("Go<C-u>")
    neovim.lua("vim.snippet.expand('si$1 = ${2:wide};$0')")
    neovim.type("ze<Tab>")
    neovim.until(lambda: neovim.request("nvim_get_mode")["mode"] == "s", "it is there")
    neovim.type("long")
    neovim.see_row("size = long;")
    assert editing.num_asked() <= num_asked + 1, "only before the snippet"
    neovim.type("<Tab>")
    neovim.see(lambda frame: frame.cursor[1] == len("size = long;"), "the last place")
    neovim.type(" #")
    neovim.see_line("size = long; #")


def test_the_keys_are_given_back(neovim: Neovim, editing: Editing) -> None:
    neovim.lua(
        "vim.api.nvim_create_autocmd('FileType', { once = true, command = ... })",
        "inoremap <buffer> <Tab> (mine)",
    )
    editing.open("shapes.py")
    neovim.until(
        lambda: "lsp-stablecode" in neovim.command("imap <buffer> <Tab>"),
        "it is mapped",
    )
    neovim.lua(
        "local id = vim.lsp.get_clients({ name = 'lsp-stablecode' })[1].id "
        "vim.lsp.buf_detach_client(0, id)"
    )
    neovim.until(
        lambda: "lsp-stablecode" not in neovim.command("imap <buffer>"), "given back"
    )
    neovim.type("Go<C-u><Tab>")
    neovim.see_line("(mine)")


def test_keys_of_ones_own(neovim: Neovim, editing: Editing) -> None:
    """And `<Plug>` names to map them to."""
    neovim.lua(
        "require('lsp-stablecode').setup({ keys = { accept = '<C-f>', next = false } })"
    )
    neovim.command("imap <C-l> <Plug>(lsp-stablecode-accept-word)")
    editing.open("shapes.py")
    neovim.command("setlocal expandtab softtabstop=2")
    neovim.until(
        lambda: "accept" in neovim.command("imap <buffer> <C-f>"), "it is mapped"
    )
    assert "lsp-stablecode" not in neovim.command("imap <buffer> <Tab>")
    assert "lsp-stablecode" not in neovim.command("imap <buffer> <M-]>")
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<C-l>")
    neovim.see_ghost(" = width * height")
    neovim.type("<C-f><Tab>|")
    neovim.see_line("    size = width * height |")
    neovim.command("iunmap <C-l>")
    neovim.lua("require('lsp-stablecode').setup({})")


def test_keys_change_in_buffers_that_have_some(neovim: Neovim) -> None:
    """Those of before are given back at once."""

    def ours() -> set[str]:
        found: list[str] = neovim.lua(
            "return vim.iter(vim.api.nvim_buf_get_keymap(0, 'i')):filter("
            "function(one) return vim.startswith(one.desc or '', 'lsp-stablecode') end"
            "):map(function(one) return one.lhs end):totable()"
        )
        return set(found)

    set_up = "require('lsp-stablecode').setup({ keys = ... })"
    try:
        neovim.until(lambda: "<Tab>" in ours(), "they are mapped")
        before = ours()
        neovim.lua(set_up, {"accept": "<C-F>"})
        assert ours() == before - {"<Tab>"} | {"<C-F>"}
        neovim.type("Gosi")
        neovim.see_ghost("ze = width * height")
        neovim.type("<C-F><Tab>|")
        neovim.see_line("    size = width * height |")
        neovim.lua(set_up, False)
        assert ours() == set()
    finally:
        neovim.lua(set_up)
    assert ours() == before


# --- menus ------------------------------------------------------------------


@pytest.fixture
def completeopt(editing: Editing) -> Iterator[None]:
    yield
    editing.neovim.command("stopinsert | set completeopt&")
    editing.neovim.lua("require('lsp-stablecode').setup({})")


def _is_menu_open(neovim: Neovim) -> bool:
    return bool(neovim.request("nvim_call_function", "pumvisible", []))


@pytest.mark.usefixtures("completeopt")
def test_ghost_text_beside_the_menu(neovim: Neovim) -> None:
    """As long as nothing is selected in it; accepting closes it."""
    neovim.command("set completeopt=menuone,noselect")
    neovim.type("Gosi<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.see_ghost("ze = width * height")
    neovim.type("z")
    neovim.see_ghost("e = width * height")
    neovim.until(lambda: _is_menu_open(neovim), "the menu, still")
    neovim.type("<Tab>")
    neovim.see_line("    size = width * height")
    neovim.until(lambda: not _is_menu_open(neovim), "the menu is closed")


@pytest.mark.usefixtures("completeopt")
def test_who_moves_in_the_menu_sees_no_ghost_text(neovim: Neovim) -> None:
    """Tab is then what it was; once the menu is closed the ghost text is back."""
    neovim.command("set completeopt=menuone,noselect")
    neovim.command("inoremap <expr> <Tab> pumvisible() ? '<C-n>' : '<Tab>'")
    neovim.type("Go<C-u>size_b = 1<CR>si<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.see(lambda frame: frame.ghost, "ghost text")
    neovim.type("<C-n>")
    neovim.until(lambda: neovim.line.startswith("size"), "an item")
    neovim.see_ghost()
    before = neovim.line
    neovim.type("<Tab>")
    neovim.until(lambda: neovim.line not in ("si", before), "the next item")
    neovim.type("<C-y>")
    neovim.until(lambda: not _is_menu_open(neovim), "the menu is closed")
    neovim.see(lambda frame: frame.ghost, "ghost text again")


@pytest.mark.usefixtures("completeopt")
def test_an_item_selected_by_default_is_continued(
    neovim: Neovim, editing: Editing
) -> None:
    """The server is told what is selected, and the text goes on from there."""
    neovim.command("set completeopt=menuone,noinsert")
    neovim.type("Go<C-u>total_of = height<CR>to<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    frame = neovim.see_ghost("tal_of = height")
    assert frame.rows[frame.cursor[0]] == "total_of = height"
    explained = editing.ask_server("explain")
    assert explained["suggestions"][0]["text"] == " = height"
    neovim.type("<Tab>")
    neovim.see_line("total_of = height")


@pytest.mark.usefixtures("completeopt")
def test_an_item_that_is_typed_already_is_not_continued(neovim: Neovim) -> None:
    """The ghost text goes on from what is typed, and nothing is doubled."""
    neovim.command("set completeopt=menuone,noinsert")
    neovim.type("Go<C-u>test = height<CR>test<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.see_ghost(" = height")
    neovim.type("<Tab>")
    neovim.see_line("test = height")


@pytest.mark.usefixtures("completeopt")
def test_an_item_that_is_only_similar_is_not_continued(neovim: Neovim) -> None:
    """As the menu finds one by other letters than its first ones."""
    neovim.command("set completeopt=menuone,noinsert,fuzzy")
    neovim.type("Go<C-u>zestz = height<CR>z<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.see_ghost("estz = height")
    neovim.type("z")
    neovim.until(lambda: neovim.line == "zz" and _is_menu_open(neovim), "still")
    menu = neovim.lua("return require('lsp-stablecode.menu').state()")
    assert menu == {"is_explicit": False}


@pytest.mark.usefixtures("completeopt")
def test_ghost_text_can_stay_away_from_menus(neovim: Neovim, editing: Editing) -> None:
    neovim.lua("require('lsp-stablecode').setup({ with_menu = false })")
    neovim.command("set completeopt=menuone,noselect")
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<C-x><C-n>")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.see_ghost()
    neovim.type("<C-e>")
    neovim.see_ghost("ze = width * height")


@pytest.mark.parametrize("editing", VERSIONS[1:], indirect=True, ids=str)
def test_the_menu_that_opens_by_itself(neovim: Neovim, editing: Editing) -> None:
    """Neovim 0.12's option 'autocomplete'."""
    neovim.command("set autocomplete completeopt=menuone,noselect")
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.until(lambda: _is_menu_open(neovim), "the menu")
    neovim.type("ze = wid")
    neovim.see_ghost("th * height")
    neovim.type("<Tab>")
    neovim.see_line("    size = width * height")
    neovim.command("stopinsert | set noautocomplete completeopt&")
