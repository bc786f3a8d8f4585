"""The plugin around the ghost text: its server, commands, options and reports."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from lsp_stablecode import __version__
from lsp_stablecode.shared.rendezvous import RUNTIME_VARIABLE
from tests.editors.neovim import PLUGIN, Frame, Neovim, lua_list
from tests.editors.neovim_editing import (
    VERSIONS,
    Editing,
    Variant,
    editing_in,
    neovim_program,
    start,
)
from tests.editors.samples import SHAPES, path_with_server
from tests.hubs import runtime_folder

pytestmark = pytest.mark.editor

_SIZE = "    size = width * height"


editing = editing_in(VERSIONS)


@pytest.fixture
def neovim(editing: Editing) -> Neovim:
    """Open a fresh ``shapes.py``."""
    editing.open("shapes.py")
    return editing.neovim


# --- the server ---------------------------------------------------------------


def test_a_killed_server_is_started_again(neovim: Neovim, editing: Editing) -> None:
    """The editor goes on meanwhile, and ghost text comes again, without a key."""
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    editing.kill_server()
    neovim.type("ze")
    neovim.see_line("    size")
    neovim.see_ghost(" = width * height")
    neovim.type(" =<Tab>")
    neovim.see_line(_SIZE)


def test_a_server_that_was_stopped_stays_so(neovim: Neovim) -> None:
    """What was typed meanwhile is known to the next one, and what is typed then."""
    neovim.lua("vim.lsp.enable('lsp-stablecode', false)")
    neovim.until(lambda: not neovim.servers(), "it ends")
    neovim.type("Gowrong<C-u>si")
    neovim.see_row("    si")
    neovim.lua("vim.lsp.enable('lsp-stablecode')")
    neovim.see_ghost("ze = width * height")
    neovim.type("z")
    neovim.see_ghost("e = width * height")
    neovim.type("<C-u>pri")
    neovim.see_ghost('nt("the area is", size)')


def test_a_buffer_that_is_not_followed_is_closed(
    neovim: Neovim, editing: Editing
) -> None:
    """Neovim does not, where it was changed without a server; its end fails then."""
    neovim.command("messages clear")
    neovim.lua("vim.lsp.enable('lsp-stablecode', false)")
    neovim.until(lambda: not neovim.servers(), "it ends")
    neovim.type("Gosi")
    neovim.see_row("    si")
    neovim.lua("vim.lsp.enable('lsp-stablecode')")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Esc>:bwipeout!<CR>")
    client = "vim.lsp.get_clients({ name = 'lsp-stablecode' })[1]"
    neovim.until(
        lambda: neovim.lua(f"return next({client}.attached_buffers) == nil"),
        "it is detached",
    )
    editing.open("shapes.py")
    editing.restart()
    assert neovim.messages() == ""


def test_a_file_that_is_read_again(neovim: Neovim, editing: Editing) -> None:
    """With other text, by another program; the server knows it."""
    path = editing.open("shapes.py")
    neovim.type("Gox<Esc>")
    neovim.see_row("    x")
    path.write_text(SHAPES + "    total = depth\n")
    neovim.command("edit!")
    neovim.type("Goto")
    neovim.see_ghost("tal = depth")
    neovim.type("<Tab>")
    neovim.see_line("    total = depth")


def test_a_server_that_was_stopped_by_force_has_not_died(
    neovim: Neovim, editing: Editing
) -> None:
    """Whoever asked for it is not told of it, and it stays so until the next file."""
    neovim.command("messages clear")
    editing.restart()
    assert neovim.messages() == ""
    neovim.lua("vim.lsp.get_clients({ name = 'lsp-stablecode' })[1]:stop(true)")
    neovim.until(lambda: not neovim.servers(), "it ends")
    editing.open("shapes.py")
    assert len(neovim.servers()) == 1
    assert neovim.messages() == ""


def test_one_server_for_all_folders(neovim: Neovim, editing: Editing) -> None:
    """The model is in memory once; the server is told of the other folder."""
    other = editing.project.parent / "another project"
    (other / ".git").mkdir(parents=True, exist_ok=True)
    (other / "a.py").write_text(SHAPES)
    before = neovim.servers()
    neovim.edit(other / "a.py")
    told = neovim.until(
        lambda: editing.notifications("workspace/didChangeWorkspaceFolders"),
        "it is told",
    )
    assert [one["name"] for one in told[0]["event"]["added"]] == [str(other)]
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    assert neovim.servers() == before


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_a_server_that_keeps_dying_is_given_up(
    variant: Variant, tmp_path: Path
) -> None:
    """After some starts, with longer and longer pauses, the user is told once.

    What it said is in the log.
    """
    dies = lua_list([sys.executable, "-c", "raise SystemExit('out of luck')"])
    with start(
        variant, tmp_path, after=f"vim.g.lsp_stablecode = {{ cmd = {dies} }}"
    ) as editing:
        neovim = editing.neovim
        said = neovim.command("LspStablecode log")
        assert "nothing was logged so far" in said
        neovim.edit(editing.project / "shapes.py")
        neovim.until(lambda: "keeps dying" in neovim.messages(), "the user is told")
        assert neovim.messages().count("keeps dying") == 1
        assert neovim.messages().count("the server died (code 1)") == 4
        neovim.type("Gosi")
        neovim.see_line("    si")
        neovim.type("<Esc>")
        neovim.command("LspStablecode log")
        assert "out of luck" in "\n".join(neovim.lines)


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_a_missing_server_is_told_once(variant: Variant, tmp_path: Path) -> None:
    """And what to do about it, by the health report."""
    cmd = "vim.g.lsp_stablecode = { cmd = { 'no-such-server', 'serve' } }"
    with start(variant, tmp_path, after=cmd) as editing:
        neovim = editing.neovim
        for name in ("shapes.py", "emoji.py", "shapes.py"):
            neovim.edit(editing.project / name)
        neovim.type("Gosi")
        neovim.see_line("    si")
        assert neovim.messages().count("no server found") == 1
        neovim.type("<Esc>")
        neovim.command("checkhealth lsp-stablecode")
        report = "\n".join(neovim.lines)
        assert "ERROR `no-such-server` cannot be run" in report
        assert "PATH" in report


def test_the_server_in_the_clone_is_found(tmp_path: Path) -> None:
    """Where ``make setup`` put it, and only if there is none on the PATH."""
    program = neovim_program("0.11")
    clone = tmp_path / "clone"
    shutil.copytree(PLUGIN, clone / "editors" / "neovim")
    installed = clone / ".venv" / "bin" / "lsp-stablecode"
    installed.parent.mkdir(parents=True)
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    ask = (
        "--clean",
        "--cmd",
        f"set runtimepath^={clone}/editors/neovim",
        "+lua vim.env.PATH = '/nowhere'",
        "+lua print(vim.inspect(require('lsp-stablecode.server').command()))",
        "+quit",
    )
    said = program.run(*ask, folder=tmp_path)
    assert said.strip() == f'{{ "{installed}", "serve", "--shared" }}'


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_the_engine_that_editors_share(
    variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default that one is started; killed, it is there again, and nothing lost."""
    monkeypatch.setenv("PATH", path_with_server(tmp_path))
    with runtime_folder() as hubs:
        monkeypatch.setenv(RUNTIME_VARIABLE, str(hubs.folder))
        defaults = f"vim.g.lsp_stablecode = {{ ghost_text = '{variant.ghost_text}' }}"
        with start(variant, tmp_path, after=defaults) as editing:
            neovim = editing.neovim
            editing.open("shapes.py")
            neovim.type("Gosi")
            neovim.see_ghost("ze = width * height")
            engine = hubs.process()
            engine.kill()
            neovim.until(lambda: engine not in hubs.processes(), "it ends")
            neovim.type("ze")
            neovim.see_line("    size")
            neovim.until(
                lambda: hubs.processes() not in ([], [engine]), "another engine"
            )
            neovim.type(" ")
            neovim.see_ghost("= width * height")
            neovim.type("<Tab>")
            neovim.see_line(_SIZE)
            assert neovim.messages().count("died") == 0


