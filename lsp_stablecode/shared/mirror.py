"""What an editor has told its server, kept to tell it again to another one.

Messages are JSON objects as they came. What is kept is the state they amount to, not
their history: a day's edits of a document are its text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lsp_stablecode.document_store import DocumentStore
from lsp_stablecode.documents import PositionEncoding, Range
from lsp_stablecode.errors import DocumentNotOpenError

Message = dict[str, Any]

SNOOZE_MINUTES = 15
"""How long a pause is where nobody says."""

_TOGGLE = "lsp-stablecode.toggle"
_SNOOZE = "lsp-stablecode.snooze"


class Mirror:
    """The state of one editor's session, as its messages have made it."""

    def __init__(self) -> None:
        self.initialize: Message | None = None
        self._initialized: Message | None = None
        self._configuration: Message | None = None
        self._toggles: dict[str, Message] = {}
        self._snooze: tuple[Message, float] | None = None
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
        if take is None:
            return
        try:
            take(self, message, message.get("params") or {})
        except (KeyError, TypeError, ValueError, AttributeError, DocumentNotOpenError):
            return

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
        yield self._initialized
        if self._configuration is not None:
            yield self._configuration
        yield from self._notebook_messages()
        cells = {
            cell["uri"]
            for message in self._notebooks.values()
            for cell in message["params"]["cellTextDocuments"]
        }
        # The store gives the most recently used first, and the server wants it last.
        for document in reversed(list(self._documents)):
            if document.uri not in cells:
                yield _notification(
                    "textDocument/didOpen", {"textDocument": self._item(document.uri)}
                )
        yield from self._toggles.values()
        if self._snooze is not None:
            snooze, end_s = self._snooze
            if (left_s := end_s - time.monotonic()) > 0:
                params = {**snooze["params"], "arguments": [left_s / 60]}
                yield {**snooze, "params": params}

    def _notebook_messages(self) -> Iterator[Message]:
        for uri, message in self._notebooks.items():
            notebook = message["params"]["notebookDocument"]
            kinds = {cell["document"]: cell for cell in notebook["cells"]}
            order = self._documents.notebook(uri).cell_uris
            there = [one for one in order if one in self._documents]
            cells = [kinds.get(one, {"kind": 2, "document": one}) for one in there]
            message["params"] = {
                "notebookDocument": {**notebook, "cells": cells},
                "cellTextDocuments": [self._item(one) for one in there],
            }
            yield message

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
        self._configuration = message

    def _take_folders(self, message: Message, params: Message) -> None:
        assert self.initialize is not None
        event = params["event"]
        initialize = self.initialize["params"]
        gone = {one["uri"] for one in event["removed"]}
        folders = [
            one
            for one in initialize.get("workspaceFolders") or ()
            if one["uri"] not in gone
        ]
        initialize["workspaceFolders"] = [*folders, *event["added"]]

    def _take_command(self, message: Message, params: Message) -> None:
        arguments = params.get("arguments") or []
        if params["command"] == _TOGGLE:
            key = repr(arguments)
            # Twice is as good as never.
            if self._toggles.pop(key, None) is None:
                self._toggles[key] = message
        elif params["command"] == _SNOOZE:
            minutes = float(arguments[0]) if arguments else SNOOZE_MINUTES
            self._snooze = message, time.monotonic() + 60 * minutes

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
        self._documents.open_notebook(
            notebook["uri"],
            notebook["notebookType"],
            [items[uri] for uri in order if uri in items],
        )
        self._notebooks[notebook["uri"]] = message

    def _take_notebook_change(self, message: Message, params: Message) -> None:
        cells = params["change"].get("cells") or {}
        structure = cells.get("structure")
        uri = params["notebookDocument"]["uri"]
        if structure:
            array = structure["array"]
            for cell in structure.get("didClose") or ():
                self._documents.close(cell["uri"])
            self._documents.change_cells(
                uri,
                array["start"],
                array["deleteCount"],
                [one["document"] for one in array.get("cells") or ()],
                opened=[_opened(one) for one in structure.get("didOpen") or ()],
            )
        for one in cells.get("textContent") or ():
            self._change(one["document"], one["changes"])

    def _take_notebook_close(self, message: Message, params: Message) -> None:
        uri = params["notebookDocument"]["uri"]
        self._documents.close_notebook(uri)
        self._notebooks.pop(uri, None)

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
    "workspace/executeCommand": Mirror._take_command,
    "textDocument/didOpen": Mirror._take_open,
    "textDocument/didChange": Mirror._take_change,
    "textDocument/didClose": Mirror._take_close,
    "notebookDocument/didOpen": Mirror._take_notebook,
    "notebookDocument/didChange": Mirror._take_notebook_change,
    "notebookDocument/didClose": Mirror._take_notebook_close,
}


def _opened(item: Message) -> tuple[str, str, int | None, str]:
    return item["uri"], item["languageId"], item.get("version"), item["text"]


def _range_of(range_: Message | None) -> Range | None:
    if range_ is None:
        return None
    start, end = range_["start"], range_["end"]
    return (start["line"], start["character"]), (end["line"], end["character"])


def _notification(method: str, params: object) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}
