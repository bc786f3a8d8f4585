"""A Neovim with the plugin and the echo server, in a project of sample files."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.editors.installing import NotInstallableError
from tests.editors.neovim import PLUGIN, Neovim, install, lua_list
from tests.editors.samples import make_project, server_command


@dataclass(frozen=True, slots=True)
class Variant:
    """A version of Neovim, and who draws the ghost text in it."""

    version: str
    ghost_text: str

    def __str__(self) -> str:
        return f"{self.version}-{self.ghost_text}"


VARIANTS = [
    Variant("0.11", "own"),
    Variant("0.12", "own"),
    Variant("0.12", "builtin"),
]
"""For what a person sees; for the rest one per version is enough."""
VERSIONS = VARIANTS[:2]

_CONFIGURATION = """
vim.opt.runtimepath:prepend([==[{plugin}]==])
vim.g.lsp_stablecode = {{ cmd = {command}, ghost_text = '{ghost_text}' }}
-- What the server is told, and how many suggestions it was asked for.
notified, num_asked = {{}}, 0
vim.api.nvim_create_autocmd('LspNotify', {{
  callback = function(event)
    table.insert(notified, {{ event.data.method, event.data.params }})
  end,
}})
vim.api.nvim_create_autocmd('LspRequest', {{
  callback = function(event)
    local method, type = event.data.request.method, event.data.request.type
    if method == 'textDocument/inlineCompletion' and type == 'pending' then
      num_asked = num_asked + 1
    end
  end,
}})
"""
_CLIENT_IDS = """
return vim.tbl_map(function(client)
  return client.id
end, vim.lsp.get_clients({ name = 'lsp-stablecode' }))
"""
_IS_READY = """
local client = vim.lsp.get_clients({ name = 'lsp-stablecode', bufnr = 0 })[1]
if not client or not client.initialized then
  return false
end
local answer = client:request_sync('workspace/executeCommand', {
  command = 'lsp-stablecode.status',
}, 20000, 0)
return answer and answer.result and answer.result.state == 'ready' or false
"""


class Editing:
    """An editor and what tests do in it."""

    def __init__(self, variant: Variant, neovim: Neovim, project: Path) -> None:
        self.variant = variant
        self.neovim = neovim
        self.project = project
        self._numbers = itertools.count(1)

    def open(self, sample: str) -> Path:
        """Open a fresh copy of a sample file alone, in Normal mode, with a server."""
        path = self.project / f"{next(self._numbers)}-{sample}"
        shutil.copyfile(self.project / sample, path)
        self.edit(path)
        return path

    def edit(self, path: Path) -> None:
        """Open a file alone, and wait for its server's model."""
        neovim = self.neovim
        neovim.command("stopinsert | silent! %bwipeout!")
        neovim.until(
            lambda: neovim.request("nvim_get_mode")["mode"] == "n", "Normal mode"
        )
        neovim.lua("notified = {}")
        neovim.edit(path)
        neovim.until(lambda: neovim.lua(_IS_READY), "the model is there")

    def notifications(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of what the server was told by this method."""
        told = self.neovim.lua("return notified")
        return [params for name, params in told if name == method]

    def num_asked(self) -> int:
        """Return how many requests for suggestions were sent so far.

        What is on the screen was followed by its request, if there is one.
        """
        number: int = self.neovim.lua("return num_asked")
        return number

    def num_accepted(self) -> int:
        """Return how many suggestions the server was told were accepted."""
        number: int = self.ask_server("status")["accepted"]
        return number

    def change_settings(self, **settings: Any) -> None:
        """Change the server's settings; those that are not named become default."""
        self.neovim.lua("require('lsp-stablecode').setup({ settings = ... })", settings)

    def restart(self, capabilities: dict[str, Any] | None = None) -> None:
        """Start the server anew, with other capabilities if some are given."""
        neovim = self.neovim
        if capabilities is not None:
            neovim.lua(
                "vim.lsp.config('lsp-stablecode', { capabilities = ... })", capabilities
            )
        before = neovim.lua(_CLIENT_IDS)
        neovim.command("LspStablecode restart")
        self._see_another_server(before)

    def kill_server(self) -> None:
        """Kill the server, and wait until there is another one with its model."""
        before = self.neovim.lua(_CLIENT_IDS)
        for one in self.neovim.servers():
            one.kill()
        self._see_another_server(before)

    def _see_another_server(self, before: list[int]) -> None:
        neovim = self.neovim
        neovim.until(
            lambda: (now := neovim.lua(_CLIENT_IDS)) and not set(now) & set(before),
            "another server",
        )
        neovim.until(lambda: neovim.lua(_IS_READY), "its model is there")

    def ask_server(self, command: str, *arguments: Any) -> Any:
        """Run a command of the server."""
        return self.neovim.lua(
            "local client = vim.lsp.get_clients({ name = 'lsp-stablecode' })[1] "
            "local answer = client:request_sync('workspace/executeCommand', "
            "{ command = 'lsp-stablecode.' .. (...), arguments = { select(2, ...) } }, "
            "20000, 0) return answer.result",
            command,
            *arguments,
        )


def neovim_program(version: str) -> Any:
    """Return an installed Neovim, or skip the test, loudly."""
    try:
        return install(version)
    except NotInstallableError as error:
        pytest.skip(f"Neovim {version}: {error}")


@contextmanager
def start(
    variant: Variant,
    folder: Path,
    *arguments: str | Path,
    model: str = "echo",
    before: str = "",
    after: str = "",
) -> Iterator[Editing]:
    """Start Neovim; ``before`` and ``after`` are more lines of its ``init.lua``."""
    program = neovim_program(variant.version)
    command = server_command("--trace", str(folder / "trace.jsonl"), model=model)
    configuration = _CONFIGURATION.format(
        plugin=PLUGIN, command=lua_list(command), ghost_text=variant.ghost_text
    )
    project = make_project(folder)
    with Neovim(
        program, folder / "home", before + configuration + after, *arguments
    ) as neovim:
        yield Editing(variant, neovim, project)


def editing_in(variants: Sequence[Variant]) -> Any:
    """Return a fixture: one Neovim for each variant, for all tests of a module."""

    @pytest.fixture(scope="module", params=variants, ids=str)
    def editing(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Editing]:
        variant: Variant = request.param
        with start(variant, tmp_path_factory.mktemp("neovim")) as one:
            yield one

    return editing
