"""The recipes for other editors: read out of the page, and tried."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.workspace import TextDocument

from tests.editors.coc import find_coc
from tests.editors.helix import Helix, install_helix, log_of
from tests.editors.installing import NotInstallableError
from tests.editors.neovim import Neovim, install
from tests.editors.samples import SHAPES, make_project, path_with_server
from tests.editors.terminal import Terminal
from tests.hubs import Hubs

PAGE = (Path(__file__).parents[1] / "docs/editors/others.md").read_text("utf-8")
CALLS = "def area(w, h):\n    return w * h\n\n\nprint(area(3, 4), [1])\n"


def block_of(heading: str, language: str) -> str:
    """Return the first block of a language that the page has under a heading."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(f"```{language}\n(.*?)```", section, re.S)
    assert found is not None, f"{heading} has no block of {language}"
    return found[1]


# --- any client ----------------------------------------------------------------


async def ask_menu(editor: Any, uri: str, line: int, character: int) -> Any:
    """Ask as a plain client does, and return the list."""
    return await editor.client.text_document_completion_async(
        types.CompletionParams(
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
    )


def accept(text: str, item: types.CompletionItem) -> str:
    """Apply an entry as the page says."""
    edit = item.text_edit
    assert isinstance(edit, types.TextEdit)
    document = TextDocument("file:///a.py", text, language_id="python")
    start = document.offset_at_position(edit.range.start)
    end = document.offset_at_position(edit.range.end)
    return text[:start] + edit.new_text + text[end:]


async def test_a_client_that_announces_nothing_gets_a_menu(
    start: Callable[..., Awaitable[Any]],
) -> None:
    editor = await start(capabilities=types.ClientCapabilities())
    assert editor.capabilities.completion_provider is not None
    text = SHAPES + "    si"
    answer = await ask_menu(editor, editor.open(text), 12, 6)
    assert answer.is_incomplete
    item = answer.items[0]
    assert item.filter_text.startswith("si")
    assert accept(text, item) == SHAPES + "    size = width * height"


async def test_an_entry_brings_the_closing_brackets(
    start: Callable[..., Awaitable[Any]],
) -> None:
    editor = await start(capabilities=types.ClientCapabilities())
    text = CALLS + "print()"
    answer = await ask_menu(editor, editor.open(text), 5, 6)
    assert accept(text, answer.items[0]) == CALLS + "print(area(3, 4), [1])"


async def test_a_client_that_announces_the_capability_gets_grey_text(
    start: Callable[..., Awaitable[Any]],
) -> None:
    """Announced as on the page, and no menu then: it would show everything twice."""
    announced = json.loads(block_of("Sublime Text, Kate, Zed and others", "json"))
    inline = announced["textDocument"]["inlineCompletion"]
    capabilities = types.ClientCapabilities(
        text_document=types.TextDocumentClientCapabilities(
            inline_completion=types.InlineCompletionClientCapabilities(**inline)
        )
    )
    editor = await start(capabilities=capabilities)
    assert editor.capabilities.completion_provider is None
    uri = editor.open(SHAPES + "    si")
    assert (await editor.texts(uri, 12, 6))[0] == "ze = width * height"


# --- Helix ---------------------------------------------------------------------


@pytest.fixture
def helix_program() -> Helix:
    try:
        return install_helix()
    except NotInstallableError as error:
        pytest.skip(f"Helix: {error}")


@pytest.fixture
def helix(helix_program: Helix, tmp_path: Path, hubs: Hubs) -> Iterator[Terminal]:
    """Start it in a file, configured as the page says."""
    configuration = tmp_path / ".config/helix"
    configuration.mkdir(parents=True)
    (configuration / "languages.toml").write_text(block_of("Helix", "toml"))
    project = make_project(tmp_path)
    (project / "calls.py").write_text(CALLS)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "XDG_CACHE_HOME": str(tmp_path / ".cache"),
        "PATH": path_with_server(tmp_path),
    }
    terminal = Terminal(
        [*helix_program.command, "-v", "shapes.py", "calls.py"],
        folder=project,
        environment=environment,
    )
    yield terminal
    terminal.close()


@pytest.mark.editor
@pytest.mark.parametrize(
    ("file", "before", "keys", "line"),
    [
        # It comes by itself behind a word.
        ("shapes.py", SHAPES, "si", "    size = width * height"),
        # By hand (C-x) elsewhere; Helix closes the bracket, the entry brings it along.
        ("calls.py", CALLS, "print(\x18", "print(area(3, 4), [1])"),
    ],
    ids=["by itself", "by hand"],
)
def test_helix_lists_the_suggestion(
    helix: Terminal, tmp_path: Path, file: str, before: str, keys: str, line: str
) -> None:
    def wait(is_so: Callable[[], object], what: str) -> None:
        helix.wait_until(is_so, what, details=lambda: log_of(tmp_path))

    path = tmp_path / "ein Projekt mit ü" / file
    wait(lambda: " NOR " in helix.text, "Helix")
    helix.send(f":o {file}\r")
    wait(lambda: re.search(f"NOR +{file}", helix.text), "the file")
    wait(lambda: '"kind": "end"' in log_of(tmp_path), "the model is loaded")
    helix.send("geo" + keys)
    entry = re.escape(line.strip().removeprefix("print("))
    wait(lambda: re.search(rf" {entry} +text", helix.text), "the entry in the menu")
    helix.send("\x0e\r")  # C-n
    wait(lambda: helix.text.count(line) == 2, "it is inserted")
    helix.send("\x1b")
    wait(lambda: " NOR " in helix.text, "normal mode")
    helix.send(":w\r")
    wait(lambda: path.read_text() == before + line + "\n", "the file is written")


# --- coc.nvim ------------------------------------------------------------------


@pytest.mark.editor
@pytest.mark.usefixtures("hubs")
def test_coc_shows_grey_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        coc, program = find_coc(), install("0.11")
    except NotInstallableError as error:
        pytest.skip(f"coc.nvim: {error}")
    home = tmp_path / "coc"
    home.mkdir()
    (home / "coc-settings.json").write_text(block_of("coc.nvim", "json"))
    keys = tmp_path / "vimrc"
    keys.write_text(block_of("coc.nvim", "vim"))
    project = make_project(tmp_path)
    monkeypatch.setenv("PATH", path_with_server(tmp_path))
    configuration = coc.configuration(home) + f"vim.cmd.source([==[{keys}]==])"
    with Neovim(program, tmp_path, configuration, project / "shapes.py") as neovim:
        initialized = "echo get(g:, 'coc_service_initialized')"
        neovim.until(lambda: neovim.command(initialized) == "1", "coc.nvim runs")
        services = "echo CocAction('services')"
        neovim.until(lambda: "'running'" in neovim.command(services), "the server runs")
        neovim.type("Go<C-u>    size = ")
        neovim.see_row("    size = width * height")
        assert neovim.line == "    size = "
        neovim.type("<M-f>")
        neovim.see_line("    size = width")
        neovim.see_row("    size = width * height")
        neovim.type("<Tab>")
        neovim.see_line("    size = width * height")
