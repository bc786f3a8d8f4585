"""One connection to the real server: its process, its messages, its log.

Times are milliseconds where the name ends in ``_ms``, and else seconds by
``time.perf_counter``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
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
from model import StablecodeError

_ANSWER_TIMEOUT_S = 300.0
_INITIALIZE_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_NUM_LOG_LINES = 40

ShowProgress = Callable[[str, int | None], None]
"""Called with what the server is at, and the percentage where it is known."""


class ServerFailedError(StablecodeError):
    """The server ended, did not answer, or suggested nothing."""


@dataclass(slots=True)
class Connection:
    """A server of our own. ``stages`` and ``messages`` are what it told its editor."""

    folder: Path
    show_progress: ShowProgress = lambda stage, percentage: None
    settings: dict[str, Any] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_NUM_LOG_LINES))
    initialize_ms: float = 0.0
    initialized_s: float = 0.0
    _client: LanguageClient = field(init=False)
    _progressed: asyncio.Event = field(default_factory=asyncio.Event)
    _heard_s: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = self._make_client()

    async def start(self, arguments: Sequence[str]) -> None:
        """Start ``lsp-stablecode serve`` and shake hands."""
        started = time.perf_counter()
        await self._client.start_io(
            sys.executable, "-P", "-m", "lsp_stablecode", "serve", *arguments
        )
        self._tasks.append(asyncio.create_task(self._read_log()))
        await self.request(
            types.INITIALIZE,
            types.InitializeParams(
                process_id=os.getpid(),
                client_info=types.ClientInfo("lsp-stablecode client", __version__),
                initialization_options=self.settings,
                capabilities=_capabilities(),
                workspace_folders=[
                    types.WorkspaceFolder(self.folder.as_uri(), self.folder.name)
                ],
            ),
            _INITIALIZE_TIMEOUT_S,
        )
        self.initialized_s = time.perf_counter()
        self.initialize_ms = (self.initialized_s - started) * 1000
        self.notify(types.INITIALIZED, types.InitializedParams())

    async def model_state(self, wait_s: float, silence_s: float = 600.0) -> Any:
        """Return the server's status, at the next progress or after ``wait_s``.

        Raises ``ServerFailedError`` if the model failed, or loads in silence for too
        long.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._progressed.wait(), wait_s)
            self._heard_s = time.perf_counter()
        self._progressed.clear()
        status = await self.command("status")
        if status["state"] == "failed":
            raise ServerFailedError(status["message"])
        if time.perf_counter() - max(self._heard_s, self.initialized_s) > silence_s:
            raise ServerFailedError(
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
            await self.request(types.SHUTDOWN, None, _STOP_TIMEOUT_S)
            self.notify(types.EXIT, None)
        try:
            await asyncio.wait_for(server.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            server.kill()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(_stop(self._client), _STOP_TIMEOUT_S)
        await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT_S)

    async def command(self, name: str, *arguments: object) -> Any:
        """Run one of the server's commands and return its result."""
        return await self.request(
            types.WORKSPACE_EXECUTE_COMMAND,
            types.ExecuteCommandParams(f"lsp-stablecode.{name}", list(arguments)),
        )

    async def request(
        self, method: str, params: object, timeout_s: float = _ANSWER_TIMEOUT_S
    ) -> Any:
        """Ask and wait. Raises ``ServerFailedError`` for an error or no answer."""
        answer = self.send(method, params)
        try:
            return await self.wait(method, answer, timeout_s)
        except JsonRpcException as error:
            raise ServerFailedError(
                f"The server refused {method}: {error.message}"
            ) from error

    async def wait(
        self,
        method: str,
        answer: asyncio.Future[Any],
        timeout_s: float = _ANSWER_TIMEOUT_S,
    ) -> Any:
        """Return an answer.

        Raises ``JsonRpcException`` for an error, ``ServerFailedError`` for none.
        """
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
        raise ServerFailedError(
            f"The server did not answer {method} within {timeout_s:.0f} s."
        )

    def send(
        self, method: str, params: object, identifier: str | None = None
    ) -> asyncio.Future[Any]:
        """Send a request. Raises ``ServerFailedError`` if the server has ended."""
        self._check_alive()
        protocol = self._client.protocol
        answer: asyncio.Future[Any] = protocol.send_request_async(
            method, params, msg_id=identifier
        )
        # The error of a request that was given up is nobody's to hear.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    def notify(self, method: str, params: object) -> None:
        """Send a notification. Raises ``ServerFailedError`` if the server has ended."""
        self._check_alive()
        self._client.protocol.notify(method, params)

    def _check_alive(self) -> None:
        """Raise ``ServerFailedError`` if the server has ended."""
        server = self._client._server
        if server is not None and server.returncode is not None:
            last_words = f" It said: {self.log[-1]}" if self.log else ""
            raise ServerFailedError(
                f"The server ended with exit code {server.returncode}.{last_words}"
            )

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
        client = LanguageClient("lsp-stablecode-client", __version__)
        for method, answer in (
            (types.WORKSPACE_CONFIGURATION, self._configuration),
            (types.WINDOW_WORK_DONE_PROGRESS_CREATE, lambda params: None),
            (types.PROGRESS, self._hear_progress),
            (types.WINDOW_SHOW_MESSAGE, self._hear_message),
        ):
            # pygls puts attributes on what it registers; a bound method takes none.
            client.feature(method)(functools.partial(answer))
        return client

    def _configuration(self, params: types.ConfigurationParams) -> list[Any]:
        return [self.settings for _ in params.items]

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
