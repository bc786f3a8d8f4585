"""What VS Code is told of the extension agrees with the server and the project."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lsp_stablecode import __version__
from lsp_stablecode.server import make_server
from lsp_stablecode.settings import DEFAULTS, parse_settings
from lsp_stablecode.settings_schema import settings_schema

PROJECT = Path(__file__).parents[1]
EXTENSION = PROJECT / "editors" / "vscode"
SECTION = "lsp-stablecode."


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text())
    return manifest


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """Return the script that writes the settings."""
    path = EXTENSION / "scripts" / "write_settings.py"
    spec = importlib.util.spec_from_file_location("write_settings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def properties(package: dict[str, Any]) -> dict[str, Any]:
    groups = package["contributes"]["configuration"]
    return {key: one for group in groups for key, one in group["properties"].items()}


def test_the_settings_are_the_servers(
    package: dict[str, Any], writer: ModuleType
) -> None:
    """If this fails: python editors/vscode/scripts/write_settings.py."""
    assert package == writer.with_settings(package)


def test_every_setting_of_the_server_is_described(package: dict[str, Any]) -> None:
    contributed = properties(package)
    for key, schema in settings_schema()["properties"].items():
        setting = contributed[SECTION + key]
        assert setting["markdownDescription"].startswith(schema["markdownDescription"])
        for word in ("enum", "minimum", "maximum", "items"):
            assert setting.get(word) == schema.get(word)


def test_the_server_accepts_every_default(package: dict[str, Any]) -> None:
    known = settings_schema()["properties"]
    defaults = {key: properties(package)[SECTION + key]["default"] for key in known}
    assert parse_settings(defaults) == (DEFAULTS, ())


def test_the_extension_knows_which_settings_are_its_own(
    package: dict[str, Any],
) -> None:
    source = (EXTENSION / "src" / "settings.ts").read_text()
    listed = re.search(r"OWN_KEYS[^\[]*\[\s*(.*?)\]", source.replace("[]", ""), re.S)
    assert listed is not None
    own = set(re.findall(r'"(\w+)"', listed[1]))
    known = set(settings_schema()["properties"])
    assert own == {key.removeprefix(SECTION) for key in properties(package)} - known


def test_an_untrusted_workspace_chooses_no_program_no_model_and_no_address(
    package: dict[str, Any],
) -> None:
    """Nothing that is a text or a list of texts, so that a new one is thought of."""
    trust = package["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    harmless = {"device", "disabledLanguages"}
    for key, setting in properties(package).items():
        is_free = setting["type"] in ("string", "array") and "enum" not in setting
        if is_free and key.removeprefix(SECTION) not in harmless:
            is_of_the_machine = setting["scope"] == "machine"
            assert is_of_the_machine or key in trust["restrictedConfigurations"], key
    for key in ("backend", "allowDownload", "context"):
        assert SECTION + key in trust["restrictedConfigurations"]


def test_no_command_is_the_servers(package: dict[str, Any]) -> None:
    """The client registers the server's commands itself, and would find them taken."""
    server = make_server(DEFAULTS)
    ours = {one["command"] for one in package["contributes"]["commands"]}
    assert ours.isdisjoint(server.protocol.fm.commands)


def test_every_command_is_registered(package: dict[str, Any]) -> None:
    source = (EXTENSION / "src" / "commands.ts").read_text()
    for one in package["contributes"]["commands"]:
        name = one["command"].removeprefix(SECTION)
        assert re.search(rf"^ +{name}: ", source, re.M), name
        assert one["category"] == "lsp-stablecode"
        assert one["title"]
        assert one["icon"].startswith("$(")


def test_it_has_what_the_marketplace_wants(package: dict[str, Any]) -> None:
    assert package["version"] == __version__
    assert package["license"] == "Apache-2.0"
    assert (EXTENSION / "LICENSE").read_text() == (PROJECT / "LICENSE").read_text()
    for name in ("README.md", "CHANGELOG.md", package["icon"]):
        assert (EXTENSION / name).stat().st_size > 0
    assert package["icon"].endswith(".png")
    readme = (EXTENSION / "README.md").read_text()
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme):
        assert (EXTENSION / picture).stat().st_size < 150_000


def test_no_registry_is_named() -> None:
    assert '"resolved"' not in (EXTENSION / "package-lock.json").read_text()
