"""What can go wrong between an editor's front and the hub."""

from __future__ import annotations

from model import StablecodeError


class SharedError(StablecodeError):
    """Something about the engine process that editors share."""


class FramingError(SharedError):
    """Bytes that are no message."""


class RuntimeFolderError(SharedError):
    """The folder of sockets is another user's, or open to others."""


class HubUnreachableError(SharedError):
    """No hub answers, and none could be started."""
