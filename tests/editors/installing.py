"""Editors and their tools, installed once into the user's cache, never system-wide.

What an editor needs of Debian's own release is asked of ``apt-get``; what only a newer
release has is unpacked into a folder of its own. Everything raises
``NotInstallableError`` with a reason that a person can act on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import filelock
import platformdirs

_APT = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/release.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
"""


class NotInstallableError(Exception):
    """An editor cannot be had on this machine; the text says why."""


def editors_folder() -> Path:
    """Return where editors are kept: ``$LSP_STABLECODE_EDITORS``, else a cache."""
    chosen = os.environ.get("LSP_STABLECODE_EDITORS")
    if chosen:
        return Path(chosen)
    return platformdirs.user_cache_path("lsp-stablecode", appauthor=False) / "editors"


def install_once(name: str, install: Callable[[Path], None]) -> Path:
    """Return a folder that ``install`` filled, now or an earlier time.

    ``name`` should hold the version. A folder that was half filled is filled anew.
    """
    folder = editors_folder() / name
    whole = folder / ".whole"
    with filelock.FileLock(_lock(name)):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            install(folder)
            whole.touch()
    return folder


def run(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 900,
) -> str:
    """Run a command of an installation and return what it printed."""
    line = " ".join(map(str, command))
    try:
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstallableError(f"{line}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise NotInstallableError(f"{line}: {' / '.join(said)}")
    return done.stdout


def debian_packages(*names: str) -> None:
    """Have packages of the machine's own Debian release installed."""
    missing = [name for name in names if not _has_debian_package(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotInstallableError(f"install these first: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with filelock.FileLock(_lock("apt")):
        run(["apt-get", "update", "-qq"], environment=quiet)
        run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing],
            environment=quiet,
        )


def unpack_debian(release: str, names: Sequence[str], folder: Path) -> None:
    """Unpack packages of another Debian release, such as ``testing``, into a folder.

    The machine's own packages, and what ``apt`` knows of them, stay as they are.
    """
    apt = editors_folder() / f"apt-{release}"
    with filelock.FileLock(_lock(f"apt-{release}")):
        configuration = _private_apt(release, apt)
        environment = {"APT_CONFIG": str(configuration)}
        run(["apt-get", "update", "-qq"], environment=environment)
        with tempfile.TemporaryDirectory(dir=apt) as downloads:
            run(
                ["apt-get", "download", "-qq", *names],
                folder=Path(downloads),
                environment=environment,
            )
            for package in sorted(Path(downloads).glob("*.deb")):
                run(["dpkg", "-x", package, folder])


def _private_apt(release: str, folder: Path) -> Path:
    """Write an apt configuration that knows one release, from the machine's mirror."""
    mirror, key = _mirror()
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "release.sources").write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {release}\nComponents: main\n"
        f"Signed-By: {key}\n"
    )
    configuration = folder / "apt.conf"
    configuration.write_text(_APT.format(folder=folder))
    return configuration


def _mirror() -> tuple[str, str]:
    """Return the mirror's address and the keyring that this machine's Debian uses."""
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    if shutil.which("apt-get") is None or not Path(key).is_file():
        raise NotInstallableError("this needs Debian's packages")
    for line in run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split():
        if line.rstrip("/").endswith("/debian"):
            return line, key
    raise NotInstallableError("no Debian mirror is set up here")


def _has_debian_package(name: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    try:
        status = run(["dpkg-query", "-W", "-f", "${Status}", name])
    except NotInstallableError:
        return False
    return status.endswith(" installed")


def _lock(name: str) -> Path:
    folder = editors_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"
