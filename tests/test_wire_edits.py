"""Edits as the protocol carries them leave both sides with the same text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.documents import PositionEncoding
from lsp_stablecode.server import StablecodeServer, make_server
from lsp_stablecode.settings import Settings

_URI = "file:///work/h%C3%A9.py"
_PIECES = st.lists(
    st.sampled_from(
        ["a", "é", "😀", "e\u0301", "\n", "\r\n", "\r", "\f", "\x85", "\u2028", "\t"]
    ),
    max_size=12,
).map("".join)
_UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


class _NaiveClient:
    """Turns offsets into positions by counting, character by character."""

    def __init__(self, text: str, encoding: str) -> None:
        self.text = text
        self._codec, self._unit = _UNITS[encoding]

    def position(self, offset: int) -> dict[str, int]:
        before = self.text[:offset]
        line = column_start = 0
        for index, character in enumerate(before):
            ends = character == "\n" or (
                character == "\r" and self.text[index + 1 : index + 2] != "\n"
            )
            if ends:
                line, column_start = line + 1, index + 1
        encoded = before[column_start:].encode(self._codec)
        return {"line": line, "character": len(encoded) // self._unit}

    def inside_line_end(self, offset: int) -> bool:
        return self.text[max(offset - 1, 0) : offset + 1] == "\r\n"


def _tell(server: StablecodeServer, **message: object) -> None:
    """Give the server a message as it comes off the wire."""
    body = json.dumps({"jsonrpc": "2.0", **message})
    protocol = server.protocol
    protocol.handle_message(json.loads(body, object_hook=protocol.structure_message))


@pytest.mark.parametrize("encoding", sorted(_UNITS))
@settings(max_examples=80, deadline=None)
@given(text=_PIECES, data=st.data())
def test_texts_stay_equal(encoding: str, text: str, data: st.DataObject) -> None:
    """After any incremental and full changes the server's text is the client's."""
    server = make_server(Settings(model="echo"))
    server.protocol._initialized = True
    documents = server.session.documents
    documents.encoding = PositionEncoding(encoding)
    client = _NaiveClient(text, encoding)
    document = {"uri": _URI, "languageId": "python", "version": 1, "text": text}
    _tell(server, method="textDocument/didOpen", params={"textDocument": document})
    for version in range(2, 2 + data.draw(st.integers(1, 5))):
        changes: list[dict[str, object]] = []
        for _ in range(data.draw(st.integers(1, 3))):
            new = data.draw(_PIECES)
            if data.draw(st.integers(0, 9)) == 0:
                changes.append({"text": new})
                client.text = new
                continue
            offsets = st.integers(0, len(client.text)).filter(
                lambda offset: not client.inside_line_end(offset)
            )
            start, end = sorted((data.draw(offsets), data.draw(offsets)))
            span = {"start": client.position(start), "end": client.position(end)}
            changes.append({"range": span, "text": new})
            client.text = client.text[:start] + new + client.text[end:]
        identifier = {"uri": _URI, "version": version}
        _tell(
            server,
            method="textDocument/didChange",
            params={"textDocument": identifier, "contentChanges": changes},
        )
        assert documents.get(_URI).text == client.text


def test_a_cell_that_changes_its_language_stays_open() -> None:
    """LSP closes and opens such a cell in one message; the new text is what counts."""
    server = make_server(Settings(model="echo"))
    server.protocol._initialized = True
    documents = server.session.documents
    notebook, cell = "file:///n.ipynb", "vscode-notebook-cell:/n.ipynb#1"
    item = {"uri": cell, "languageId": "python", "version": 1, "text": "x"}
    entry = {"kind": 2, "document": cell}
    _tell(
        server,
        method="notebookDocument/didOpen",
        params={
            "notebookDocument": {
                "uri": notebook,
                "notebookType": "jupyter-notebook",
                "version": 1,
                "cells": [entry],
            },
            "cellTextDocuments": [item],
        },
    )
    structure = {
        "array": {"start": 0, "deleteCount": 1, "cells": [entry]},
        "didOpen": [{**item, "languageId": "sql", "text": "select"}],
        "didClose": [{"uri": cell}],
    }
    _tell(
        server,
        method="notebookDocument/didChange",
        params={
            "notebookDocument": {"uri": notebook, "version": 2},
            "change": {"cells": {"structure": structure}},
        },
    )
    assert documents.get(cell).text == "select"
    assert documents.get(cell).language_id == "sql"
