"""Emacs of two Debian releases, with lsp-mode and what else the tests need."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.editors.installing import debian_packages, install_once, run, unpack_debian

_PATIENCE_S = 180
_SITE_LISP = Path("/usr/share/emacs/site-lisp/elpa")
_LIBRARIES = ["company", "dash", "f", "ht", "lv", "markdown-mode", "s", "spinner"]
_PACKAGES = ["emacs-nox", "emacs-el", *(f"elpa-{name}" for name in _LIBRARIES)]

# Its own libraries, too, for they are newer than the machine's.
_TESTING_PACKAGES = shlex.split("""
    emacs-nox emacs-bin-common emacs-common emacs-el
    libacl1 libasound2t64 libattr1 libc6 libcap2 libdbus-1-3 libffi8 libgcc-s1
    libgccjit15 libgmp10 libgnutls30t64 libgpm2 libhogweed6t64 libidn2-0 libisl23
    libjansson4 liblcms2-2 libmpc3 libmpfr6 libnettle8t64 libp11-kit0 libpcre2-8-0
    libselinux1 libsqlite3-0 libstdc++6 libsystemd0 libtasn1-6 libtinfo6
    libtree-sitter0.26 libunistring5 libxml2-16 libzstd1 zlib1g
""")

# It would take the processor from the tests, and gcc's linker.
NO_MACHINE_CODE = """\
(setq native-comp-deferred-compilation nil
      native-comp-jit-compilation nil
      native-comp-enable-subr-trampolines nil)"""


@dataclass(frozen=True)
class Installation:
    """An Emacs with what the tests need of packages."""

    version: str
    program: Path
    load_path: tuple[Path, ...]
    autoloads: tuple[Path, ...]

    @property
    def arguments(self) -> list[str]:
        """The options that make the packages known in batch mode."""
        paths = [part for one in self.load_path for part in ("-L", str(one))]
        return ["--eval", NO_MACHINE_CODE, *paths]

    def batch(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """Run a clean Emacs without a screen, and return all that it says."""
        done = subprocess.run(
            [self.program, "-Q", "--batch", *self.arguments, *map(str, arguments)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def debian_emacs() -> Installation:
    """Return Debian's own Emacs, with the lsp-mode of Debian testing."""
    debian_packages(*_PACKAGES)
    return _installation(Path("/usr/bin/emacs"))


def emacs_with(*packages: str) -> Installation:
    """Return Debian's own Emacs with more of Debian's packages, such as ``evil``."""
    debian_packages(*(f"elpa-{name}" for name in packages))
    emacs = debian_emacs()
    paths = [one for name in packages for one in _SITE_LISP.glob(f"{name}-[0-9]*")]
    return replace(emacs, load_path=(*emacs.load_path, *paths))


def newest_emacs() -> Installation:
    """Return the Emacs of Debian testing, with the same packages."""
    debian_packages(*_PACKAGES)

    def install(folder: Path) -> None:
        unpack_debian("testing", _TESTING_PACKAGES, folder)
        _write_launcher(folder)

    return _installation(install_once("emacs-testing", install) / "usr/bin/emacs")


def package_lint() -> Path:
    """Return the folder of package-lint, and of what it needs."""

    def install(folder: Path) -> None:
        unpack_debian("testing", ["elpa-package-lint", "elpa-let-alist"], folder)
        lisp = folder / "lisp"
        lisp.mkdir()
        for source in folder.glob("usr/share/emacs/site-lisp/elpa-src/*"):
            shutil.copytree(source, lisp, dirs_exist_ok=True)

    return install_once("package-lint", install) / "lisp"


def _write_launcher(folder: Path) -> None:
    """Make an Emacs that was unpacked start where it lies, with its own libraries."""
    (loader,) = folder.glob("usr/lib64/ld-linux-x86-64.so.*")
    (libraries,) = folder.glob("usr/lib/*-linux-gnu")
    (shared,) = folder.glob("usr/share/emacs/[0-9]*")
    (dump,) = folder.glob("usr/libexec/emacs/*/*/emacs-*.pdmp")
    launcher = folder / "usr/bin/emacs"
    launcher.write_text(
        f"""#!/bin/sh
export EMACSLOADPATH='{shared}/lisp' EMACSPATH='{dump.parent}'
export EMACSDATA='{shared}/etc' EMACSDOC='{shared}/etc'
exec '{loader}' --library-path '{libraries}' --argv0 '{launcher}' \\
  '{launcher}-nox' --dump-file='{dump}' "$@"
"""
    )
    launcher.chmod(0o755)


def _installation(program: Path) -> Installation:
    version = re.search(r"[\d.]+", run([program, "--version"]))
    assert version is not None
    elpa = [one for name in _LIBRARIES for one in _SITE_LISP.glob(f"{name}-[0-9]*")]
    lsp_mode = _lsp_mode(program, elpa, version[0])
    return Installation(
        version=version[0],
        program=program,
        load_path=(*elpa, lsp_mode),
        autoloads=(lsp_mode / "lsp-mode-autoloads.el",),
    )


def _lsp_mode(program: Path, elpa: Sequence[Path], version: str) -> Path:
    """Return the folder of lsp-mode, compiled and with autoloads as a user's is."""

    def install(folder: Path) -> None:
        unpack_debian("testing", ["elpa-lsp-mode"], folder)
        source = _lsp_mode_source(folder)
        paths = [part for one in (*elpa, source) for part in ("-L", str(one))]
        batch = [program, "-Q", "--batch", *paths, "--eval", NO_MACHINE_CODE]
        lisp = f'(package-generate-autoloads "lsp-mode" "{source}")'
        run([*batch, "-l", "package", "--eval", lisp])
        files = sorted(one.name for one in source.glob("lsp-*.el"))
        quiet = ["--eval", "(setq byte-compile-warnings nil)"]
        run([*batch, *quiet, "-f", "batch-byte-compile", *files], folder=source)

    return _lsp_mode_source(install_once(f"lsp-mode-10-emacs-{version}", install))


def _lsp_mode_source(folder: Path) -> Path:
    (source,) = folder.glob("usr/share/emacs/site-lisp/elpa-src/lsp-mode-*")
    return source
