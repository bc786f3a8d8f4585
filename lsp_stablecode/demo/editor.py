"""An editor without a window: buffers, keys, and requests to the real server.

It declares what VS Code and Neovim declare, sends every key as ``didChange`` followed
by a request, cancels the request it no longer needs, and keeps nothing to itself: what
it returns is what came over the wire. Times are milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

from lsp_stablecode import __version__
from lsp_stablecode.languages import language_of
from model import StablecodeError

ANSWER_TIMEOUT_S = 300.0
_INITIALIZE_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_NUM_LOG_LINES = 40
_KEY = re.compile(r"\n[ \t]*|.")

ShowProgress = Callable[[str, int | None], None]
"""Called with what the server is at, and the percentage where it is known."""


class DemoError(StablecodeError):
    """The server ended, did not answer, or suggested nothing."""


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
class _Asked:
    """A request under way."""

    identifier: str
    sent_s: float
    answer: asyncio.Future[Any]


@dataclass(slots=True)
class Editor:
    """One connection to one server."""

    folder: Path
    show_progress: ShowProgress
    stages: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_NUM_LOG_LINES))
    initialize_ms: float = 0.0
    initialized_s: float = 0.0
    _client: LanguageClient = field(init=False)
    _progressed: asyncio.Event = field(default_factory=asyncio.Event)
    _heard_s: float = 0.0
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _identifiers: Any = field(default_factory=lambda: itertools.count(1))
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = self._make_client()

    # --- the server's life ----------------------------------------------------

    async def start(self, arguments: Sequence[str]) -> None:
        """Start ``lsp-stablecode serve`` and shake hands."""
        started = time.perf_counter()
        await self._client.start_io(
            sys.executable, "-m", "lsp_stablecode", "serve", *arguments
        )
        self._tasks.append(asyncio.create_task(self._read_log()))
        await self._request(
            types.INITIALIZE,
            types.InitializeParams(
                process_id=os.getpid(),
                client_info=types.ClientInfo("lsp-stablecode demo", __version__),
                capabilities=_capabilities(),
                workspace_folders=[
                    types.WorkspaceFolder(self.folder.as_uri(), self.folder.name)
                ],
            ),
            _INITIALIZE_TIMEOUT_S,
        )
        self.initialized_s = time.perf_counter()
        self.initialize_ms = (self.initialized_s - started) * 1000
        self._notify(types.INITIALIZED, types.InitializedParams())

    async def model_state(self, wait_s: float, silence_s: float = 600.0) -> Any:
        """Return the server's status, at the next progress or after ``wait_s``.

        Raises ``DemoError`` if the model failed, or loads in silence for too long.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._progressed.wait(), wait_s)
            self._heard_s = time.perf_counter()
        self._progressed.clear()
        status = await self.command("status")
        if status["state"] == "failed":
            raise DemoError(status["message"])
        if time.perf_counter() - max(self._heard_s, self.initialized_s) > silence_s:
            raise DemoError(
                f"The server has been loading for {silence_s:.0f} s in silence.",
                hint="Run lsp-stablecode doctor.",
            )
        return status

    async def stop(self) -> None:
        """Say goodbye; end a server that does not go. Never raises."""
        server = self._client._server
        if server is None:
            return
        with contextlib.suppress(StablecodeError):
            await self._request(types.SHUTDOWN, None, _STOP_TIMEOUT_S)
            self._notify(types.EXIT, None)
        try:
            await asyncio.wait_for(server.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            server.kill()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(_stop(self._client), _STOP_TIMEOUT_S)
        await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT_S)

    # --- typing -----------------------------------------------------------------

    def open(self, path: Path) -> Buffer:
        """Open a file."""
        text = path.read_text("utf-8")
        buffer = Buffer(path.as_uri(), path.name, language_of(path), text)
        self._notify(
            types.TEXT_DOCUMENT_DID_OPEN,
            types.DidOpenTextDocumentParams(
                types.TextDocumentItem(
                    buffer.uri, buffer.language_id, buffer.version, text
                )
            ),
        )
        return buffer

    def replace(self, buffer: Buffer, start: int, end: int, text: str) -> None:
        """Change the text, tell the server, and put the cursor behind it."""
        buffer.version += 1
        change = types.TextDocumentContentChangePartial(
            range=types.Range(buffer.position(start), buffer.position(end)), text=text
        )
        self._notify(
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
            self._cancel(buffer.uri)
            on_key()
            if not is_last:
                self._ask(buffer, explicit=False)
                await asyncio.sleep(gap_s)

    async def suggest(self, buffer: Buffer, *, explicit: bool = False) -> Answer:
        """Ask at the cursor and wait for the answer."""
        self._cancel(buffer.uri)
        asked = self._ask(buffer, explicit=explicit)
        return await self._answer(buffer, asked, asked.sent_s)

    async def suggest_and_cancel(self, buffer: Buffer, after_s: float) -> Answer:
        """Ask by hand, cancel after a while, and wait for the answer to the request."""
        asked = self._ask(buffer, explicit=True)
        await asyncio.wait([asked.answer], timeout=after_s)
        cancelled_s = time.perf_counter()
        if asked.answer.done():
            return await self._answer(buffer, asked, asked.sent_s)
        self._cancel(buffer.uri)
        return await self._answer(buffer, asked, cancelled_s)

    async def accept(self, buffer: Buffer, ghost: Ghost) -> None:
        """Insert a suggestion and run its command, as Tab does."""
        end = buffer.cursor + ghost.num_replaced
        self.replace(buffer, buffer.cursor, end, ghost.text)
        command = ghost.item.command
        if command is not None:
            await self._request(
                types.WORKSPACE_EXECUTE_COMMAND,
                types.ExecuteCommandParams(command.command, command.arguments),
            )

    async def command(self, name: str, *arguments: object) -> Any:
        """Run one of the server's commands and return its result."""
        return await self._request(
            types.WORKSPACE_EXECUTE_COMMAND,
            types.ExecuteCommandParams(f"lsp-stablecode.{name}", list(arguments)),
        )

    # --- the wire ---------------------------------------------------------------

    def _ask(self, buffer: Buffer, *, explicit: bool) -> _Asked:
        kinds = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(
                trigger_kind=kinds.Invoked if explicit else kinds.Automatic
            ),
            text_document=types.TextDocumentIdentifier(buffer.uri),
            position=buffer.position(buffer.cursor),
        )
        identifier = f"inline-{next(self._identifiers)}"
        answer = self._send(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, identifier)
        asked = _Asked(identifier, time.perf_counter(), answer)
        self._asked[buffer.uri] = asked
        return asked

    def _cancel(self, uri: str) -> None:
        """Cancel a document's request, if it still runs."""
        asked = self._asked.pop(uri, None)
        if asked is not None and not asked.answer.done():
            self._notify(types.CANCEL_REQUEST, types.CancelParams(asked.identifier))

    async def _answer(self, buffer: Buffer, asked: _Asked, since_s: float) -> Answer:
        try:
            result = await self._await(
                types.TEXT_DOCUMENT_INLINE_COMPLETION, asked.answer, ANSWER_TIMEOUT_S
            )
        except JsonRpcException as error:
            arrived_s = time.perf_counter()
            if error.code != types.LSPErrorCodes.RequestCancelled:
                raise DemoError(f"The server refused: {error.message}") from error
            return Answer((), (arrived_s - since_s) * 1000, arrived_s, "cancelled")
        arrived_s = time.perf_counter()
        items = getattr(result, "items", result) or []
        ghosts = tuple(self._ghost(buffer, item) for item in items)
        explained = await self.command("explain", buffer.uri)
        outcome = explained["outcome"] if explained else "empty"
        ms = (arrived_s - since_s) * 1000
        return Answer(ghosts, ms, arrived_s, outcome, explained)

    @staticmethod
    def _ghost(buffer: Buffer, item: types.InlineCompletionItem) -> Ghost:
        if item.range is None or item.range.start != buffer.position(buffer.cursor):
            raise DemoError(
                "The server sent an item that does not begin at the cursor."
            )
        end = buffer.offset(item.range.end)
        return Ghost(str(item.insert_text), end - buffer.cursor, item)

    async def _request(
        self, method: str, params: object, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Any:
        answer = self._send(method, params)
        try:
            return await self._await(method, answer, timeout_s)
        except JsonRpcException as error:
            raise DemoError(f"The server refused {method}: {error.message}") from error

    async def _await(
        self, method: str, answer: asyncio.Future[Any], timeout_s: float
    ) -> Any:
        """Wait for an answer. Raises ``DemoError`` where none comes."""
        ended = asyncio.ensure_future(self._ended())
        try:
            await asyncio.wait(
                [answer, ended], timeout=timeout_s, return_when="FIRST_COMPLETED"
            )
        finally:
            ended.cancel()
        if answer.done() and not isinstance(answer.exception(), RuntimeError):
            return answer.result()
        self._check_alive()
        raise DemoError(f"The server did not answer {method} within {timeout_s:.0f} s.")

    def _send(
        self, method: str, params: object, identifier: str | None = None
    ) -> asyncio.Future[Any]:
        self._check_alive()
        protocol = self._client.protocol
        answer: asyncio.Future[Any] = protocol.send_request_async(
            method, params, msg_id=identifier
        )
        # The error of a request that was given up is nobody's to hear.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    def _notify(self, method: str, params: object) -> None:
        self._check_alive()
        self._client.protocol.notify(method, params)

    def _check_alive(self) -> None:
        """Raise ``DemoError`` if the server has ended."""
        server = self._client._server
        if server is not None and server.returncode is not None:
            raise DemoError(f"The server ended with exit code {server.returncode}.")

    async def _ended(self) -> None:
        # pygls fails only those requests that were sent before the server's end.
        if self._client._server is not None:
            await self._client._server.wait()

    async def _read_log(self) -> None:
        """Drain the server's standard error: a full pipe would stop it."""
        server = self._client._server
        assert server is not None
        assert server.stderr is not None
        while piece := await server.stderr.read(65536):
            self.log.extend(piece.decode("utf-8", "replace").splitlines())

    def _make_client(self) -> LanguageClient:
        client = LanguageClient("lsp-stablecode-demo", __version__)
        for method, answer in (
            (types.WORKSPACE_CONFIGURATION, self._no_settings),
            (types.WINDOW_WORK_DONE_PROGRESS_CREATE, lambda params: None),
            (types.PROGRESS, self._hear_progress),
            (types.WINDOW_SHOW_MESSAGE, self._hear_message),
        ):
            # pygls puts attributes on what it registers; a bound method takes none.
            client.feature(method)(functools.partial(answer))
        return client

    def _no_settings(self, params: types.ConfigurationParams) -> list[Any]:
        return [{} for _ in params.items]

    def _hear_message(self, params: types.ShowMessageParams) -> None:
        self.messages.append(params.message)

    def _hear_progress(self, params: types.ProgressParams) -> None:
        self._progressed.set()
        stage = _field(params.value, "message")
        if stage:
            if stage not in self.stages:
                self.stages.append(stage)
            self.show_progress(stage, _field(params.value, "percentage"))


async def _stop(client: Any) -> None:
    """Let pygls end its own tasks (it does not type this method)."""
    await client.stop()


def _field(value: Any, name: str) -> Any:
    """Read a field of a progress value, which pygls leaves as it came."""
    if isinstance(value, dict):
        return value.get(name)
    return getattr(value, name, None)


def _capabilities() -> types.ClientCapabilities:
    """Return what an editor of today declares, as far as it matters here."""
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(
            position_encodings=[types.PositionEncodingKind.Utf16]
        ),
        text_document=types.TextDocumentClientCapabilities(
            synchronization=types.TextDocumentSyncClientCapabilities(),
            inline_completion=types.InlineCompletionClientCapabilities(),
        ),
        window=types.WindowClientCapabilities(work_done_progress=True),
        workspace=types.WorkspaceClientCapabilities(
            configuration=True, workspace_folders=True
        ),
    )