# --- a slow model -------------------------------------------------------------


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_typing_over_a_slow_model(variant: Variant, tmp_path: Path) -> None:
    """No frame shows ghost text for other text than there is; no key is lost."""
    with start(variant, tmp_path, model="echo:40") as editing:
        editing.open("shapes.py")
        neovim = editing.neovim
        start_s = neovim.type("Go")
        typed = "size = width * height  # typed faster than the model"
        for character in typed:
            neovim.type(character)
            time.sleep(0.03)  # A fast typist.
        neovim.type("<CR>si")
        neovim.see(lambda frame: "si" in frame.rows[13] and frame.ghost, "the last")
        assert neovim.lines[-2:] == [f"    {typed}", "    si"]
        frames = neovim.frames_since(start_s)
        assert all(_is_current(frame) for frame in frames)
        assert not any("-32" in message for message in neovim.messages().splitlines())


def _is_current(frame: Frame) -> bool:
    """Whether the echo engine would say so here: what it says begins alike."""
    row = frame.rows[12]
    if not frame.ghost or frame.cursor[0] != 12:
        return True
    typed = row[: frame.cursor[1]]
    return row[frame.cursor[1] :] in ("pass", "return", "break") or _SIZE.startswith(
        typed
    )


# --- what people ask it -------------------------------------------------------


