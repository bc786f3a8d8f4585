"""The extension's own checks and tests, which need Node only."""

from __future__ import annotations

import subprocess

import pytest

from tests.editors.installing import NotInstallableError
from tests.editors.vscode import NAME
from tests.editors.vscode_install import (
    EXTENSION,
    Tools,
    install_node_modules,
    install_tools,
)

pytestmark = pytest.mark.editor


@pytest.fixture(scope="module")
def tools() -> Tools:
    try:
        found = install_tools()
        install_node_modules(found)
    except NotInstallableError as error:
        pytest.skip(f"{NAME}: {error}")
    return found


@pytest.mark.parametrize("script", ["check", "test"])
def test_npm(tools: Tools, script: str) -> None:
    """Types, lint and format; then the parts that know nothing of VS Code."""
    done = subprocess.run(
        ["npm", "run", script],
        cwd=EXTENSION,
        env=tools.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
