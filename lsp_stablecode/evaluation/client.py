"""An editor in miniature: a real server process, spoken to over stdio.

It opens a text, asks for an inline completion, puts the first item into the text as
an editor would when it is accepted, and closes the text again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

from lsp_stablecode import __version__
from lsp_stablecode.documents import Document, PositionEncoding
from model import StablecodeError

Trigger = Literal["invoked", "automatic"]

_SECTION = "lsp-stablecode"
_ENCODING = PositionEncoding.UTF16
_INITIALIZE_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 300.0
_EXIT_TIMEOUT_S = 10.0
_LAST_WORDS_S = 1.0
_POLL_S = 0.1
_STDERR_LINES = 20


class ServerFailedError(StablecodeError):
    """The server process ended, does not answer, or could not load its model."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    ``inserted`` is the first item's text and ``text`` the document with it, both
    unchanged where there was no item. ``explanation`` is what the server says of the
    request: names and counts. ``elapsed_ms`` is from the request to the answer.
    """

    text: str
    inserted: str
    explanation: dict[str, Any]
    elapsed_ms: float


class EditorClient:
    """A connected server. Made by `start_editor`."""

    def __init__(
        self, client: LanguageClient, process: asyncio.subprocess.Process
    ) -> None:
        self._client = client
        self._process = process

    async def status(self) -> dict[str, Any]:
        """Return the server's status."""
        return await self._command("status")

    async def wait_until_ready(
        self, on_progress: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Wait for the model; return the status. Raises ``ServerFailedError``.

        Waits as long as it takes: converting or fetching a model takes minutes.
        """
        while True:
            status = await self.status()
            if status["state"] == "ready":
                return status
            if status["state"] == "failed":
                raise ServerFailedError(status["message"])
            if on_progress is not None:
                on_progress(status["message"] or "the server loads the model")
            await asyncio.sleep(_POLL_S)

    async def fill(
        self, uri: str, prefix: str, suffix: str, trigger: Trigger = "invoked"
    ) -> Answer:
        """Open a text, complete between its halves, and close it.

        Raises ``ServerFailedError``.
        """
        document = Document(uri, "python", 1, prefix + suffix, _ENCODING)
        line, character = document.position_at(len(prefix))
        self._client.text_document_did_open(
            types.DidOpenTextDocumentParams(
                types.TextDocumentItem(uri, "python", 1, document.text)
            )
        )
        kind = types.InlineCompletionTriggerKind
        request = types.InlineCompletionParams(
            context=types.InlineCompletionContext(
                kind.Invoked if trigger == "invoked" else kind.Automatic
            ),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
        started = time.perf_counter()
        result = await self._ask(
            self._client.text_document_inline_completion_async(request)
        )
        elapsed_ms = (time.perf_counter() - started) * 1000
        explanation = await self._command("explain", uri)
        self._client.text_document_did_close(
            types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
        )
        inserted = ""
        items = result.items if hasattr(result, "items") else result or ()
        if items:
            inserted = _accept(document, items[0], (line, character))
        return Answer(document.text, inserted, explanation, elapsed_ms)

    async def leave(self) -> None:
        """Shut the server down and wait for its end. Raises ``ServerFailedError``."""
        await self._ask(self._client.shutdown_async(None), _EXIT_TIMEOUT_S)
        self._client.exit(None)
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_TIMEOUT_S)
        except TimeoutError as error:
            raise ServerFailedError("The server does not end after `exit`.") from error

    async def _command(self, name: str, *arguments: object) -> dict[str, Any]:
        params = types.ExecuteCommandParams(f"{_SECTION}.{name}", list(arguments))
        answer = _plain(
            await self._ask(self._client.workspace_execute_command_async(params))
        )
        return answer if isinstance(answer, dict) else {}

    async def _ask(
        self, request: Coroutine[Any, Any, Any], timeout_s: float = _ANSWER_TIMEOUT_S
    ) -> Any:
        # pygls fails the requests under way when a server ends, but not later ones.
        if self._process.returncode is not None:
            request.close()
            raise ServerFailedError("The server process ended.")
        return await _answer(request, timeout_s)


@asynccontextmanager
async def start_editor(
    arguments: Sequence[str], settings: dict[str, Any]
) -> AsyncIterator[EditorClient]:
    """Start ``lsp-stablecode serve`` with ``arguments``, initialize, and shut down.

    ``settings`` go out in both ways that editors use. Raises ``ServerFailedError``.
    """
    client = LanguageClient(name="lsp-stablecode-eval", version=__version__)
    _answer_the_server(client, settings)
    command = ("-m", "lsp_stablecode", "serve", *arguments)
    await client.start_io(sys.executable, *command)
    process = client._server
    assert process is not None
    assert process.stderr is not None
    last_lines: deque[str] = deque(maxlen=_STDERR_LINES)
    log = asyncio.create_task(_drain(process.stderr, last_lines))
    try:
        await _answer(
            client.initialize_async(_initialize_params(settings)),
            _INITIALIZE_TIMEOUT_S,
        )
        client.initialized(types.InitializedParams())
        editor = EditorClient(client, process)
        yield editor
        await editor.leave()
    except ServerFailedError as error:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(process.wait(), log), _LAST_WORDS_S)
        if process.returncode is not None and last_lines:
            raise ServerFailedError(
                f"{error.message} It said: {last_lines[-1]}", hint=error.hint
            ) from error
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await client.stop()  # type: ignore[no-untyped-call]
        log.cancel()


def _answer_the_server(client: LanguageClient, settings: dict[str, Any]) -> None:
    """Register answers to all that the server may ask of an editor."""

    def configuration(params: types.ConfigurationParams) -> list[Any]:
        return [settings if item.section == _SECTION else None for item in params.items]

    client.feature(types.WORKSPACE_CONFIGURATION)(configuration)
    # Without a handler pygls would refuse the requests and warn of the notifications.
    for method in (
        types.WINDOW_WORK_DONE_PROGRESS_CREATE,
        types.CLIENT_REGISTER_CAPABILITY,
        types.PROGRESS,
        types.WINDOW_SHOW_MESSAGE,
        types.WINDOW_LOG_MESSAGE,
        types.TELEMETRY_EVENT,
    ):
        client.feature(method)(lambda params: None)


def _initialize_params(settings: dict[str, Any]) -> types.InitializeParams:
    return types.InitializeParams(
        process_id=os.getpid(),
        client_info=types.ClientInfo("lsp-stablecode eval", __version__),
        initialization_options=settings,
        capabilities=types.ClientCapabilities(
            general=types.GeneralClientCapabilities(
                position_encodings=[types.PositionEncodingKind.Utf16]
            ),
            text_document=types.TextDocumentClientCapabilities(
                inline_completion=types.InlineCompletionClientCapabilities()
            ),
            window=types.WindowClientCapabilities(work_done_progress=True),
            workspace=types.WorkspaceClientCapabilities(configuration=True),
        ),
    )


def _accept(
    document: Document, item: types.InlineCompletionItem, cursor: tuple[int, int]
) -> str:
    """Put an item into the document; return its text."""
    text = item.insert_text
    inserted = text if isinstance(text, str) else text.value
    start = end = cursor
    if item.range is not None:
        start = (item.range.start.line, item.range.start.character)
        end = (item.range.end.line, item.range.end.character)
    document.apply_change((start, end), inserted)
    return inserted


async def _answer(request: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
    """Await an answer. Raises ``ServerFailedError``."""
    try:
        return await asyncio.wait_for(request, timeout_s)
    except TimeoutError as error:
        raise ServerFailedError(
            f"The server did not answer within {timeout_s:g} s."
        ) from error
    except JsonRpcException as error:
        raise ServerFailedError(
            f"The server refused a request ({error.message})."
        ) from error
    except (RuntimeError, OSError) as error:
        # pygls puts a RuntimeError into the pending requests of a dead server.
        raise ServerFailedError("The server process ended.") from error


async def _drain(stream: asyncio.StreamReader, lines: deque[str]) -> None:
    """Read the server's log, which would otherwise fill its pipe and stop it."""
    while chunk := await stream.read(1 << 16):
        lines.extend(
            line for line in chunk.decode("utf-8", "replace").splitlines() if line
        )


def _plain(value: Any) -> Any:
    """Return plain data for what pygls makes of untyped JSON objects."""
    if hasattr(value, "_asdict"):
        return {key: _plain(one) for key, one in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
