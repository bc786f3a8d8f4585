"""``serve --shared``, from its arguments; imports little, for it must start at once."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from lsp_stablecode.shared.front import Front
from lsp_stablecode.shared.rendezvous import Rendezvous
from model import StablecodeError

FLAG = "--shared"
_RECORD = "--record"

# What two editors may have different and still share a hub.
_OF_THE_EDITOR = ("--trace", "--log-level", "--stdio", _RECORD)
_PATHS = ("--model", "--api-key-file")
_MOST_LOG_BYTES = 2_000_000


def is_shared(arguments: Sequence[str]) -> bool:
    """Tell whether a command line is ``serve --shared`` and asks for no help.

    ``--stdio`` stands for ``serve`` where editors start a server without a word.
    """
    return (
        arguments[0] in ("serve", "--stdio", FLAG)
        and FLAG in arguments
        and not {"-h", "--help", "--tcp"} & set(arguments)
    )


def run(arguments: Sequence[str]) -> int:
    """Serve one editor through the hub, and end the process.

    ``arguments`` are those of ``serve``. Returns an exit code where nothing was begun.
    """
    arguments = [one for one in arguments if one != FLAG]
    try:
        _make_paths_whole()
        rendezvous = Rendezvous(hub_arguments(arguments))
        streams = sys.stdin.buffer, _output()
        if path := _value_of(_RECORD, arguments):
            from lsp_stablecode.recording import recorded

            streams = recorded(*streams, Path(path))
        front = Front(rendezvous, arguments, log_file(), *streams)
    except (StablecodeError, OSError) as error:
        print(f"lsp-stablecode: {error}", file=sys.stderr)
        return 1
    try:
        exit_code = front.run()
    except KeyboardInterrupt:
        exit_code = 130
    except Exception:
        # A bug. The threads would make an abort of Python's own end.
        traceback.print_exc()
        exit_code = 1
    sys.stderr.flush()
    # Python's own exit would wait for the thread that reads standard input.
    os._exit(exit_code)


def hub_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the options that decide which hub an editor joins, in one spelling.

    Paths are whole, since the hub works in another folder.
    """
    options: list[list[str]] = []
    for word in arguments:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options.append([name, value] if equals else [name])
        elif options:
            options[-1].append(word)
    kept = sorted(one for one in options if one[0] not in _OF_THE_EDITOR)
    return [
        os.path.abspath(word) if name in _PATHS and os.path.exists(word) else word
        for name, *values in kept
        for word in (name, *values)
    ]


def _make_paths_whole() -> None:
    """Make the folders that variables name ones that the hub finds as well."""
    for name in ("LSP_STABLECODE_CACHE", "LSP_STABLECODE_STATE"):
        if value := os.environ.get(name):
            os.environ[name] = os.path.abspath(value)


def _value_of(name: str, arguments: Sequence[str]) -> str | None:
    """Return what stands after an option."""
    for one, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if one == name:
            return following
        if one.startswith(f"{name}="):
            return one.partition("=")[2]
    return None


def log_file() -> Path:
    """Return where hubs log to; an old log that has grown is put aside."""
    import platformdirs

    path = platformdirs.user_log_path("lsp-stablecode", appauthor=False) / "hub.log"
    try:
        if path.stat().st_size > _MOST_LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
    except OSError:
        # None yet, or another front was faster.
        pass
    return path


def _output() -> BinaryIO:
    """Return the real standard output, which nobody prints to."""
    output = open(os.dup(sys.stdout.fileno()), "wb")  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output
