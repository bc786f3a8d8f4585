"""Fixtures: a real server process and a client that speaks to it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pytest_lsp import LanguageClient, make_test_lsp_client

from lsp_stablecode.shared.rendezvous import RUNTIME_VARIABLE
from tests.hubs import Hubs, runtime_folder

SECTION = "lsp-stablecode"
# What a test's server learns is nobody's habit. Inherited by the servers.
os.environ["LSP_STABLECODE_STATE"] = tempfile.mkdtemp(prefix="lsp-stablecode-state-")
Start = Callable[..., Awaitable["Editor"]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which editors and servers were not tried, and why."""
    for marker, what in (("editor", "EDITORS"), ("server", "COMPLETION SERVERS")):
        reasons = {
            str(report.longrepr[2]).removeprefix("Skipped: ")
            for report in terminalreporter.stats.get("skipped", ())
            if marker in report.keywords and isinstance(report.longrepr, tuple)
        }
        if reasons:
            title = f"NOT TRIED: {what}"
            terminalreporter.section(title, sep="!", red=True, bold=True)
            for reason in sorted(reasons):
                terminalreporter.line(f"  {reason}", red=True)


class Editor:
    """What an editor does: keeps documents in step and asks for completions."""

    def __init__(self, client: LanguageClient, result: types.InitializeResult) -> None:
        self.client = client
        self.capabilities = result.capabilities
        self.result = result
        self._versions: dict[str, int] = {}

    def open(
        self, text: str, uri: str = "file:///work/a.py", language: str = "python"
    ) -> str:
        self._versions[uri] = 1
        item = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return uri

    def change(
        self,
        uri: str,
        text: str,
        start: tuple[int, int] | None = None,
        end: tuple[int, int] | None = None,
    ) -> None:
        """Replace a range, insert at ``start``, or replace everything."""
        self._versions[uri] += 1
        change: Any = types.TextDocumentContentChangeWholeDocument(text)
        if start is not None:
            span = types.Range(types.Position(*start), types.Position(*(end or start)))
            change = types.TextDocumentContentChangePartial(span, text)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self._versions[uri], uri),
                [change],
            )
        )

    def ask(
        self,
        uri: str,
        line: int,
        character: int,
        *,
        invoked: bool = True,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> Awaitable[Any]:
        """Send an inline completion request; await the result for its answer."""
        kind = types.InlineCompletionTriggerKind
        return self.client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(
                    kind.Invoked if invoked else kind.Automatic, selected
                ),
                text_document=types.TextDocumentIdentifier(uri),
                position=types.Position(line, character),
            )
        )

    async def items(self, *args: Any, **options: Any) -> list[Any]:
        """Ask and return the items."""
        return list((await self.ask(*args, **options)).items)

    async def texts(self, *args: Any, **options: Any) -> list[str]:
        """Ask and return the items' texts."""
        return [one.insert_text for one in await self.items(*args, **options)]

    async def command(self, name: str, *arguments: Any) -> Any:
        """Run a server command, such as ``status``."""
        return await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(f"{SECTION}.{name}", list(arguments))
        )

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = plain(await self.command("status"))
        return status

    async def ready(self) -> None:
        """Wait until the model is loaded."""
        while (state := (await self.status())["state"]) in ("idle", "loading"):
            await asyncio.sleep(0.02)
        assert state == "ready"


def plain(value: Any) -> Any:
    """Make plain data of what pygls makes of untyped JSON."""
    if hasattr(value, "_asdict"):
        return {key: plain(one) for key, one in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def editor_capabilities(
    encoding: str = "utf-16", *, inline_completion: bool = True
) -> types.ClientCapabilities:
    """Return what a current editor says it can do."""
    inline = types.InlineCompletionClientCapabilities() if inline_completion else None
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=[encoding]),
        text_document=types.TextDocumentClientCapabilities(inline_completion=inline),
        window=types.WindowClientCapabilities(work_done_progress=True),
        workspace=types.WorkspaceClientCapabilities(configuration=True),
    )


async def start_editor(
    *arguments: str,
    model: str = "echo",
    settings: dict[str, Any] | None = None,
    capabilities: types.ClientCapabilities | None = None,
    wait: bool = True,
    **initialize: Any,
) -> Editor:
    """Start a server and initialize it as an editor does."""
    client = make_test_lsp_client()
    client.set_configuration(settings or {}, section=SECTION)
    command = ["-m", "lsp_stablecode", "serve", "--model", model, *arguments]
    await client.start_io(sys.executable, *command)
    result = await client.initialize_session(
        types.InitializeParams(
            capabilities=capabilities or editor_capabilities(), **initialize
        )
    )
    editor = Editor(client, result)
    if wait:
        await editor.ready()
    return editor


async def stop_editor(editor: Editor) -> None:
    """Shut the server down and see that it goes."""
    server = editor.client._server
    if server is not None and server.returncode is None:
        await asyncio.wait_for(editor.client.shutdown_session(), 20)
    await editor.client.stop()


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hubs]:
    """Give the test a runtime folder; no shared engine of it outlives the test."""
    with runtime_folder() as hubs:
        monkeypatch.setenv(RUNTIME_VARIABLE, str(hubs.folder))
        yield hubs


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Start servers that end with the test."""
    editors: list[Editor] = []

    async def start_one(*arguments: str, **options: Any) -> Editor:
        editors.append(await start_editor(*arguments, **options))
        return editors[-1]

    yield start_one
    for editor in editors:
        await stop_editor(editor)
