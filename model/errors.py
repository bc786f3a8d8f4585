"""Every error a user can meet, in one tree.

::

    StablecodeError
    ├── ModelError
    │   ├── UnknownModelError            no such catalogue name, directory or repo id
    │   ├── WeightsNotFoundError         known model, no weights on this machine
    │   ├── DownloadNotAllowedError      weights only on the hub, and nobody said yes
    │   ├── DownloadFailedError          the hub did not answer or answered badly
    │   ├── WeightsCorruptError          truncated, wrong checksum, not what it claims
    │   ├── UnsafeWeightsError           pickle, or a repository that needs its own code
    │   ├── UnsupportedArchitectureError GGUF or config of a family nobody here reads
    │   └── TokenizerError               a control token is missing or not one token
    ├── DeviceError
    │   ├── DeviceUnavailableError       asked for cuda/mps, and there is none
    │   ├── OutOfMemoryError             weights, cache and context do not fit
    │   └── KernelsUnavailableError      no C compiler, or ours cannot be compiled
    ├── ContextTooLargeError             more context tokens than the model was made for
    ├── RemoteError                      a completion server (``model.remote_errors``)
    └── (``lsp_stablecode.errors`` adds those about documents and settings)

An error's text is one sentence that says what is wrong; ``hint`` says what to do.
"""

from __future__ import annotations

_MOST_CHARACTERS = 2000


class StablecodeError(Exception):
    """Base of all errors that are meant for the user's eyes."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep ``message`` (what is wrong) and ``hint`` (what to do about it)."""
        if len(message) > _MOST_CHARACTERS:
            # A file's own words may be megabytes.
            message = message[: _MOST_CHARACTERS - 1] + "…"
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """One line: what is wrong, then what to do."""
        return f"{self.message} {self.hint}".strip()


class ModelError(StablecodeError):
    """Something about the model's files."""


class UnknownModelError(ModelError):
    """Neither a catalogue name, nor a directory or GGUF file, nor a repo id."""


class WeightsNotFoundError(ModelError):
    """The model is known, but its weights are not on this machine."""


class DownloadNotAllowedError(ModelError):
    """The weights are on the hub, and neither command nor settings allow it."""


class DownloadFailedError(ModelError):
    """The hub refused, did not answer, or broke off."""


class WeightsCorruptError(ModelError):
    """A file is truncated, fails its checksum, or is not what it claims to be."""


class UnsafeWeightsError(ModelError):
    """Only pickled weights, or a repository that wants to run its own code."""


class UnsupportedArchitectureError(ModelError):
    """A model family that is not supported."""


class TokenizerError(ModelError):
    """The tokenizer lacks a control token or splits it."""


class DeviceError(StablecodeError):
    """Something about the device."""


class DeviceUnavailableError(DeviceError):
    """The device asked for is not there."""


class OutOfMemoryError(DeviceError):
    """Weights, cache and context do not fit into the device's memory."""


class TooManyBranchesError(ValueError):
    """A backend was asked for more continuations at once than ``most_branches``."""


class KernelsUnavailableError(DeviceError):
    """The processor's kernels cannot be compiled or loaded here."""


class ContextTooLargeError(StablecodeError):
    """More context asked for than the model was trained with."""
