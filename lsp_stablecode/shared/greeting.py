"""How a front and a hub prove to each other that they know the secret.

Each sends a number used once, and the other answers with its HMAC (RFC 2104), so that
whoever merely listens at a hub's old address learns nothing and is told no source text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import Mapping
from typing import Any, BinaryIO

from lsp_stablecode.shared.framing import frame, read_message


def make_nonce() -> str:
    """Return a number used once, as text."""
    return secrets.token_hex(16)


def proof(secret: str, nonce: object, side: str) -> str:
    """Return what only one who knows the secret can answer to a nonce."""
    text = f"{side} {nonce}".encode("utf-8", "replace")
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def is_proof(secret: str, nonce: object, side: str, said: object) -> bool:
    """Tell whether an answer is right. Without a secret none is."""
    right = proof(secret, nonce, side).encode()
    return bool(secret) and hmac.compare_digest(
        right, str(said).encode("utf-8", "replace")
    )


def greet_hub(
    connection: socket.socket, secret: str, hello: Mapping[str, Any]
) -> tuple[dict[str, Any], BinaryIO]:
    """Say hello over a fresh connection.

    Returns the hub's answer and the stream to read on from. Raises ``OSError`` where
    the other side is no hub of ours, or does not answer in the connection's time.
    """
    nonce = make_nonce()
    connection.sendall(frame(json.dumps({"nonce": nonce}).encode()))
    stream = connection.makefile("rb")
    answer = _read(stream)
    if not is_proof(secret, nonce, "hub", answer.get("proof")):
        raise ConnectionRefusedError("this is no hub of ours")
    proved = {**hello, "proof": proof(secret, answer.get("nonce"), "front")}
    connection.sendall(frame(json.dumps(proved).encode()))
    return _read(stream), stream


def _read(stream: BinaryIO) -> dict[str, Any]:
    body = read_message(stream)
    if body is None:
        raise ConnectionResetError("the hub hung up")
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ConnectionResetError("the hub's greeting cannot be read") from error
    if not isinstance(answer, dict):
        raise ConnectionResetError("the hub's greeting is none")
    return answer
