"""The extension in a real VS Code with several folders, each with its own settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.editors.installing import NotInstallableError
from tests.editors.samples import make_project, server_command
from tests.editors.vscode import NAME, VSCode
from tests.editors.vscode_install import packaged_extension

pytestmark = pytest.mark.editor

REST = "ze = width * height"


@pytest.fixture
def window(tmp_path: Path) -> Iterator[VSCode]:
    """One VS Code with two folders, of which the project has its suggestions off."""
    try:
        tools, vsix = packaged_extension()
    except NotInstallableError as error:
        pytest.skip(f"{NAME}: {error}")
    window = VSCode(tools, tmp_path, make_project(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "shapes.py").write_text(
        (window.project / "shapes.py").read_text()
    )
    workspace = tmp_path / "both.code-workspace"
    folders = [{"path": str(window.project)}, {"path": str(tmp_path / "other")}]
    workspace.write_text(json.dumps({"folders": folders}))
    set_for_project(window, {"lsp-stablecode.enable": False})
    *command, _ = server_command()[:4]
    settings = {
        "lsp-stablecode.model": "echo",
        "lsp-stablecode.serverCommand": command,
        "lsp-stablecode.sharedEngine": False,
    }
    try:
        window.install(vsix)
        window.start(settings, workspace=workspace)
        window.wait_until_ready()
        yield window
        window.picture(tmp_path / "end.png")
        print(window.report())
    finally:
        window.stop()


def set_for_project(window: VSCode, settings: dict[str, Any]) -> None:
    path = window.project / ".vscode" / "settings.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings))


def set_for(window: VSCode, name: str) -> Any:
    """Return what a folder's settings say of the switch."""
    path = window.folder / name / ".vscode" / "settings.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_the_switch_of_a_folder_is_the_one_that_is_switched(window: VSCode) -> None:
    window.open("shapes.py")
    window.wait(lambda: window.status_icon == "circle-slash", "the project's switch")
    window.click_status()
    window.choose("Switch On")
    window.wait(lambda: window.status_icon == "sparkle", "the status")
    assert set_for(window, window.project.name) == {"lsp-stablecode.enable": True}
    window.type("    si")
    window.wait_for_ghost(REST)

    # Everywhere else it is off, and the server is told of one switch only.
    window.set(enable=False)
    window.type("z")
    window.wait_for_ghost(REST[1:])
    window.open(str(window.folder / "other" / "shapes.py"))
    window.wait(lambda: window.status_icon == "circle-slash", "the other's status")
    window.command("lsp-stablecode.toggleSuggestions")
    window.wait(lambda: window.status_icon == "sparkle", "the status")
    assert set_for(window, "other") == {}

    # What a folder says of a language is undone there.
    set_for_project(window, {"[python]": {"lsp-stablecode.enable": False}})
    window.open("shapes.py")
    window.wait(lambda: window.status_icon == "circle-slash", "the language's switch")
    window.command("lsp-stablecode.toggleLanguage")
    window.wait(lambda: window.status_icon == "sparkle", "the status")

    # To switch all off is to switch this off, whatever is said of its language.
    set_for_project(window, {"[python]": {"lsp-stablecode.enable": True}})
    window.command("lsp-stablecode.toggleSuggestions")
    window.wait(lambda: window.status_icon == "circle-slash", "the status")
