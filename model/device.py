"""Where a model runs and in which number format, and what room there is."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from model.errors import DeviceUnavailableError, OutOfMemoryError

GIB = 1024**3


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


def choose_device(device: str) -> str:
    """Resolve ``auto``, and check a device that was asked for.

    Raises ``DeviceUnavailableError``.
    """
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


def free_bytes(device: str) -> int:
    """Return the memory that can still be allocated on ``device``, in bytes."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def check_room(device: str, free: int, weight_bytes: int, cache_bytes: int) -> None:
    """Raise ``OutOfMemoryError`` when weights and cache do not fit ``free`` bytes."""
    needed = weight_bytes + cache_bytes
    if needed > free:
        raise OutOfMemoryError(
            f"The model needs {needed / GIB:.1f} GiB ({weight_bytes / GIB:.1f} weights,"
            f" {cache_bytes / GIB:.1f} cache), and {device} has {free / GIB:.1f} GiB "
            "free.",
            hint="Free memory, lower contextTokens, or choose a smaller model.",
        )
