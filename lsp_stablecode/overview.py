"""All of one engine process: its models, its sessions, what they cost and came to."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict
from importlib import metadata
from typing import Any

import psutil

from lsp_stablecode import __version__
from lsp_stablecode.model_pool import ModelPool, SharedModel
from lsp_stablecode.settings import reported

_PACKAGES = (
    "lsp-stablecode",
    "pygls",
    "lsprotocol",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "flash-attn",
)


def overview(pool: ModelPool) -> dict[str, Any]:
    """Return the state of the process as JSON data; no source text, no file names."""
    return {
        "version": __version__,
        "processId": os.getpid(),
        "uptimeSeconds": round(time.time() - psutil.Process().create_time()),
        "memoryBytes": psutil.Process().memory_info().rss,
        "gpuMemoryBytes": gpu_memory_bytes(),
        "models": [_model(one) for one in pool],
        "sessions": [one.describe() for one in pool.sessions],
        **pool.all_metrics().describe(),
    }


def bug_report(pool: ModelPool) -> dict[str, Any]:
    """Return what helps to understand a problem, without any source text.

    Beside the overview: versions, settings, and each session's last outcomes with the
    language of their documents in place of their names.
    """
    return {
        "versions": versions(),
        "overview": overview(pool),
        "sessions": [one.report() for one in pool.sessions],
    }


def versions() -> dict[str, str]:
    """Return the versions of what this process is made of."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpu_memory_bytes() -> int | None:
    """Return what torch holds of a GPU, if it was imported and has one."""
    # Another thread may be importing it, and has come so far or not.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    is_available = getattr(cuda, "is_available", None)
    if cuda is None or is_available is None or not is_available():
        return None
    return sum(int(cuda.memory_reserved(i)) for i in range(cuda.device_count()))


def _model(model: SharedModel) -> dict[str, Any]:
    info = model.info
    return {
        "options": {
            name: reported(name, value) for name, value in asdict(model.options).items()
        },
        "state": model.state.name,
        "message": model.state.message,
        "engine": asdict(info) if info is not None else None,
        "sessions": len(model.users),
        "waiting": model.worker.num_waiting,
        "idleSeconds": round(model.worker.idle_s(time.monotonic())),
    }
