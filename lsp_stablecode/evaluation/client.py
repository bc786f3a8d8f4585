"""The server under evaluation: a text with a gap in, the text as completed out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsp_stablecode.client.connection import Connection
from lsp_stablecode.client.editor import Buffer, Editor

Trigger = Literal["invoked", "automatic"]

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Filling:
    """What came of one gap.

    ``inserted`` is the first item's text and ``text`` the document with it, both
    unchanged where there was no item; it replaced ``num_replaced`` characters right
    of the cursor. ``explanation`` is what the server says of the request: names and
    counts. ``elapsed_ms`` is from the request to the answer.
    """

    text: str
    inserted: str
    explanation: dict[str, Any]
    elapsed_ms: float
    num_replaced: int = 0


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
        self,
        uri: str,
        prefix: str,
        suffix: str,
        trigger: Trigger = "invoked",
        *,
        language_id: str = "python",
        accept: bool = True,
    ) -> Filling:
        """Open a text, complete between its halves, and close it.

        Without ``accept`` the server is not told what became of its suggestion.
        Raises ``ServerFailedError``.
        """
        editor = Editor(self.connection)
        buffer = editor.open_text(uri, language_id, prefix + suffix)
        buffer.cursor = len(prefix)
        answer = await editor.suggest(buffer, explicit=trigger == "invoked")
        inserted, num_replaced, text = "", 0, buffer.text
        if answer.ghosts:
            ghost = answer.ghosts[0]
            inserted, num_replaced = ghost.text, ghost.num_replaced
            text = prefix + inserted + suffix[num_replaced:]
            if accept:
                await editor.accept(buffer, ghost)
        editor.close(buffer)
        explained = answer.explained or {}
        return Filling(text, inserted, explained, answer.ms, num_replaced)

    def open(self, uri: str, language_id: str, text: str) -> Buffer:
        """Open a document beside the one with the gap. Raises ``ServerFailedError``."""
        return Editor(self.connection).open_text(uri, language_id, text)

    def close(self, buffer: Buffer) -> None:
        """Close a document that `open` opened. Raises ``ServerFailedError``."""
        Editor(self.connection).close(buffer)


@asynccontextmanager
async def start_server(
    arguments: Sequence[str], settings: dict[str, Any], folder: Path | None = None
) -> AsyncIterator[Filler]:
    """Start ``lsp-stablecode serve`` with ``arguments``, and stop it at the end.

    ``folder`` is its workspace, else the current one. Raises ``ServerFailedError``.
    """
    connection = Connection(folder or Path.cwd(), settings=settings)
    try:
        await connection.start(arguments)
        yield Filler(connection)
    finally:
        await connection.stop()
