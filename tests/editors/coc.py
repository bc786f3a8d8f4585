"""coc.nvim, which package registries do not have with inline completion."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.editors.installing import NotInstallableError

VARIABLE = "LSP_STABLECODE_COC"


@dataclass(frozen=True, slots=True)
class Coc:
    """Where coc.nvim is, and the Node that runs it."""

    plugin: Path
    node: Path

    def configuration(self, home: Path) -> str:
        """Return lines of ``init.lua``; ``home`` holds ``coc-settings.json``."""
        return f"""
vim.opt.runtimepath:append([==[{self.plugin}]==])
vim.g.coc_node_path = [==[{self.node}]==]
vim.g.coc_config_home = [==[{home}]==]
vim.g.coc_data_home = [==[{home}]==]
"""


def find_coc() -> Coc:
    """Return a copy of coc.nvim that somebody has put here."""
    plugin = os.environ.get(VARIABLE)
    if not plugin:
        raise NotInstallableError(
            "no package registry has one with inline completion; name a checkout of "
            f"its release branch in {VARIABLE}"
        )
    if not (Path(plugin) / "build/index.js").is_file():
        raise NotInstallableError(f"{VARIABLE}={plugin} has no build/index.js")
    node = shutil.which("node")
    if node is None:
        raise NotInstallableError("it needs node on the PATH")
    return Coc(Path(plugin), Path(node))
