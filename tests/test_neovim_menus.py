"""Ghost text beside the menus of nvim-cmp and blink.cmp."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.editors.neovim import Neovim
from tests.editors.neovim_editing import VERSIONS, Editing, Variant, start
from tests.test_neovim_install import example, plugin_for_tests

pytestmark = pytest.mark.editor

# A source of words without another plugin; it is the same for both.
_CMP = """
vim.opt.rtp:append('{plugin}')
vim.cmd.runtime('plugin/cmp.lua')
require('cmp').register_source('shapes', {{
  complete = function(_, _, callback)
    callback(vim.tbl_map(function(word)
      return {{ label = word }}
    end, {{ 'sizeable', 'sizes' }}))
  end,
}})
{example}
require('cmp').setup({{
  sources = {{ {{ name = 'shapes' }} }},
  snippet = {{ expand = function() end }},
}})
is_menu_open = function()
  return require('cmp').visible()
end
select_next = function()
  require('cmp').select_next_item()
end
close_menu = function()
  require('cmp').abort()
end
preselect = function(is_on)
  local selection = is_on and 'menuone,noinsert' or 'menuone,noselect'
  require('cmp').setup({{ completion = {{ completeopt = selection }} }})
end
"""
_BLINK = """
vim.opt.rtp:append('{plugin}')
package.preload['shapes-source'] = function()
  local source = {{}}
  function source.new()
    return setmetatable({{}}, {{ __index = source }})
  end
  function source:get_completions(_, callback)
    callback({{
      items = vim.tbl_map(function(word)
        return {{ label = word, kind = 1 }}
      end, {{ 'sizeable', 'sizes' }}),
      is_incomplete_forward = false,
      is_incomplete_backward = false,
    }})
  end
  return source
end
local setup = require('blink.cmp').setup
require('blink.cmp').setup = function(options)
  setup(vim.tbl_deep_extend('force', options, {{
    fuzzy = {{ implementation = 'lua' }},
    completion = {{ list = {{ selection = {{ preselect = false }} }} }},
    sources = {{
      default = {{ 'shapes' }},
      providers = {{ shapes = {{ name = 'Shapes', module = 'shapes-source' }} }},
    }},
  }}))
end
{example}
is_menu_open = function()
  return require('blink.cmp').is_menu_visible()
end
select_next = function()
  require('blink.cmp').select_next()
end
close_menu = function()
  require('blink.cmp').cancel()
end
preselect = function(is_on)
  require('blink.cmp.config').completion.list.selection.preselect = is_on
end
"""


@pytest.fixture(
    scope="module",
    params=[(one, plugin) for one in VERSIONS for plugin in ("nvim-cmp", "blink.cmp")],
    ids=lambda pair: f"{pair[0].version}-{pair[1]}",
)
def editing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Editing]:
    variant: Variant
    variant, name = request.param
    configuration = (_CMP if name == "nvim-cmp" else _BLINK).format(
        plugin=plugin_for_tests(name), example=example(name)
    )
    with start(variant, tmp_path_factory.mktemp("neovim"), after=configuration) as one:
        yield one


@pytest.fixture
def neovim(editing: Editing) -> Neovim:
    """Type until both the ghost text and the menu are there."""
    editing.open("shapes.py")
    neovim = editing.neovim
    # Menus open for a key, and not for the first ones of Insert mode.
    neovim.type("Gos")
    neovim.see_ghost("ize = width * height")
    neovim.type("i")
    neovim.until(lambda: neovim.lua("return is_menu_open()"), "the menu")
    neovim.see_ghost("ze = width * height")
    return neovim


def test_tab_takes_the_ghost_text(neovim: Neovim) -> None:
    """As the page's example has it; the menu is closed then."""
    neovim.type("<Tab>")
    neovim.see_line("    size = width * height")
    neovim.until(lambda: not neovim.lua("return is_menu_open()"), "it is closed")


def test_typing_goes_on_beside_the_menu(neovim: Neovim) -> None:
    neovim.type("ze")
    neovim.see_ghost(" = width * height")
    neovim.until(lambda: neovim.lua("return is_menu_open()"), "the menu, still")
    neovim.type(" =")
    neovim.see_ghost(" width * height")


def test_who_moves_in_the_menu_sees_no_ghost_text(neovim: Neovim) -> None:
    neovim.lua("select_next()")
    neovim.until(lambda: neovim.line.strip() in ("sizeable", "sizes"), "an item")
    neovim.see_ghost()
    neovim.lua("close_menu()")
    neovim.see(lambda frame: frame.ghost, "ghost text again")


def _see_tab(neovim: Neovim) -> None:
    """Press Tab where there is no ghost text."""
    neovim.command("setlocal expandtab softtabstop=2")
    neovim.lua("vim.b.lsp_stablecode = false")
    neovim.type("<Esc>ox<Tab>y")
    neovim.see_line("    x y")
    neovim.lua("vim.b.lsp_stablecode = true")


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "restarted"])
def test_tab_is_the_same_for_another_server(
    neovim: Neovim, editing: Editing, is_killed: bool
) -> None:
    """The menu's mapping stays over ours, and hands Tab on to it."""
    for _ in range(2):
        if is_killed:
            editing.kill_server()
        else:
            editing.restart()
        _see_tab(neovim)
        neovim.type("<C-u>si")
        neovim.see_ghost("ze = width * height")
        neovim.type("<Tab>")
        neovim.see_line("    size = width * height")


def test_tab_is_itself_without_a_server(neovim: Neovim) -> None:
    neovim.command("messages clear")
    neovim.lua("vim.lsp.enable('lsp-stablecode', false)")
    neovim.until(lambda: not neovim.servers(), "it ends")
    _see_tab(neovim)
    neovim.lua("vim.lsp.enable('lsp-stablecode')")
    neovim.type("<C-u>si")
    neovim.see_ghost("ze = width * height")
    assert neovim.messages() == ""


def test_a_selected_item_is_continued_where_it_would_stand(neovim: Neovim) -> None:
    """And not once it is typed: then the ghost text goes on from the text."""

    def selected() -> dict[str, object] | None:
        menu = neovim.lua("return require('lsp-stablecode.menu').state()")
        assert not menu["is_explicit"]
        return menu.get("selected")

    neovim.lua("preselect(true)")
    try:
        neovim.type("<Esc>o<C-u>sizes = height<CR>s")
        neovim.see_line("s")
        neovim.see(lambda frame: frame.ghost, "ghost text")
        neovim.type("i")
        neovim.until(lambda: neovim.lua("return is_menu_open()"), "the menu")
        neovim.until(lambda: (one := selected()) and one["column"] == 0, "an item")
        neovim.type("zes")
        neovim.see_ghost(" = height")
        neovim.until(lambda: neovim.lua("return is_menu_open()"), "the menu, still")
        assert selected() is None
        neovim.type("<Tab>")
        neovim.see_line("sizes = height")
    finally:
        neovim.lua("preselect(false)")


def test_ghost_text_can_stay_away_from_menus(neovim: Neovim) -> None:
    neovim.lua("require('lsp-stablecode').setup({ with_menu = false })")
    try:
        neovim.type("z")
        neovim.see(lambda frame: frame.row_with("    siz"), "the key")
        neovim.see_ghost()
        neovim.lua("close_menu()")
        neovim.see_ghost("e = width * height")
    finally:
        neovim.lua("require('lsp-stablecode').setup({})")
