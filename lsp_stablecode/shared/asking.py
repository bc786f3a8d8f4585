"""Asking running hubs about themselves, as commands and not editors do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lsp_stablecode.shared.greeting import greet_hub
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
    with open_connection(address, _TIMEOUT_S) as connection:
        answer, stream = greet_hub(connection, address.secret, {"question": question})
        stream.close()
        return answer
