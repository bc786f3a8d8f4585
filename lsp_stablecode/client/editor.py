"""An editor without a window: buffers, keys, and requests to the real server.

Every key is a ``didChange`` followed by a request, and cancels the request before it.
What it returns is what came over the wire.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_stablecode.client.connection import Connection, ServerFailedError
from lsp_stablecode.languages import language_of

_KEY = re.compile(r"\n[ \t]*|.")


@dataclass(frozen=True, slots=True)
class Ghost:
    """One item of an answer; it replaces ``num_replaced`` characters at the cursor."""

    text: str
    num_replaced: int
    item: types.InlineCompletionItem


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``explained`` is the server's own account, ``None`` if cancelled.

    ``ms`` runs from the request to the answer, or from the cancellation to it;
    ``arrived_s`` is when that was, by ``time.perf_counter``.
    """

    ghosts: tuple[Ghost, ...]
    ms: float
    arrived_s: float
    outcome: str
    explained: dict[str, Any] | None = None

    def count(self, name: str) -> int | None:
        """Return one of the token counts, ``None`` where nothing was computed."""
        if self.explained is None:
            return None
        value = self.explained["statistics"].get(f"{name}_tokens")
        return value if isinstance(value, int) else None


@dataclass(slots=True)
class Buffer:
    """An open file and its cursor, as an offset into the text."""

    uri: str
    name: str
    language_id: str
    text: str
    cursor: int = 0
    version: int = 1

    def position(self, offset: int) -> types.Position:
        """Return the offset in LSP's terms: lines, and UTF-16 units on the line."""
        line_start = self.text.rfind("\n", 0, offset) + 1
        units = len(self.text[line_start:offset].encode("utf-16-le")) // 2
        return types.Position(self.text.count("\n", 0, offset), units)

    def offset(self, position: types.Position) -> int:
        """Return an LSP position as an offset."""
        lines = self.text.split("\n")
        before = sum(len(line) + 1 for line in lines[: position.line])
        units = lines[position.line].encode("utf-16-le")[: 2 * position.character]
        return before + len(units.decode("utf-16-le"))


@dataclass(slots=True)
class Asked:
    """A request under way; ``answer`` is raw, `Editor.read` makes it an `Answer`."""

    identifier: str
    sent_s: float
    answer: asyncio.Future[Any]


