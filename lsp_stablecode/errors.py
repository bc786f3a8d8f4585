"""Errors about documents, positions and settings, the server's half of the tree.

::

    StablecodeError (``model.errors``)
    ├── DocumentError
    │   ├── DocumentNotFoundError        no such file, or it cannot be read
    │   ├── DocumentDecodeError          the file's bytes are not UTF-8
    │   ├── DocumentNotOpenError         the editor never opened it, or has closed it
    │   └── PositionError                a line or column outside the file
    ├── FilesSilentError                 a file system that does not answer
    ├── RecordingError                   a recorded session that cannot be used
    └── SettingsError                    a setting of the wrong type

An error's text is one sentence that says what is wrong; ``hint`` says what to do.
"""

from __future__ import annotations

from model import StablecodeError


class DocumentError(StablecodeError):
    """Something about a document."""


class DocumentNotFoundError(DocumentError):
    """There is no such file, or it is a directory, or it may not be read."""


class DocumentDecodeError(DocumentError):
    """The file's bytes are not UTF-8."""


class DocumentNotOpenError(DocumentError):
    """A request or a change for a document that is not open."""


class PositionError(DocumentError):
    """A line or a column that the file does not have."""


class SettingsError(StablecodeError):
    """Settings, or one of them, are not of the type they have to be."""


class FilesSilentError(StablecodeError):
    """A file system does not answer: a network's, or a disk that is too busy."""


class RecordingError(StablecodeError):
    """A recorded session cannot be written, read or played again."""
