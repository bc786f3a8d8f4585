"""Helix in a terminal, unpacked from Debian testing with its own C library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.editors.installing import install_once, run, unpack_debian

_PACKAGES = ["hx", "libc6", "libgcc-s1"]


@dataclass(frozen=True, slots=True)
class Helix:
    """A command that starts it, and its version."""

    command: list[str]
    version: str


def install_helix() -> Helix:
    """Return Helix. Raises ``NotInstallableError``."""
    folder = install_once(
        "helix-testing", lambda folder: unpack_debian("testing", _PACKAGES, folder)
    )
    (loader,) = folder.glob("usr/lib64/ld-linux-x86-64.so.*")
    (libraries,) = folder.glob("usr/lib/*-linux-gnu")
    command = [
        str(loader),
        "--library-path",
        str(libraries),
        str(folder / "usr/bin/hx"),
    ]
    return Helix(command, run([*command, "--version"]).split()[1])


def log_of(home: Path) -> str:
    """Return what Helix wrote down of its language servers."""
    log = home / ".cache/helix/helix.log"
    return log.read_text("utf-8", "replace") if log.exists() else ""
