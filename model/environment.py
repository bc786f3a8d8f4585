"""What this machine has, for ``doctor`` and ``status``."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

from model.device import flash_attention_available


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
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        versions=versions,
        gpus=tuple(gpus),
        mps=torch.backends.mps.is_available(),
        flash_attention=flash_attention_available(),
        cpu_threads=torch.get_num_threads(),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.available),
    )
