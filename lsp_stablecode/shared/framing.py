"""Messages on a byte stream, as LSP's base protocol frames them."""

from __future__ import annotations

import re
from typing import BinaryIO

from lsp_stablecode.shared.errors import FramingError

_LENGTH = re.compile(rb"content-length:\s*(\d{1,40})\s*\Z", re.IGNORECASE)
_MOST_HEADER_BYTES = 4096
MOST_BODY_BYTES = 1 << 30


def frame(body: bytes) -> bytes:
    """Return a message as it travels."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message's body; ``None`` at the stream's end.

    Lines that are no header are skipped, as pygls does. Raises ``FramingError`` for a
    length that no message has.
    """
    length = None
    while True:
        line = stream.readline(_MOST_HEADER_BYTES)
        if not line:
            return None
        match = _LENGTH.match(line.rstrip(b"\r\n"))
        if match is not None:
            length = int(match[1])
        elif not line.strip() and length is not None:
            break
    if length > MOST_BODY_BYTES:
        raise FramingError(
            f"A message claims {length} bytes.", hint="Start the editor's client anew."
        )
    body = stream.read(length)
    return body if len(body) == length else None
