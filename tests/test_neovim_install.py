"""Every way to install the plugin that docs/editors/neovim.md shows, as it shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.editors.installing import editors_folder
from tests.editors.neovim import PLUGIN, Neovim, lua_list
from tests.editors.neovim_editing import neovim_program
from tests.editors.samples import make_project, server_command

pytestmark = pytest.mark.editor

_PAGE = PLUGIN.parents[1] / "docs" / "editors" / "neovim.md"
_VERSIONS = ["0.11", "0.12"]


def example(name: str) -> str:
    """Return the code that the page marks with this name."""
    marked = re.search(
        rf"<!-- tested: {re.escape(name)} -->.*?```\w+\n(.*?)```",
        _PAGE.read_text("utf-8"),
        re.DOTALL,
    )
    assert marked is not None, f"{_PAGE.name} has no example {name}"
    return marked[1]


def plugin_for_tests(name: str) -> Path:
    """Return a clone of somebody else's plugin, or skip the test, loudly."""
    folder = editors_folder() / "neovim-plugins" / name
    if not folder.is_dir():
        pytest.skip(f"Neovim with {name}: clone it into {folder}")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a repository that holds the plugin where ours has it."""
    folder = tmp_path / "clone"
    shutil.copytree(PLUGIN, folder / "editors" / "neovim")
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "All of it"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def _fill_in(code: str, clone: Path) -> str:
    return code.replace("CLONE", str(clone)).replace("URL", f"file://{clone}")


@contextmanager
def _started(version: str, folder: Path, configuration: str) -> Iterator[Neovim]:
    """Start Neovim with a sample file."""
    command = lua_list(server_command())
    options = f"vim.g.lsp_stablecode = {{ cmd = {command} }}\n"
    file = make_project(folder) / "shapes.py"
    home = folder / "home"
    with Neovim(neovim_program(version), home, options + configuration, file) as neovim:
        yield neovim


def _run_once(version: str, folder: Path, configuration: str, command: str) -> None:
    """Let a plugin manager install, as on its first day; nobody looks on."""
    init = folder / "init.lua"
    init.write_text(configuration)
    neovim_program(version).run("-u", init, command, "+qall", folder=folder / "home")


def _see_it_work(neovim: Neovim) -> None:
    neovim.until(
        lambda: neovim.lua("return #vim.lsp.get_clients({ bufnr = 0 })"), "a server"
    )
    neovim.type("<Esc>Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Tab>")
    neovim.see_line("    size = width * height")


def _see_help(neovim: Neovim) -> None:
    neovim.type("<Esc>:help lsp-stablecode-keys<CR>")
    neovim.see(lambda frame: frame.row_with("<M-C-Right>"), "the help")


@pytest.mark.parametrize("is_copied", [True, False], ids=["copied", "linked"])
@pytest.mark.parametrize("version", _VERSIONS)
def test_packages(version: str, is_copied: bool, clone: Path, tmp_path: Path) -> None:
    packages = tmp_path / "home" / "data" / "nvim" / "site"
    code = _fill_in(example("packages"), clone)
    mkdir, link, helptags = code.splitlines()
    if is_copied:
        link = link.replace("ln -s", "cp -r")
    script = f"{mkdir}\n{link}".replace("~/.local/share/nvim/site", str(packages))
    subprocess.run(["sh", "-ec", script], check=True)
    program = neovim_program(version)
    _, *arguments = (one.strip("'") for one in re.findall(r"'[^']+'|\S+", helptags))
    assert program.run(*arguments, folder=tmp_path / "home") == ""
    with _started(version, tmp_path, "") as neovim:
        _see_it_work(neovim)
        _see_help(neovim)


@pytest.mark.parametrize("is_lazy", [False, True], ids=["at start", "lazily"])
@pytest.mark.parametrize("name", ["lazy-dir", "lazy-url"])
@pytest.mark.parametrize("version", _VERSIONS)
def test_lazy(
    version: str, name: str, is_lazy: bool, clone: Path, tmp_path: Path
) -> None:
    manager = plugin_for_tests("lazy.nvim")
    configuration = (
        f"vim.opt.rtp:prepend('{manager}')\n"
        f"local spec = {_fill_in(example(name), clone)}\n"
        f"spec.event = {str(is_lazy).lower()} and 'InsertEnter' or nil\n"
        "require('lazy').setup({ spec }, { rocks = { enabled = false } })"
    )
    _run_once(version, tmp_path, configuration, "+Lazy! install")
    with _started(version, tmp_path, configuration) as neovim:
        if is_lazy:
            assert neovim.lua("return #vim.lsp.get_clients()") == 0
            neovim.type("i")
        _see_it_work(neovim)


@pytest.mark.parametrize("version", _VERSIONS)
def test_vim_plug(version: str, clone: Path, tmp_path: Path) -> None:
    manager = plugin_for_tests("vim-plug")
    code = _fill_in(example("vim-plug"), clone)
    configuration = (
        f"vim.cmd.source('{manager}/plug.vim')\n"
        f"vim.fn['plug#begin']('{tmp_path}/plugged')\n"
        f"vim.cmd([==[{code}]==])\n"
        "vim.fn['plug#end']()\n"
    )
    _run_once(version, tmp_path, configuration, "+PlugInstall --sync")
    with _started(version, tmp_path, configuration) as neovim:
        _see_it_work(neovim)
        _see_help(neovim)


def test_vim_pack(clone: Path, tmp_path: Path) -> None:
    code = _fill_in(example("vim-pack"), clone)
    # Nobody is there to confirm.
    code = code.replace("load =", "confirm = false,\n  load =")
    with _started("0.12", tmp_path, code) as neovim:
        _see_it_work(neovim)


@pytest.mark.parametrize("version", _VERSIONS)
def test_the_options_of_the_page_are_the_defaults(version: str, tmp_path: Path) -> None:
    program = neovim_program(version)
    said = program.run(
        "--clean",
        "--cmd",
        f"set runtimepath^={PLUGIN}",
        "+lua local options = require('lsp-stablecode.options').get()",
        f"+lua {example('options')}",
        "+lua local page = vim.g.lsp_stablecode; page.cmd = nil; "
        "print(vim.deep_equal(page, require('lsp-stablecode.options').defaults))",
        "+quit",
        folder=tmp_path,
    )
    assert said.strip() == "true"


@pytest.mark.parametrize("version", _VERSIONS)
def test_the_help_has_sound_tags(version: str, tmp_path: Path) -> None:
    """No tag is there twice; what the text refers to is in its help or Neovim's."""
    folder = tmp_path / "doc"
    shutil.copytree(PLUGIN / "doc", folder)
    program = neovim_program(version)
    assert program.run("--clean", f"+helptags {folder}", "+quit", folder=tmp_path) == ""
    text = (folder / "lsp-stablecode.txt").read_text("utf-8")
    assert max(map(len, text.splitlines())) <= 78
    if version != "0.12":
        return  # It lacks the help on what only 0.12 has.
    tags = " ".join(re.findall(r"(?<!\S)\|([^|\s]+)\|", text))
    check = """
        for tag in tags:gmatch('%S+') do
          if not vim.list_contains(vim.fn.getcompletion(tag, 'help'), tag) then
            print(tag)
          end
        end"""
    missing = program.run(
        "--clean",
        "--cmd",
        f"set runtimepath^={tmp_path}",
        f"+lua local tags = [==[{tags}]==] {' '.join(check.split())}",
        "+quit",
        folder=tmp_path,
    )
    assert missing == ""


def test_every_file_is_valid_and_every_option_documented(tmp_path: Path) -> None:
    program = neovim_program("0.11")
    files = sorted(PLUGIN.rglob("*.lua"))
    assert len(files) > 15
    for file in files:
        said = program.run(
            "--clean",
            f"+lua assert(loadfile([==[{file}]==]))",
            "+quit",
            folder=tmp_path,
        )
        assert said == ""
    text = (PLUGIN / "doc" / "lsp-stablecode.txt").read_text()
    options = (PLUGIN / "lua" / "lsp-stablecode" / "options.lua").read_text()
    for name in re.findall(r"^---@field (\w+)\?", options, re.MULTILINE):
        assert name in text
