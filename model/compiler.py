"""The kernels' C source, compiled once for this processor and kept in our cache.

Any C compiler will do: ``$CC``, the system's ``cc``, ``gcc`` or ``clang``, or the one
that the package ``ziglang`` brings. Without one the decoder runs on torch, slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from model.conversions import cache_directory
from model.errors import KernelsUnavailableError

_FOLDER = Path(__file__).parent / "kernels"
_SOURCES = ("decoder.c", "attention.h", "matrix.h", "pool.h", "simd.h")
_FLAGS = (
    "-O3",
    "-std=gnu11",
    # A row's result must not depend on how many rows the compiler unrolled.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fPIC",
    "-shared",
    "-pthread",
)
_TIMEOUT_S = 300
_HINT = (
    "Install a C compiler (Debian and Ubuntu: sudo apt install gcc; macOS: "
    "xcode-select --install; anywhere: pip install ziglang)."
)


@functools.cache
def load_kernels() -> ctypes.CDLL:
    """Return the library, compiling it the first time; some seconds then.

    Raises ``KernelsUnavailableError`` that says what is missing.
    """
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    library = cache_directory() / "kernels" / f"decoder-{kernels_key()}{suffix}"
    try:
        if not library.is_file():
            _compile_with_any(library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise KernelsUnavailableError(
            f"The processor's kernels cannot be loaded from {library} ({error}).",
            hint="Delete that file, or set LSP_STABLECODE_CACHE to another directory.",
        ) from error


@functools.cache
def kernels_key() -> str:
    """Return a name for these sources, compiled like this, on this processor."""
    key = hashlib.sha256()
    for name in _SOURCES:
        key.update((_FOLDER / name).read_bytes())
    key.update(" ".join((*_FLAGS, _native_flag(), os.environ.get("CC", ""))).encode())
    key.update(_processor().encode())
    return key.hexdigest()[:16]


def _compile_with_any(library: Path) -> None:
    """Try every compiler there is: the first may be a stub, or too old."""
    failure: KernelsUnavailableError | None = None
    for compiler in _compilers():
        try:
            command = [*compiler, *_FLAGS, _native_flag()]
            _compile(command, _FOLDER / _SOURCES[0], library)
            return
        except KernelsUnavailableError as error:
            failure = failure or error
    raise failure or KernelsUnavailableError("There is no C compiler.", hint=_HINT)


def _compilers() -> list[list[str]]:
    if value := os.environ.get("CC"):
        try:
            return [shlex.split(value, posix=os.name != "nt")]
        except ValueError as error:
            raise KernelsUnavailableError(
                f"CC is no command ({error}).", hint="Correct or unset it."
            ) from error
    # GCC for Windows does not align its stack for vectors of 32 bytes and more.
    names = ("clang",) if sys.platform == "win32" else ("cc", "gcc", "clang")
    found = [[path] for name in names if (path := shutil.which(name))]
    if importlib.util.find_spec("ziglang") is not None:
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return found


def _native_flag() -> str:
    arm = platform.machine().lower() in ("arm64", "aarch64")
    return "-mcpu=native" if arm else "-march=native"


def _processor() -> str:
    """Describe the processor: a cache may be shared between machines."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    except OSError:
        pass  # not Linux
    return f"{platform.machine()} {platform.processor()} {platform.node()}"


def _compile(command: list[str], source: Path, library: Path) -> None:
    """Compile into a temporary sibling and rename: others may do so just now."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".compile-", dir=library.parent, ignore_cleanup_errors=True
    ) as folder:
        partial = Path(folder) / library.name
        try:
            done = subprocess.run(
                [*command, str(source), "-o", str(partial), "-lm"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelsUnavailableError(
                f"The C compiler {command[0]} does not run ({error}).", hint=_HINT
            ) from error
        if done.returncode or not partial.is_file():
            lines = [one for one in done.stderr.splitlines() if "error" in one.lower()]
            reason = (lines or done.stderr.splitlines() or ["no reason given"])[0]
            raise KernelsUnavailableError(
                f"The C compiler {command[0]} fails on our kernels: {reason[:200]}",
                hint=_HINT,
            )
        try:
            os.replace(partial, library)
        except PermissionError:
            # Windows: another process was quicker, and has it loaded.
            if not library.is_file():
                raise
