"""The model side: tokens, tensors and prompts, and nothing of editors.

This is the whole surface the server uses. Importing it does not import torch; what
needs torch is imported inside the functions below, off the event loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from model.benchmark import (
    BenchmarkError,
    Completed,
    Contender,
    MachineLimits,
    ModelCosts,
    Peer,
    PeerKind,
    PeerOptions,
    PeerUnavailableError,
    ProcessMemory,
    PromptForPeer,
    Prompts,
    process_memory,
)
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
    ContextChunk,
    Cut,
    Engine,
    EngineInfo,
    EngineOptions,
    FillRequest,
    FillResult,
    FimOrder,
    GeneratedToken,
    LoadProgress,
    ProgressCallback,
    PromptPart,
    Statistics,
    StopRule,
    TokenRule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model.environment import Environment
    from model.loader import ModelChoice
    from model.remote_checks import RemoteCheck


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


def check_server(options: EngineOptions) -> Iterator[RemoteCheck]:
    """Look at a completion server. Raises, at the end, what keeps it from serving."""
    from model.remote_checks import check_server as check

    return check(options)


def check_tokens(engine: Engine) -> RemoteCheck | None:
    """Compare a completion server's tokens with ours; ``None`` if it does not say."""
    from model.remote_checks import check_tokens as check

    return check(engine)


def measure_limits(
    device: str, num_threads: int, *, quick: bool = False
) -> MachineLimits:
    """Measure what this machine reaches at best. Imports torch."""
    _share_the_processor()
    from model.benchmark_limits import measure_limits as measure

    return measure(device, num_threads, quick=quick)


def memory_is_short() -> bool:
    """Return whether this machine has little memory left. Cheap; torch is not needed.

    What is returned may be two seconds old.
    """
    from model.memory import memory_watch

    return memory_watch.is_short()


def choose_threads(wanted: int | None) -> int:
    """Return how many processor threads compute; ``None`` leaves it to us."""
    from model.device import choose_threads as choose

    return choose(wanted)


def engine_contender(engine: Engine) -> Contender:
    """Return a loaded engine as one to be measured. Imports torch.

    Raises ``BenchmarkError`` for an engine that computes nothing.
    """
    _share_the_processor()
    from model.benchmark_engine import contender_of

    return contender_of(engine)


def set_drafting(engine: Engine, on: bool) -> None:
    """Let an engine guess tokens ahead, or not; it forgets what it holds.

    Raises ``BenchmarkError`` for an engine that computes nothing.
    """
    from model.benchmark_engine import set_drafting as switch

    switch(engine, on)


def peer_prompts(name: str) -> Prompts:
    """Return a model's tokenizer and the prompts of its peers."""
    _share_the_processor()
    from model.peers_prompts import PeerPrompts

    return PeerPrompts(name)


def peer_path(kind: PeerKind, name: str) -> Path:
    """Return what a peer loads of a model. Raises ``PeerUnavailableError``."""
    from model.peers import gguf_of

    return gguf_of(name) if kind == "llama.cpp" else model_path(name)


def peer_version(kind: PeerKind) -> str | None:
    """Return the version of a peer's package, ``None`` where it is not installed."""
    from model.peers import peer_version as version

    return version(kind)


def start_peer(options: PeerOptions) -> Peer:
    """Load a peer in a process of its own. Raises ``PeerUnavailableError``."""
    from model.peers import PeerProcess

    return PeerProcess(options)


__all__ = [
    "CATALOG",
    "BenchmarkError",
    "CancelFlag",
    "Candidate",
    "CatalogEntry",
    "Completed",
    "Contender",
    "ContextChunk",
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
    "GeneratedToken",
    "LoadProgress",
    "MachineLimits",
    "ModelCosts",
    "ModelError",
    "OutOfMemoryError",
    "Peer",
    "PeerKind",
    "PeerOptions",
    "PeerUnavailableError",
    "ProcessMemory",
    "ProgressCallback",
    "PromptForPeer",
    "PromptPart",
    "Prompts",
    "StablecodeError",
    "Statistics",
    "StopRule",
    "TokenRule",
    "TokenizerError",
    "UnknownModelError",
    "UnsafeWeightsError",
    "UnsupportedArchitectureError",
    "WeightsCorruptError",
    "WeightsNotFoundError",
    "check_server",
    "check_tokens",
    "choose_model",
    "choose_threads",
    "describe_environment",
    "engine_contender",
    "find_entry",
    "load_engine",
    "measure_limits",
    "memory_is_short",
    "model_path",
    "peer_path",
    "peer_prompts",
    "peer_version",
    "process_memory",
    "set_drafting",
    "start_peer",
    "verify_weights",
    "weights_present",
]
