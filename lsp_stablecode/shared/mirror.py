"""What an editor has told its server, kept to tell it again to another one.

Messages are JSON objects as they came. What is kept is the state they amount to, not
their history: a day's edits of a document are its text.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lsp_stablecode.document_store import DocumentStore, uri_key
from lsp_stablecode.documents import PositionEncoding, Range
from lsp_stablecode.errors import DocumentNotOpenError

Message = dict[str, Any]

SNOOZE_MINUTES = 15
"""How long a pause is where nobody says."""

RESTORE = "lsp-stablecode/restore"
"""Tells a new server what was switched at the one before it."""

_SENSELESS = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    AttributeError,
    DocumentNotOpenError,
)
_TOGGLE = "lsp-stablecode.toggle"
_SNOOZE = "lsp-stablecode.snooze"


class Mirror:
    """The state of one editor's session, as its messages have made it."""

    def __init__(self) -> None:
        self.initialize: Message | None = None
        self._initialized: Message | None = None
        self._configuration: Message | None = None
        self._editor_info: Message | None = None
        self._enabled: bool | None = None
        self._languages: dict[str, bool] = {}
        self._snoozed_until_s = 0.0
        self._documents = DocumentStore()
        self._notebooks: dict[str, Message] = {}

    def note_encoding(self, initialize_result: object) -> None:
        """Take the position encoding that the server chose."""
        result = initialize_result if isinstance(initialize_result, Mapping) else {}
        capabilities = result.get("capabilities") or {}
        encoding = capabilities.get("positionEncoding", PositionEncoding.UTF16)
        if encoding in set(PositionEncoding):
            self._documents.encoding = PositionEncoding(encoding)

    def note(self, message: Message) -> None:
        """Take in a message of the editor's.

        One that makes no sense changes nothing: what it is answered is the server's
        business.
        """
        take = _TAKERS.get(str(message.get("method")))
        is_begun = self.initialize is not None or message.get("method") == "initialize"
        if take is None or not is_begun:
            return
        with contextlib.suppress(*_SENSELESS):
            take(self, message, message.get("params") or {})

    def forget_initialize(self) -> None:
        """Take in that ``initialize`` was refused: another one may come."""
        self.initialize = None

    def note_command(self, request: Message, result: object) -> None:
        """Take in what a command of the editor's has come to."""
        with contextlib.suppress(*_SENSELESS):
            params = request["params"]
            arguments = params.get("arguments") or []
            if params["command"] == _SNOOZE:
                self._snoozed_until_s = time.monotonic() + int(str(result)[:9])
            elif params["command"] == _TOGGLE and isinstance(result, bool):
                if arguments and arguments[0] is not None:
                    self._languages[str(arguments[0])] = result
                else:
                    self._enabled = result
                    # Who toggles ends a pause.
                    self._snoozed_until_s = 0.0

    def switched(self) -> dict[str, Any]:
        """Return what was switched while the server ran, as it is now."""
        left_s = max(0.0, self._snoozed_until_s - time.monotonic())
        return {
            "enabled": self._enabled,
            "languages": dict(self._languages),
            "snoozeMinutes": left_s / 60,
        }

    def replay(self) -> Iterator[Message]:
        """Yield the messages that bring a new server to the editor's state.

        ``initialize`` has its own id; whoever sends it knows whether to pass on the
        answer.
        """
        if self.initialize is None:
            return
        yield self.initialize
        if self._initialized is None:
            return
        # Before `initialized`, after which the server asks for the editor's settings.
        yield _notification(RESTORE, self.switched())
        yield self._initialized
        if self._editor_info is not None:
            yield self._editor_info
        if self._configuration is not None:
            yield self._configuration
        yield from self._notebook_messages()
        # The store gives the most recently used first, and the server wants it last.
        for document in reversed(list(self._documents)):
            if self._documents.notebook_of(document.uri) is None:
                yield _notification(
                    "textDocument/didOpen", {"textDocument": self._item(document.uri)}
                )

    def _notebook_messages(self) -> Iterator[Message]:
        for message in self._notebooks.values():
            notebook = message["params"]["notebookDocument"]
            kinds = {cell["document"]: cell for cell in notebook["cells"]}
            order = self._documents.notebook(notebook["uri"]).cell_uris
            there = [one for one in order if one in self._documents]
            cells = [kinds.get(one, {"kind": 2, "document": one}) for one in there]
            params = {
                "notebookDocument": {**notebook, "cells": cells},
                "cellTextDocuments": [self._item(one) for one in there],
            }
            yield {**message, "params": params}

    def _item(self, uri: str) -> dict[str, Any]:
        document = self._documents.get(uri)
        return {
            "uri": document.uri,
            "languageId": document.language_id,
            "version": document.version if document.version is not None else 0,
            "text": document.text,
        }

    # --- one method for each kind of message -----------------------------------

    def _take_initialize(self, message: Message, params: Message) -> None:
        if self.initialize is None:
            self.initialize = message

    def _take_initialized(self, message: Message, params: Message) -> None:
        self._initialized = message

    def _take_configuration(self, message: Message, params: Message) -> None:
        # Without settings it only says that they are to be asked for.
        if params["settings"]:
            self._configuration = message

    def _take_editor_info(self, message: Message, params: Message) -> None:
        self._editor_info = message

    def _take_folders(self, message: Message, params: Message) -> None:
        assert self.initialize is not None
        event = params["event"]
        initialize = self.initialize["params"]
        gone = {one["uri"] for one in event["removed"]}
        before = initialize.get("workspaceFolders")
        if before is None and initialize.get("rootUri"):
            before = [{"uri": initialize["rootUri"], "name": ""}]
        folders = [one for one in before or () if one["uri"] not in gone]
        initialize["workspaceFolders"] = [*folders, *event["added"]]

    def _take_open(self, message: Message, params: Message) -> None:
        self._documents.open(*_opened(params["textDocument"]))

    def _take_change(self, message: Message, params: Message) -> None:
        self._change(params["textDocument"], params["contentChanges"])

    def _take_close(self, message: Message, params: Message) -> None:
        self._documents.close(params["textDocument"]["uri"])

    def _take_notebook(self, message: Message, params: Message) -> None:
        notebook = params["notebookDocument"]
        items = {one["uri"]: _opened(one) for one in params["cellTextDocuments"]}
        order = [one["document"] for one in notebook["cells"]]
        if not all(isinstance(uri, str) for uri in (notebook["uri"], *order)):
            raise TypeError("a URI is a text")
        self._documents.open_notebook(
            notebook["uri"],
            notebook["notebookType"],
            [items[uri] for uri in order if uri in items],
        )
        self._notebooks[uri_key(notebook["uri"])] = message

    def _take_notebook_change(self, message: Message, params: Message) -> None:
        cells = params["change"].get("cells") or {}
        structure = cells.get("structure")
        uri = params["notebookDocument"]["uri"]
        if structure:
            array = structure["array"]
            uris = [one["document"] for one in array.get("cells") or ()]
            if not all(isinstance(one, str) for one in uris):
                raise TypeError("a URI is a text")
            for cell in structure.get("didClose") or ():
                self._documents.close(cell["uri"])
            self._documents.change_cells(
                uri,
                array["start"],
                array["deleteCount"],
                uris,
                opened=[_opened(one) for one in structure.get("didOpen") or ()],
            )
        for one in cells.get("textContent") or ():
            self._change(one["document"], one["changes"])

    def _take_notebook_close(self, message: Message, params: Message) -> None:
        uri = params["notebookDocument"]["uri"]
        self._documents.close_notebook(uri)
        self._notebooks.pop(uri_key(uri), None)

    def _change(self, document: Message, changes: list[Message]) -> None:
        self._documents.change(
            document["uri"],
            document.get("version"),
            [(_range_of(one.get("range")), one["text"]) for one in changes],
        )


_TAKERS = {
    "initialize": Mirror._take_initialize,
    "initialized": Mirror._take_initialized,
    "workspace/didChangeConfiguration": Mirror._take_configuration,
    "workspace/didChangeWorkspaceFolders": Mirror._take_folders,
    "setEditorInfo": Mirror._take_editor_info,
    "textDocument/didOpen": Mirror._take_open,
    "textDocument/didChange": Mirror._take_change,
    "textDocument/didClose": Mirror._take_close,
    "notebookDocument/didOpen": Mirror._take_notebook,
    "notebookDocument/didChange": Mirror._take_notebook_change,
    "notebookDocument/didClose": Mirror._take_notebook_close,
}


def _opened(item: Message) -> tuple[str, str, int | None, str]:
    texts = item["uri"], item["languageId"], item["text"]
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("not a text")
    return texts[0], texts[1], item.get("version"), texts[2]


def _range_of(range_: Message | None) -> Range | None:
    if range_ is None:
        return None
    start, end = range_["start"], range_["end"]
    return (start["line"], start["character"]), (end["line"], end["character"])


def _notification(method: str, params: object) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}
