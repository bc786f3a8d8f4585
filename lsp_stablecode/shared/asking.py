"""Asking running hubs about themselves, as commands and not editors do."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Literal

from lsp_stablecode.shared.framing import frame, read_message
from lsp_stablecode.shared.rendezvous import Address, open_connection, read_address

Question = Literal["overview", "report"]

_TIMEOUT_S = 10.0


def ask_hubs(folder: Path, question: Question) -> list[dict[str, Any]]:
    """Return what each hub of a runtime folder answers; the dead are left out."""
    answers = []
    for file in sorted(folder.glob("*.json")):
        address = read_address(file)
        if address is None:
            continue
        try:
            answers.append(_ask(address, question))
        except (OSError, ValueError):
            continue
    return answers


def _ask(address: Address, question: Question) -> dict[str, Any]:
    connection = open_connection(address, _TIMEOUT_S)
    try:
        hello = {"secret": address.secret, "question": question}
        connection.sendall(frame(json.dumps(hello).encode()))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            answer = json.loads(read_message(stream) or b"null")
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise ValueError("no answer")
    return answer
