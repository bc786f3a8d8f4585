"""Run a program that a model helped to write, and see whether it gets to its end.

The program has a process of its own, an empty directory, no standard streams and,
where the system has resource limits (not Windows), bounded memory, processor time and
file size. This stops accidents; it is no sandbox against malice.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Runs in the child. Only it knows where to report and with which token, so neither
# `sys.exit(0)` nor anything printed passes for reaching the end.
_HARNESS = """
import json, os, sys, traceback

order = json.loads(sys.stdin.readline())
try:
    import resource
except ImportError:
    pass
else:
    for name, limit in order["limits"].items():
        try:
            resource.setrlimit(getattr(resource, name), (limit, limit))
        except (AttributeError, OSError, ValueError):
            pass  # macOS refuses some
report, leave, error = open(order["report"], "w"), os._exit, ""
try:
    exec(compile(order["program"], "<program>", "exec"), {"__name__": "program"})
except MemoryError:
    error = "MemoryError"
except BaseException as caught:
    error = traceback.format_exception_only(caught)[-1].strip()[:500] or "error"
json.dump({"token": order["token"], "error": error}, report)
report.close()
leave(0)
"""

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended; ``detail`` says why it did not pass."""

    outcome: Literal["passed", "failed", "timeout"]
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program reached its end without an exception, in time."""
        return self.outcome == "passed"


def run_program(
    program: str, *, timeout_s: float = 5.0, memory_bytes: int = 1024 * _MIB
) -> ProgramResult:
    """Run Python source in a process of its own and wait for it.

    ``timeout_s`` is wall-clock time. Nothing the program does raises here.
    """
    token = secrets.token_hex()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        work = Path(directory, "work")
        work.mkdir()
        report = Path(directory, "report.json")
        order = {
            "program": program,
            "report": str(report),
            "token": token,
            "limits": {
                "RLIMIT_AS": memory_bytes,
                "RLIMIT_DATA": memory_bytes,
                "RLIMIT_CPU": math.ceil(timeout_s) + 1,
                "RLIMIT_FSIZE": 16 * _MIB,
                "RLIMIT_CORE": 0,
            },
        }
        process = subprocess.Popen(
            # Isolated: neither the caller's directory nor its PYTHON* variables.
            [sys.executable, "-I", "-X", "utf8", "-c", _HARNESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=work,
            env=_environment(work),
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(order).encode() + b"\n", timeout_s)
        except subprocess.TimeoutExpired:
            return ProgramResult("timeout", f"still running after {timeout_s:g} s")
        finally:
            _end(process)
        try:
            said = json.loads(report.read_text("utf-8"))
        except (OSError, ValueError):
            said = None
    if not isinstance(said, dict) or said.get("token") != token:
        return ProgramResult("failed", f"ended early with code {process.returncode}")
    if said["error"]:
        return ProgramResult("failed", said["error"])
    return ProgramResult("passed")


def _environment(directory: Path) -> dict[str, str]:
    """Return the little that Python needs to start, and no secrets."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), str(directory))
    return environment | places


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the program, its own children included."""
    if sys.platform == "win32":
        process.kill()
    else:
        # All gone already; macOS says so with EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
