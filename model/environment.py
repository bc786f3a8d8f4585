"""What this machine has, for ``doctor`` and ``status``."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

from model.compiler import load_kernels
from model.device import choose_threads, flash_attention_available
from model.errors import KernelsUnavailableError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device; memory in bytes."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Environment:
    """Versions, devices and memory (bytes)."""

    python: str
    platform: str
    versions: dict[str, str]
    gpus: tuple[Gpu, ...]
    mps: bool
    flash_attention: bool
    cpu_threads: int
    memory_total_bytes: int
    memory_free_bytes: int
    kernels: str
    kernels_advice: str = ""


_PACKAGES = (
    "lsp-stablecode",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "gguf",
    "flash-attn",
    "pygls",
    "lsprotocol",
)


def describe_environment() -> Environment:
    """Look around; imports torch."""
    import psutil
    import torch

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            gpus.append(Gpu(torch.cuda.get_device_name(index), total, free))
    memory = psutil.virtual_memory()
    try:
        load_kernels()
        kernels, advice = "compiled for this processor", ""
    except KernelsUnavailableError as error:
        kernels, advice = f"{error.message} torch serves instead, slower.", error.hint
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        versions=versions,
        gpus=tuple(gpus),
        mps=torch.backends.mps.is_available(),
        flash_attention=flash_attention_available(),
        cpu_threads=choose_threads(None),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.available),
        kernels=kernels,
        kernels_advice=advice,
    )
