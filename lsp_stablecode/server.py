"""pygls registration: what the protocol offers, and nothing of how it is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Literal

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_stablecode import __version__, copilot
from lsp_stablecode.command_handlers import register_commands
from lsp_stablecode.completion_handlers import (
    register_inline_completion,
    register_plain_completion,
)
from lsp_stablecode.copilot_handlers import register_copilot
from lsp_stablecode.document_handlers import register_documents
from lsp_stablecode.files import path_of
from lsp_stablecode.lifecycle import watch_client
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.progress import ProgressReporter
from lsp_stablecode.protocol import (
    StablecodeProtocol,
    log_server_error,
    make_converter,
)
from lsp_stablecode.session import Session
from lsp_stablecode.settings import Settings
from lsp_stablecode.settings_sources import SettingsSource
from lsp_stablecode.status import Status
from lsp_stablecode.trace import Tracer
from lsp_stablecode.wire import (
    SECTION,
    choose_encoding,
    wants_plain_completion,
    workspace_folders,
)
from model import LoadProgress

logger = logging.getLogger(__name__)

_CONFIGURATION_TIMEOUT_S = 3.0
_PUSHED_SETTINGS_S = 0.05


class StablecodeServer(LanguageServer):
    """A pygls server with one session."""

    protocol: StablecodeProtocol

    def __init__(
        self,
        settings: Settings,
        tracer: Tracer | None = None,
        pool: ModelPool | None = None,
    ) -> None:
        super().__init__(
            name="lsp-stablecode",
            version=__version__,
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            notebook_document_sync=types.NotebookDocumentSyncOptions(
                notebook_selector=[
                    types.NotebookDocumentFilterWithCells(
                        cells=[types.NotebookCellLanguage(language="*")]
                    )
                ]
            ),
            protocol_cls=StablecodeProtocol,
            converter_factory=make_converter,
        )
        self.is_one_of_several = pool is not None
        self.session = Session(settings, self, tracer, pool)
        self._progress = ProgressReporter(self)
        self._dialect = copilot.Dialect()
        self._is_initialized = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine beside the protocol."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def show_message(self, text: str, level: Literal["info", "error"]) -> None:
        """Show the user a sentence."""
        kind = types.MessageType.Error if level == "error" else types.MessageType.Info
        logger.log(logging.ERROR if level == "error" else logging.INFO, "%s", text)
        self.window_show_message(types.ShowMessageParams(type=kind, message=text))

    def show_progress(self, progress: LoadProgress | None) -> None:
        """Show the model loading as work-done progress."""
        self._progress.show(progress)

    def show_status(self, status: Status) -> None:
        """Show a status bar what is the matter, where the client has one for us."""
        if self._is_initialized:
            for method, params in self._dialect.status_messages(status):
                self.protocol.notify(method, params)

    def note_initialized(self) -> None:
        """Tell the status from now on; before, a client expects no notifications."""
        self._is_initialized = True
        self.session.status.update(again=True)

    def introduce(self, options: object) -> None:
        """Take in who the client says it is."""
        if self._dialect.introduce(options):
            self.session.status.update(again=True)

    def speak_older(self) -> None:
        """Take in that the client speaks as it did before inline completion."""
        if self._dialect.speak_older():
            self.protocol.notify(*copilot.older_status(self.session.status.current))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log only: pygls would show the user every protocol slip of a client."""
        log_server_error(error, source)

    @property
    def can_pull_settings(self) -> bool:
        """Whether the client answers ``workspace/configuration``."""
        workspace = self.client_capabilities.workspace
        return bool(workspace and workspace.configuration)

    async def pull_settings(self) -> None:
        """Ask the client for its settings and take them."""
        item = types.ConfigurationItem(section=SECTION)
        try:
            answers = await asyncio.wait_for(
                self.workspace_configuration_async(
                    types.ConfigurationParams(items=[item])
                ),
                _CONFIGURATION_TIMEOUT_S,
            )
        except TimeoutError:
            logger.warning("the client did not answer workspace/configuration")
            return
        except Exception as error:
            logger.warning("the client has no configuration (%s)", type(error).__name__)
            return
        self.take_settings("pulled", answers[0] if answers else None)

    def take_settings(self, source: SettingsSource, raw: object) -> None:
        """Apply settings, and what of them concerns the process and the protocol."""
        before = self.session.settings.log_level
        raw = self._dialect.settings_in(source, raw)
        self.session.apply_settings(source, raw)
        is_ours = not self.is_one_of_several
        if is_ours and self.session.settings.log_level != before:
            logging.getLogger().setLevel(self.session.settings.log_level.upper())


