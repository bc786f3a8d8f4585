"""What Copilot's clients send beside LSP, into the session."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from lsp_stablecode import __version__, copilot
from lsp_stablecode.copilot import field
from lsp_stablecode.items import Item, Position
from lsp_stablecode.wire import inline_list

if TYPE_CHECKING:
    from lsp_stablecode.server import StablecodeServer

# The client opens its window when it is answered, and only then hears of solutions.
_PANEL_OPENS_S = 0.1
_SIGNED_IN = {"status": "OK", "user": copilot.USER}
_ALREADY = {"status": "AlreadySignedIn", "user": copilot.USER}
_ACCOUNT = {
    "checkStatus": _SIGNED_IN,
    "signIn": _ALREADY,
    "signInInitiate": _ALREADY,
    "signInConfirm": _SIGNED_IN,
    "signInWithGithubToken": _SIGNED_IN,
    "signOut": {"status": "NotSignedIn"},
    "recordTelemetryConsent": "OK",
}


def register_copilot(server: StablecodeServer) -> None:
    """Understand Copilot's dialect; docs/editors/copilot-clients.md says for whom."""
    _register_account(server)
    _register_fates(server)
    _register_completions(server)
    _register_panels(server)


def _register_account(server: StablecodeServer) -> None:
    """Everybody is signed in: there is nobody to sign in to."""
    for method, answer in _ACCOUNT.items():
        server.feature(method)(_always(answer))

    @server.feature("getVersion")
    def get_version(params: Any) -> dict[str, Any]:
        runtime = f"python/{platform.python_version()}"
        return {"version": __version__, "runtimeVersion": runtime}

    @server.feature("setEditorInfo")
    def set_editor_info(params: Any) -> str:
        server.introduce(params)
        return "OK"

    @server.feature("copilot/models")
    async def list_models(params: Any) -> list[dict[str, Any]]:
        # Looks for weights on the disk.
        return await asyncio.to_thread(copilot.models)


def _register_fates(server: StablecodeServer) -> None:
    """Hear what becomes of suggestions, and where the user is."""
    session = server.session

    @server.feature("textDocument/didFocus")
    def did_focus(params: Any) -> None:
        uri = field(params, "textDocument", "uri")
        if isinstance(uri, str):
            session.note_focus(uri)

    @server.feature("textDocument/didShowCompletion")
    def did_show(params: Any) -> None:
        session.shown(copilot.identifier_of(field(params, "item")))

    @server.feature("textDocument/didPartiallyAcceptCompletion")
    def did_accept_in_part(params: Any) -> None:
        length = field(params, "acceptedLength")
        if isinstance(length, int):
            identifier = copilot.identifier_of(field(params, "item"))
            session.accepted_in_part(identifier, length)

    @server.feature("notifyShown")
    def notify_shown(params: Any) -> str:
        session.shown(str(field(params, "uuid")))
        return "OK"

    @server.feature("notifyAccepted")
    def notify_accepted(params: Any) -> str:
        identifier, length = str(field(params, "uuid")), field(params, "acceptedLength")
        if isinstance(length, int):
            session.accepted_in_part(identifier, length)
        else:
            session.accepted(identifier)
        return "OK"

    @server.feature("notifyRejected")
    def notify_rejected(params: Any) -> str:
        identifiers = field(params, "uuids")
        for identifier in identifiers if isinstance(identifiers, list) else ():
            session.rejected(str(identifier))
        return "OK"


def _register_completions(server: StablecodeServer) -> None:
    """Answer as before ``textDocument/inlineCompletion``; and next edits with none."""

    async def completions(place: _Place, *, explicit: bool) -> dict[str, Any]:
        items = await _items(server, place, explicit=explicit)
        return {
            "completions": [
                copilot.older_completion(
                    one, _line_before(server, place, one), place.version
                )
                for one in items
            ]
        }

    @server.feature("getCompletions")
    async def get_completions(params: Any) -> dict[str, Any]:
        server.speak_older()
        return await completions(_older_place(params), explicit=False)

    @server.feature("getCompletionsCycling")
    async def get_completions_cycling(params: Any) -> dict[str, Any]:
        return await completions(_older_place(params), explicit=True)

    @server.feature("textDocument/copilotInlineEdit")
    def inline_edit(params: Any) -> dict[str, Any]:
        return {"edits": []}


def _register_panels(server: StablecodeServer) -> None:
    """Answer for a window that lists suggestions, as if asked by hand."""

    @server.feature("textDocument/copilotPanelCompletion")
    async def panel_completion(params: Any) -> types.InlineCompletionList:
        place = _place(params, field(params, "formattingOptions"))
        return inline_list(await _items(server, place, explicit=True, kind="panel"))

    @server.feature("getPanelCompletions")
    async def get_panel_completions(params: Any) -> dict[str, Any]:
        server.spawn(fill(_older_place(params), field(params, "panelId")))
        return {"solutionCountTarget": server.session.settings.candidates}

    async def fill(place: _Place, panel: Any) -> None:
        await asyncio.sleep(_PANEL_OPENS_S)
        items = await _items(server, place, explicit=True, kind="panel")
        for rank, one in enumerate(items):
            solution = copilot.solution(one, _line_before(server, place, one))
            told = {"panelId": panel, "score": -rank, **solution}
            server.protocol.notify("PanelSolution", told)
        done = {"panelId": panel, "status": "OK"}
        server.protocol.notify("PanelSolutionsDone", done)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where suggestions are wanted, in a message that LSP's types do not describe."""

    uri: str
    position: Position
    indent_unit: str
    version: int = 0


def _place(params: Any, indentation: Any) -> _Place:
    """Read a place. Raises ``JsonRpcInvalidParams``."""
    uri = field(params, "textDocument", "uri")
    line, character = (field(params, "position", key) for key in ("line", "character"))
    if not (
        isinstance(uri, str) and isinstance(line, int) and isinstance(character, int)
    ):
        raise JsonRpcInvalidParams("A URI and a position are needed.")
    return _Place(uri, (line, character), copilot.indent_unit(indentation))


def _older_place(params: Any) -> _Place:
    document = field(params, "doc")
    place = {"textDocument": document, "position": field(document, "position")}
    version = field(document, "version")
    return replace(
        _place(place, document), version=version if isinstance(version, int) else 0
    )


async def _items(
    server: StablecodeServer, place: _Place, *, explicit: bool, kind: str = "inline"
) -> list[Item]:
    return await server.session.complete(
        place.uri,
        place.position,
        explicit=explicit,
        indent_unit=place.indent_unit,
        kind=kind,
    )


def _line_before(server: StablecodeServer, place: _Place, item: Item) -> str:
    """Return what stands on an item's line before it."""
    document = server.session.documents.get(place.uri)
    line, column = document.locate(*item.start)
    return document.line_text(line)[:column]


def _always(answer: object) -> Any:
    def handler(params: Any) -> object:
        return answer

    return handler
