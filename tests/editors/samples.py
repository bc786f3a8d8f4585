"""Files that every editor's tests open, and the server's command line.

The echo engine continues a line as the nearest earlier line that began with the same
text, so a test knows what will be suggested where.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

SHAPES = '''\
"""Areas and volumes."""


def area(width, height):
    """Return the area of a rectangle."""
    size = width * height
    print("the area is", size)
    return size


def volume(width, height, depth):
    """Return the volume of a box."""
'''
"""Typing at its end, ``    si`` is continued with ``ze = width * height``."""

EMOJI = 'flag = "🏁 done"\nprint("🏁 👩‍👩‍👧 first", flag)\n'
TABS = (
    "func area(width int) int {\n\tsize := width * 2\n\treturn size\n}\n\nfunc b() {\n"
)
NUM_LONG_LINES = 10_000


def make_project(parent: Path) -> Path:
    """Write the files into a new folder, whose name has a space and an umlaut."""
    folder = parent / "ein Projekt mit ü"
    folder.mkdir()
    (folder / ".git").mkdir()  # What editors take for the project's root.
    _write(folder / "shapes.py", SHAPES)
    _write(folder / "crlf.py", SHAPES.replace("\n", "\r\n"))
    _write(folder / "emoji.py", EMOJI)
    _write(folder / "tabs.go", TABS)
    lines = "".join(f"value_{n} = {n}\n" for n in range(NUM_LONG_LINES - 1))
    _write(folder / "long.py", lines + "total = sum(range(10))\n")
    return folder


def server_command(*arguments: str, model: str = "echo") -> list[str]:
    """Return what starts the server; ``echo:20`` takes 20 ms for every step."""
    return [
        sys.executable,
        "-m",
        "lsp_stablecode",
        "serve",
        "--model",
        model,
        *arguments,
    ]


def path_with_server(folder: Path) -> str:
    """Put a program of the server's name into a folder; return a PATH with it.

    It takes the echo engine, and the arguments that it is called with.
    """
    program = folder / "bin/lsp-stablecode"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nshift\nexec {shlex.join(server_command())} "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
