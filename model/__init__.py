"""The model side: tokens, tensors and prompts, and nothing of editors.

This is the whole surface the server uses. Importing it does not import torch; what
needs torch is imported inside the functions below, off the event loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from model.catalog import CATALOG, CatalogEntry, find_entry
from model.errors import (
    ContextTooLargeError,
    DeviceError,
    DeviceUnavailableError,
    DownloadFailedError,
    DownloadNotAllowedError,
    ModelError,
    OutOfMemoryError,
    StablecodeError,
    TokenizerError,
    UnknownModelError,
    UnsafeWeightsError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
    WeightsNotFoundError,
)
from model.interface import (
    CancelFlag,
    Candidate,
    Cut,
    Engine,
    EngineInfo,
    EngineOptions,
    FillRequest,
    FillResult,
    FimOrder,
    LoadProgress,
    ProgressCallback,
    Statistics,
    StopRule,
)

if TYPE_CHECKING:
    from pathlib import Path

    from model.environment import Environment
    from model.loader import ModelChoice


def _share_the_processor() -> None:
    """Let torch's threads sleep while they wait for each other.

    By default they spin, and where another program wants the cores (a build beside
    the editor) a step then takes several times as long. OpenMP reads the variable
    when torch is first imported; a user's own value stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def load_engine(
    options: EngineOptions, progress: ProgressCallback | None = None
) -> Engine:
    """Load a model; see ``model.loader.load_engine``. Imports torch."""
    _share_the_processor()
    from model.loader import load_engine as load

    return load(options, progress)


def choose_model(model: str, device: str) -> ModelChoice:
    """Say which model ``auto`` stands for here, and why. Imports torch."""
    _share_the_processor()
    from model.loader import choose_model as choose

    return choose(model, device)


def describe_environment() -> Environment:
    """Return versions, devices and memory of this machine. Imports torch."""
    _share_the_processor()
    from model.environment import describe_environment as describe

    return describe()


def model_path(
    name: str,
    *,
    allow_download: bool = False,
    progress: ProgressCallback | None = None,
) -> Path:
    """Return the directory of a model's weights, converting them if need be."""
    from model.weights import prepare

    prepared = prepare(name, allow_download=allow_download, progress=progress)
    return prepared.directory


def weights_present(name: str) -> bool:
    """Return whether a model's weights are on this machine. Never downloads."""
    from model.weights import weights_present as present

    return present(name)


def verify_weights(name: str, progress: ProgressCallback | None = None) -> str:
    """Check a model's files; return what was checked, in a sentence.

    Raises ``WeightsCorruptError`` or ``WeightsNotFoundError``.
    """
    from model.weights import verify

    return verify(name, progress=progress)


__all__ = [
    "CATALOG",
    "CancelFlag",
    "Candidate",
    "CatalogEntry",
    "ContextTooLargeError",
    "Cut",
    "DeviceError",
    "DeviceUnavailableError",
    "DownloadFailedError",
    "DownloadNotAllowedError",
    "Engine",
    "EngineInfo",
    "EngineOptions",
    "FillRequest",
    "FillResult",
    "FimOrder",
    "LoadProgress",
    "ModelError",
    "OutOfMemoryError",
    "ProgressCallback",
    "StablecodeError",
    "Statistics",
    "StopRule",
    "TokenizerError",
    "UnknownModelError",
    "UnsafeWeightsError",
    "UnsupportedArchitectureError",
    "WeightsCorruptError",
    "WeightsNotFoundError",
    "choose_model",
    "describe_environment",
    "find_entry",
    "load_engine",
    "model_path",
    "verify_weights",
    "weights_present",
]
