"""Files on disk: their URIs and their text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from lsp_stablecode.documents import Document, PositionEncoding
from lsp_stablecode.errors import DocumentDecodeError, DocumentNotFoundError

_FILE_URI = re.compile(r"file:(?://([^/?#]*))?+(/[^?#]*)", re.IGNORECASE)


def path_of(uri: str, *, windows: bool = os.name == "nt") -> Path | None:
    """Path of a ``file:`` URI (RFC 8089); ``None`` for any other URI.

    ``windows`` says whether ``/c:/dir`` starts with a drive or is a plain path.
    """
    match = _FILE_URI.match(uri)
    if match is None:
        return None
    host = unquote(match[1] or "")
    path = unquote(match[2], errors="surrogateescape")
    if host and host.lower() != "localhost":
        return Path(f"//{host}{path}")
    if windows and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    return Path(path)


def read_document(
    path: Path,
    language_id: str = "",
    encoding: PositionEncoding = PositionEncoding.UTF32,
) -> Document:
    """Read a UTF-8 file; a byte order mark is dropped, as editors do not count it.

    Raises ``DocumentNotFoundError`` and ``DocumentDecodeError``.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentDecodeError(
            f"{path} is not UTF-8: see byte {error.start}.", hint="Save it as UTF-8."
        ) from error
    except (OSError, ValueError) as error:
        if path.is_dir():
            raise DocumentNotFoundError(
                f"{path} is a directory.", hint="Name a file in it."
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise DocumentNotFoundError(
            f"{path} cannot be read: {reason}.", hint="Check the path and its rights."
        ) from error
    return Document(path.absolute().as_uri(), language_id, None, text, encoding)
