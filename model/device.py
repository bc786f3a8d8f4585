"""Where a model runs, in which number format, and on how many threads."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from model.errors import DeviceUnavailableError

# More rarely help: memory is read no faster, and the editor wants some too.
_MOST_DEFAULT_THREADS = 8


@dataclass(frozen=True, slots=True)
class Placement:
    """The device (``cpu``, ``cuda:0``, ``mps``) and dtype chosen, and why."""

    device: str
    dtype: str
    notes: tuple[str, ...] = ()


def flash_attention_available() -> bool:
    """Return whether flash-attn 2's kernels can be imported."""
    try:
        return importlib.util.find_spec("flash_attn.flash_attn_interface") is not None
    except (ImportError, ValueError):
        return False


def gpu_possible() -> bool:
    """Return whether torch might find a GPU, without importing it (a second or two)."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        version = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return True
    if re.search(r"^(cuda|hip)\b[^=\n]*= *['\"]", version, re.MULTILINE) is None:
        return False  # a build for processors alone
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(driver)
    except OSError:
        return re.search(r"^hip\b[^=\n]*= *['\"]", version, re.MULTILINE) is not None
    return True


def choose_threads(wanted: int | None) -> int:
    """Return how many threads compute: by default one per core that we may use."""
    if wanted is not None:
        return wanted
    import psutil

    usable = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    cores = psutil.cpu_count(logical=False) or usable
    usable = min(usable, _container_limit() or usable)
    return max(1, min(usable, cores, _MOST_DEFAULT_THREADS))


def _container_limit() -> int | None:
    """Return how many processors a Linux container may use, where that is limited."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("utf-8").split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None


def choose_device(device: str) -> str:
    """Resolve ``auto``, and check a device that was asked for.

    Raises ``DeviceUnavailableError``.
    """
    if device == "cpu" or (device == "auto" and not gpu_possible()):
        return "cpu"
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return "cpu"
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(index) if index.isdigit() else 0
        if number < count:
            return f"cuda:{number}"
        found = f"{count} CUDA device(s)" if count else "no CUDA device"
        raise DeviceUnavailableError(
            f"The device {device!r} was asked for, and torch sees {found}.",
            hint="Use device auto or cpu, or install a CUDA build of torch.",
        )
    if kind == "mps":
        if torch.backends.mps.is_available():
            return "mps"
        raise DeviceUnavailableError(
            "The device 'mps' was asked for, and this is no Apple GPU.",
            hint="Use device auto or cpu.",
        )
    raise DeviceUnavailableError(
        f"There is no device {device!r}.",
        hint="Use auto, cpu, cuda, cuda:N or mps.",
    )


def choose_dtype(device: str, dtype: str) -> tuple[str, str]:
    """Resolve ``auto`` to what ``device`` computes fast; return it and why."""
    import torch

    if dtype != "auto":
        return dtype, "asked for"
    if device.startswith("cuda"):
        if torch.cuda.is_bf16_supported():
            return "bfloat16", "the GPU has bfloat16"
        return "float16", "the GPU has no bfloat16"
    if device == "mps":
        return "float16", "Apple GPU"
    # The same query torch itself uses to choose its bfloat16 kernels.
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    if supported is not None and supported():
        return "bfloat16", "the processor has bfloat16"
    return "float32", "the processor has no bfloat16"


def place(device: str, dtype: str) -> Placement:
    """Choose device and dtype for what the user asked (``auto`` included)."""
    chosen = choose_device(device)
    number_format, reason = choose_dtype(chosen, dtype)
    note = f"dtype {number_format}: {reason}"
    return Placement(chosen, number_format, (note,))