def test_status_explain_and_snooze(neovim: Neovim) -> None:
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    neovim.type("<Esc>")
    neovim.see_ghost()
    neovim.command("messages clear")
    neovim.command("LspStablecode status")
    neovim.until(lambda: "ready; echo on cpu" in neovim.messages(), "the status")
    neovim.command("LspStablecode explain")
    neovim.until(lambda: "# The last completion" in neovim.lines[0], "the explanation")
    assert 'text: "ze = width * height"' in "\n".join(neovim.lines)
    neovim.type("q")
    neovim.until(lambda: len(neovim.request("nvim_list_wins")) == 1, "it is closed")
    neovim.command("LspStablecode snooze 5")
    neovim.until(lambda: "paused until" in neovim.messages(), "it is paused")
    assert neovim.lua("return require('lsp-stablecode').status()") == "stablecode: off"
    neovim.command("LspStablecode snooze 0")
    neovim.until(
        lambda: neovim.lua("return require('lsp-stablecode').status()") == "stablecode",
        "the pause is over",
    )


def test_the_doctor_looks_at_the_model_in_use(neovim: Neovim, editing: Editing) -> None:
    """As the server's command names it, and the settings before that."""
    neovim.command("LspStablecode doctor")
    neovim.until(
        lambda: re.search(r"model +echo: asked for", "\n".join(neovim.lines)),
        "doctor's findings",
    )
    neovim.command("stopinsert | bwipeout!")
    editing.change_settings(model="echo:7", contextTokens=512)
    neovim.command("LspStablecode doctor")
    neovim.until(
        lambda: re.search(r"model +echo:7: asked for", "\n".join(neovim.lines)),
        "doctor's findings",
    )
    neovim.command("stopinsert | bwipeout!")
    editing.change_settings()


def test_subcommands_are_completed_and_checked(neovim: Neovim) -> None:
    def complete(line: str) -> list[str]:
        found: list[str] = neovim.request(
            "nvim_call_function", "getcompletion", [line, "cmdline"]
        )
        return found

    assert complete("LspStablecode ") == [
        "doctor",
        "explain",
        "health",
        "log",
        "restart",
        "snooze",
        "status",
        "toggle",
        "trigger",
    ]
    assert complete("LspStablecode toggle b") == ["buffer"]
    assert complete("LspStablecode status ") == []
    neovim.command("messages clear")
    neovim.lua("pcall(vim.cmd.LspStablecode, 'nonsense')")
    neovim.lua("pcall(vim.cmd.LspStablecode, { args = { 'toggle', 'everything' } })")
    assert "there is no 'nonsense'; there are doctor, explain" in neovim.messages()
    assert "toggle takes one of global, buffer, language" in neovim.messages()


