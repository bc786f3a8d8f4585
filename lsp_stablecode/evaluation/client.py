"""The server under evaluation: a text with a gap in, the text as completed out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsp_stablecode.client.connection import Connection
from lsp_stablecode.client.editor import Editor

Trigger = Literal["invoked", "automatic"]

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Filling:
    """What came of one gap.

    ``inserted`` is the first item's text and ``text`` the document with it, both
    unchanged where there was no item. ``explanation`` is what the server says of the
    request: names and counts. ``elapsed_ms`` is from the request to the answer.
    """

    text: str
    inserted: str
    explanation: dict[str, Any]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Filler:
    """A running server that fills gaps. Made by `start_server`."""

    connection: Connection

    async def wait_until_ready(self) -> dict[str, Any]:
        """Wait for the model; return the status. Raises ``ServerFailedError``."""
        while (status := await self.connection.model_state(_POLL_S))["state"] != (
            "ready"
        ):
            pass
        result: dict[str, Any] = status
        return result

    async def fill(
        self, uri: str, prefix: str, suffix: str, trigger: Trigger = "invoked"
    ) -> Filling:
        """Open a text, complete between its halves, accept, and close it.

        Raises ``ServerFailedError``.
        """
        editor = Editor(self.connection)
        buffer = editor.open_text(uri, "python", prefix + suffix)
        buffer.cursor = len(prefix)
        answer = await editor.suggest(buffer, explicit=trigger == "invoked")
        inserted = ""
        if answer.ghosts:
            await editor.accept(buffer, answer.ghosts[0])
            inserted = answer.ghosts[0].text
        editor.close(buffer)
        return Filling(buffer.text, inserted, answer.explained or {}, answer.ms)


@asynccontextmanager
async def start_server(
    arguments: Sequence[str], settings: dict[str, Any]
) -> AsyncIterator[Filler]:
    """Start ``lsp-stablecode serve`` with ``arguments``, and stop it at the end.

    Raises ``ServerFailedError``.
    """
    connection = Connection(Path.cwd(), settings=settings)
    try:
        await connection.start(arguments)
        yield Filler(connection)
    finally:
        await connection.stop()
