"""The machine and its software, for the record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model import describe_environment

_PACKAGES = ("llama-cpp-python", "numpy", "psutil")


def describe_machine() -> dict[str, Any]:
    """Return processor, memory, devices, load and versions. Imports torch."""
    environment = asdict(describe_environment())
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        environment["versions"][package] = version
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "load_average": [round(one, 2) for one in load],
        **environment,
    }


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