def test_asked_by_command(neovim: Neovim) -> None:
    neovim.type("Gosi<Esc>")
    neovim.see_line("    si")
    neovim.type(":LspStablecode trigger<CR>")
    neovim.see(lambda frame: frame.row_with("(1/3)"), "the alternatives")


def test_the_health_report(neovim: Neovim, editing: Editing) -> None:
    version = editing.variant.version
    neovim.command("inoremap <buffer> <C-]> x")
    neovim.command("checkhealth lsp-stablecode")
    report = "\n".join(neovim.lines)
    assert re.search(rf"OK {version}\.\d", report)
    assert f"OK lsp-stablecode {__version__}: {sys.executable}" in report
    assert "OK ghost text is drawn by this plugin" in report
    assert re.search(r"OK the server is attached \(client \d+, utf-8\)", report)
    assert "OK the model is ready: echo on cpu" in report
    assert "<C-]> has another mapping in this buffer, which comes first: x" in report
    assert "ERROR" not in report


def test_the_health_report_says_why_there_is_none(neovim: Neovim) -> None:
    neovim.command("LspStablecode toggle language")
    neovim.command("checkhealth lsp-stablecode")
    report = "\n".join(neovim.lines)
    neovim.command("close")
    neovim.command("LspStablecode toggle language")
    assert "nothing is suggested here: switched off for this file type" in report


def test_the_status_line(neovim: Neovim) -> None:
    neovim.command(
        "set laststatus=2 statusline=[%{v:lua.require'lsp-stablecode'.status()}]"
    )
    neovim.see(lambda frame: frame.row_with("[stablecode]"), "it is ready")
    neovim.command("LspStablecode toggle")
    neovim.see(lambda frame: frame.row_with("[stablecode: off]"), "it is off")
    neovim.command("LspStablecode toggle")
    neovim.see(lambda frame: frame.row_with("[stablecode]"), "it is on")
    neovim.command("new")
    neovim.see(lambda frame: frame.row_with("[]"), "a buffer without a server")
    neovim.command("bwipeout | set statusline&")


_SOON_RESTING = """
from lsp_stablecode import cli, model_pool, settings
settings.Settings.rest_after_s = property(lambda self: 0.5)
model_pool._LOOK_S = 0.1
raise SystemExit(cli.main())
"""


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_a_model_that_rests_is_not_off(variant: Variant, tmp_path: Path) -> None:
    """And comes when it is asked; who pauses it sees that."""
    command = [sys.executable, "-c", _SOON_RESTING, "serve", "--model", "echo"]
    options = f"vim.g.lsp_stablecode = {{ cmd = {lua_list(command)} }}"
    with start(variant, tmp_path, after=options) as editing:
        neovim = editing.neovim
        neovim.edit(editing.project / "shapes.py")

        def is_said_to_rest() -> bool:
            # The server looks at its status when the user is at another place.
            neovim.command("doautocmd BufEnter")
            message: str = neovim.lua("return (plugin.state() or {}).message or ''")
            return "The model rests" in message

        def see_rest() -> None:
            neovim.until(is_said_to_rest, "it rests")
            neovim.until(
                lambda: neovim.lua("return plugin.status()") == "stablecode",
                "all is well",
            )

        neovim.lua("plugin = require('lsp-stablecode')")
        see_rest()
        neovim.command("checkhealth lsp-stablecode")
        assert "OK the model rests until it is asked" in "\n".join(neovim.lines)
        neovim.command("close")
        neovim.type("Gosi")
        neovim.see_ghost("ze = width * height")
        neovim.type("<Esc>")
        see_rest()
        neovim.command("LspStablecode snooze 5")
        neovim.until(
            lambda: neovim.lua("return plugin.status()") == "stablecode: off",
            "it is paused",
        )