@dataclass(slots=True)
class Editor:
    """Buffers and keys, on one connection to the server."""

    connection: Connection
    _asked: dict[str, Asked] = field(default_factory=dict)
    _identifiers: Iterator[int] = field(default_factory=itertools.count)

    def open(self, path: Path) -> Buffer:
        """Open a file."""
        text = path.read_text("utf-8")
        return self.open_text(path.as_uri(), language_of(path), text)

    def open_text(self, uri: str, language_id: str, text: str) -> Buffer:
        """Open a text that need not exist as a file."""
        buffer = Buffer(uri, uri.rpartition("/")[2], language_id, text)
        self.connection.notify(
            types.TEXT_DOCUMENT_DID_OPEN,
            types.DidOpenTextDocumentParams(
                types.TextDocumentItem(
                    buffer.uri, buffer.language_id, buffer.version, text
                )
            ),
        )
        return buffer

    def close(self, buffer: Buffer) -> None:
        """Close a file or text."""
        self.connection.notify(
            types.TEXT_DOCUMENT_DID_CLOSE,
            types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(buffer.uri)),
        )

    def replace(self, buffer: Buffer, start: int, end: int, text: str) -> None:
        """Change the text, tell the server, and put the cursor behind it."""
        buffer.version += 1
        change = types.TextDocumentContentChangePartial(
            range=types.Range(buffer.position(start), buffer.position(end)), text=text
        )
        self.connection.notify(
            types.TEXT_DOCUMENT_DID_CHANGE,
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(
                    uri=buffer.uri, version=buffer.version
                ),
                [change],
            ),
        )
        buffer.text = buffer.text[:start] + text + buffer.text[end:]
        buffer.cursor = start + len(text)

    async def type(
        self,
        buffer: Buffer,
        text: str,
        *,
        closer: str = "",
        gap_s: float,
        on_key: Callable[[], None],
    ) -> None:
        """Type, asking after every key but the last, which is the caller's to ask for.

        ``closer`` is what the editor puts right of the cursor with the last key. A
        line end brings the indentation that follows it.
        """
        keys = _KEY.findall(text)
        for number, key in enumerate(keys, 1):
            is_last = number == len(keys)
            inserted = key + (closer if is_last else "")
            self.replace(buffer, buffer.cursor, buffer.cursor, inserted)
            buffer.cursor -= len(inserted) - len(key)
            self.cancel(buffer.uri)
            on_key()
            if not is_last:
                self.ask(buffer, explicit=False)
                await asyncio.sleep(gap_s)

    async def suggest(self, buffer: Buffer, *, explicit: bool = False) -> Answer:
        """Ask at the cursor and wait for the answer."""
        self.cancel(buffer.uri)
        asked = self.ask(buffer, explicit=explicit)
        return await self.read(buffer, asked, asked.sent_s)

    async def suggest_and_cancel(self, buffer: Buffer, after_s: float) -> Answer:
        """Ask by hand, cancel after a while, and wait for the answer to the request."""
        asked = self.ask(buffer, explicit=True)
        await asyncio.wait([asked.answer], timeout=after_s)
        cancelled_s = time.perf_counter()
        if asked.answer.done():
            return await self.read(buffer, asked, asked.sent_s)
        self.cancel(buffer.uri)
        return await self.read(buffer, asked, cancelled_s)

    async def accept(self, buffer: Buffer, ghost: Ghost) -> None:
        """Insert a suggestion and run its command, as Tab does."""
        end = buffer.cursor + ghost.num_replaced
        self.replace(buffer, buffer.cursor, end, ghost.text)
        await self.announce(ghost)

    async def announce(self, ghost: Ghost, num_characters: int | None = None) -> None:
        """Run a suggestion's command: it was accepted, or its first characters."""
        command = ghost.item.command
        if command is None:
            return
        arguments = list(command.arguments or ())
        if num_characters is not None:
            arguments.append(num_characters)
        await self.connection.request(
            types.WORKSPACE_EXECUTE_COMMAND,
            types.ExecuteCommandParams(command.command, arguments),
        )

    def ask(self, buffer: Buffer, *, explicit: bool) -> Asked:
        """Ask at the cursor, and do not wait."""
        kinds = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(
                trigger_kind=kinds.Invoked if explicit else kinds.Automatic
            ),
            text_document=types.TextDocumentIdentifier(buffer.uri),
            position=buffer.position(buffer.cursor),
        )
        identifier = f"inline-{next(self._identifiers)}"
        answer = self.connection.send(
            types.TEXT_DOCUMENT_INLINE_COMPLETION, params, identifier
        )
        asked = Asked(identifier, time.perf_counter(), answer)
        self._asked[buffer.uri] = asked
        return asked

    def cancel(self, uri: str) -> None:
        """Cancel a document's request, if it still runs."""
        asked = self._asked.pop(uri, None)
        if asked is not None and not asked.answer.done():
            self.connection.notify(
                types.CANCEL_REQUEST, types.CancelParams(asked.identifier)
            )

    async def read(self, buffer: Buffer, asked: Asked, since_s: float) -> Answer:
        """Wait for the answer; its ``ms`` run from ``since_s``.

        The cursor has to stand where it stood. Raises ``ServerFailedError``.
        """
        try:
            result = await self.connection.wait(
                types.TEXT_DOCUMENT_INLINE_COMPLETION, asked.answer
            )
        except JsonRpcException as error:
            arrived_s = time.perf_counter()
            if error.code != types.LSPErrorCodes.RequestCancelled:
                raise ServerFailedError(
                    f"The server refused: {error.message}"
                ) from error
            return Answer((), (arrived_s - since_s) * 1000, arrived_s, "cancelled")
        arrived_s = time.perf_counter()
        items = getattr(result, "items", result) or []
        ghosts = tuple(self._ghost(buffer, item) for item in items)
        explained = await self.connection.command("explain", buffer.uri)
        outcome = explained["outcome"] if explained else "empty"
        ms = (arrived_s - since_s) * 1000
        return Answer(ghosts, ms, arrived_s, outcome, explained)

    @staticmethod
    def _ghost(buffer: Buffer, item: types.InlineCompletionItem) -> Ghost:
        if item.range is None or item.range.start != buffer.position(buffer.cursor):
            raise ServerFailedError(
                "The server sent an item that does not begin at the cursor."
            )
        end = buffer.offset(item.range.end)
        return Ghost(str(item.insert_text), end - buffer.cursor, item)