def make_server(
    settings: Settings,
    tracer: Tracer | None = None,
    pool: ModelPool | None = None,
) -> StablecodeServer:
    """Return a server with all its handlers.

    With a ``pool`` it is one of several in this process, which then does not end with
    the editor's.
    """
    server = StablecodeServer(settings, tracer, pool)
    _register_lifecycle(server)
    register_copilot(server)
    register_documents(server, server.session)
    register_inline_completion(server, server.session)
    register_commands(server, server.session)
    return server


def _register_lifecycle(server: StablecodeServer) -> None:
    session = server.session

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.introduce(params.initialization_options)
        encoding = choose_encoding(params.capabilities)
        session.documents.encoding = encoding
        if (client := params.client_info) is not None:
            session.editor = " ".join(filter(None, (client.name, client.version)))
        session.workspace.folders = workspace_folders(params)
        server.take_settings("initialization", params.initialization_options)
        if wants_plain_completion(params.capabilities, session.settings):
            register_plain_completion(server, server.session)
        if params.process_id is not None and not server.is_one_of_several:
            watch_client(params.process_id, session.close)

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        server.note_initialized()
        server.spawn(_register_for_changes(server))
        if server.can_pull_settings:
            await server.pull_settings()
        else:
            # Such clients push their settings now, and they may name the model.
            await asyncio.sleep(_PUSHED_SETTINGS_S)
        session.switch.restore()
        await _offer_plain_completion_late(server)
        server.spawn(session.load_model())

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(
        params: types.DidChangeConfigurationParams,
    ) -> None:
        if params.settings:
            server.take_settings("pushed", params.settings)
        if server.can_pull_settings:
            await server.pull_settings()
        await _offer_plain_completion_late(server)
        if session.model.is_wanted:
            server.spawn(session.load_model())

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        for removed in params.event.removed:
            path = path_of(removed.uri)
            if path in session.workspace.folders:
                session.workspace.folders.remove(path)
        for added in params.event.added:
            path = path_of(added.uri)
            if path is not None:
                session.workspace.folders.append(path)

    @server.feature(types.SHUTDOWN)
    def shutdown(params: None) -> None:
        session.stop()


async def _offer_plain_completion_late(server: StablecodeServer) -> None:
    """Offer plain completion if settings that came after ``initialize`` ask for it."""
    capabilities = server.client_capabilities
    if types.TEXT_DOCUMENT_COMPLETION in server.protocol.fm.features:
        return
    if not wants_plain_completion(capabilities, server.session.settings):
        return
    document = capabilities.text_document
    completion = document.completion if document else None
    if not (completion and completion.dynamic_registration):
        server.session.notices.say(
            "completionFallback takes effect when the editor starts the server anew."
        )
        return
    register_plain_completion(server, server.session)
    server.spawn(_register(server, types.TEXT_DOCUMENT_COMPLETION, {}))


async def _register_for_changes(server: StablecodeServer) -> None:
    """Ask for settings' changes, where the client must be asked."""
    workspace = server.client_capabilities.workspace
    capability = workspace.did_change_configuration if workspace else None
    if not (capability and capability.dynamic_registration):
        return
    await _register(
        server, types.WORKSPACE_DID_CHANGE_CONFIGURATION, {"section": SECTION}
    )


async def _register(server: StablecodeServer, method: str, options: object) -> None:
    """Ask the client to send ``method`` from now on."""
    registration = types.Registration(
        id=f"{SECTION}.{method}", method=method, register_options=options
    )
    try:
        await asyncio.wait_for(
            server.client_register_capability_async(
                types.RegistrationParams(registrations=[registration])
            ),
            _CONFIGURATION_TIMEOUT_S,
        )
    except Exception as error:
        logger.warning("%s is not registered (%s)", method, type(error).__name__)