# --- options ------------------------------------------------------------------


def test_wrong_options_are_named(neovim: Neovim) -> None:
    def problem(options: str) -> str:
        said: str = neovim.lua(
            f"return select(2, pcall(require('lsp-stablecode').setup, {options}))"
        )
        return said

    assert "there is no option 'ghosttext'" in problem("{ ghosttext = 'own' }")
    assert "there is no key 'acept'" in problem("{ keys = { acept = 'x' } }")
    assert "'auto', 'own' or 'builtin'" in problem("{ ghost_text = 'mine' }")
    assert "cmd: expected a list of texts" in problem("{ cmd = 'lsp-stablecode' }")


def test_file_types_can_be_left_out(neovim: Neovim, editing: Editing) -> None:
    num_asked = editing.num_asked()
    neovim.lua("require('lsp-stablecode').setup({ filetypes = { python = false } })")
    neovim.type("Gosi")
    neovim.see_row("    si")
    assert editing.num_asked() == num_asked
    neovim.lua(
        "require('lsp-stablecode').setup("
        "{ filetypes = { ['*'] = false, python = true } })"
    )
    neovim.type("z")
    neovim.see_ghost("e = width * height")
    neovim.lua("require('lsp-stablecode').setup({})")


def test_a_language_that_the_server_leaves_out(
    neovim: Neovim, editing: Editing
) -> None:
    """The status says so; once it is not left out any more, ghost text is there."""
    editing.change_settings(disabledLanguages=["python"])
    neovim.type("Gosi")
    neovim.until(
        lambda: (
            "switched off for this language"
            in neovim.lua("return require('lsp-stablecode').state().message")
        ),
        "the status",
    )
    neovim.see_row("    si")
    editing.change_settings()
    neovim.type("z")
    neovim.see_ghost("e = width * height")


@pytest.mark.parametrize("editing", VERSIONS[1:], indirect=True, ids=str)
def test_neovims_own_inline_completion_draws_nothing_twice(
    neovim: Neovim, editing: Editing
) -> None:
    """Where the user has switched it on for all servers."""
    neovim.lua("vim.lsp.inline_completion.enable(true)")
    neovim.type("Gosi")
    neovim.see_ghost("ze = width * height")
    drawn = neovim.lua(
        "return #vim.api.nvim_buf_get_extmarks(0, "
        "vim.api.nvim_create_namespace('nvim.lsp.inline_completion'), 0, -1, {})"
    )
    assert drawn == 0
    assert neovim.lua("return vim.lsp.inline_completion.get()") is False
    neovim.lua("vim.lsp.inline_completion.enable(false)")


@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_switched_off_by_a_variable(variant: Variant, tmp_path: Path) -> None:
    with start(variant, tmp_path, after="vim.g.lsp_stablecode = false") as editing:
        neovim = editing.neovim
        neovim.edit(editing.project / "shapes.py")
        assert neovim.request("nvim_call_function", "exists", [":LspStablecode"]) == 0
        assert not neovim.servers()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_every_position_encoding(editing: Editing, encoding: str) -> None:
    neovim = editing.neovim
    capabilities = {"general": {"positionEncodings": [encoding]}}
    editing.restart(capabilities)
    editing.open("emoji.py")
    client = "vim.lsp.get_clients({ name = 'lsp-stablecode' })[1]"
    assert neovim.lua(f"return {client}.offset_encoding") == encoding
    neovim.command("inoremap <buffer> ( ()<Left>")
    neovim.type('Goprint("🏁 👩‍👩‍👧 fi')
    neovim.see_line('print("🏁 👩‍👩‍👧 fi)')
    neovim.see(
        lambda frame: 'first", flag)' in frame.rows[frame.cursor[0]], "the whole line"
    )
    neovim.type("<Tab>")
    neovim.see_line('print("🏁 👩‍👩‍👧 first", flag)')
    editing.restart({"general": {"positionEncodings": ["utf-8", "utf-16", "utf-32"]}})
