"""What an editor has said can be said again, in its present state."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.document_store import DocumentStore
from lsp_stablecode.documents import PositionEncoding
from lsp_stablecode.shared.errors import FramingError, RuntimeFolderError
from lsp_stablecode.shared.framing import frame, read_message
from lsp_stablecode.shared.mirror import Mirror
from lsp_stablecode.shared.rendezvous import (
    Rendezvous,
    open_connection,
    runtime_folder,
)

URI = "file:///w/a%20b.py"
_TEXTS = st.text(alphabet="ab\n\r😀é ", max_size=12)
_PLACES = st.tuples(st.integers(0, 5), st.integers(0, 9))


def notification(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def opened(text: str, uri: str = URI) -> dict[str, Any]:
    item = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    return notification("textDocument/didOpen", textDocument=item)


def changed(*changes: dict[str, Any], version: int = 2) -> dict[str, Any]:
    return notification(
        "textDocument/didChange",
        textDocument={"uri": URI, "version": version},
        contentChanges=list(changes),
    )


def edit(start: tuple[int, int], end: tuple[int, int], text: str) -> dict[str, Any]:
    places = [
        {"line": line, "character": character} for line, character in (start, end)
    ]
    return {"range": {"start": places[0], "end": places[1]}, "text": text}


BEGUN = ["initialize", "lsp-stablecode/restore", "initialized"]


def begun() -> Mirror:
    """Return the mirror of an editor that is ready to work."""
    mirror = Mirror()
    mirror.note({"id": 0, **notification("initialize", processId=None)})
    mirror.note_encoding({"capabilities": {"positionEncoding": "utf-8"}})
    mirror.note(notification("initialized"))
    return mirror


def methods(mirror: Mirror) -> list[str]:
    return [one["method"] for one in mirror.replay()]


@settings(max_examples=60)
@given(_TEXTS, st.lists(st.tuples(_PLACES, _PLACES, _TEXTS), max_size=6))
def test_a_days_edits_are_their_text(
    text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]]
) -> None:
    """The replayed document is what the server has that saw every edit."""
    store = DocumentStore(PositionEncoding.UTF8)
    store.open(URI, "python", 1, text)
    mirror = begun()
    mirror.note(opened(text))
    for version, (start, end, new) in enumerate(edits, 2):
        store.change(URI, version, [((start, end), new)])
        mirror.note(changed(edit(start, end, new), version=version))
    *_, last = mirror.replay()
    item = last["params"]["textDocument"]
    assert item["text"] == store.get(URI).text
    assert item["version"] == 1 + len(edits)
    assert item["languageId"] == "python"


def test_nothing_is_told_before_the_editor_has_begun() -> None:
    mirror = Mirror()
    assert methods(mirror) == []
    mirror.note({"id": 0, **notification("initialize", processId=None)})
    assert methods(mirror) == ["initialize"]


def test_a_closed_document_is_not_told() -> None:
    mirror = begun()
    mirror.note(opened("a"))
    mirror.note(notification("textDocument/didClose", textDocument={"uri": URI}))
    assert methods(mirror) == BEGUN


def test_the_most_recently_used_document_is_told_last() -> None:
    mirror = begun()
    mirror.note(opened("a", "file:///a"))
    mirror.note(opened("b"))
    mirror.note(opened("c", "file:///c"))
    mirror.note(changed({"text": "new"}))
    uris = [
        one["params"]["textDocument"]["uri"]
        for one in mirror.replay()
        if one["method"] == "textDocument/didOpen"
    ]
    assert uris == ["file:///a", "file:///c", URI]


def test_folders_are_told_as_they_are_now() -> None:
    mirror = Mirror()
    folders = [{"uri": "file:///a", "name": "a"}, {"uri": "file:///b", "name": "b"}]
    mirror.note({"id": 0, **notification("initialize", workspaceFolders=folders)})
    event = {"removed": folders[:1], "added": [{"uri": "file:///c", "name": "c"}]}
    mirror.note(notification("workspace/didChangeWorkspaceFolders", event=event))
    (initialize,) = mirror.replay()
    told = [one["name"] for one in initialize["params"]["workspaceFolders"]]
    assert told == ["b", "c"]


def test_the_last_pushed_settings_are_told() -> None:
    mirror = begun()
    for tokens in (1, 2):
        pushed = {"lsp-stablecode": {"maxNewTokens": tokens}}
        mirror.note(notification("workspace/didChangeConfiguration", settings=pushed))
    *_, last = mirror.replay()
    assert last["params"]["settings"]["lsp-stablecode"]["maxNewTokens"] == 2


def command(name: str, *arguments: Any) -> dict[str, Any]:
    params = {"command": f"lsp-stablecode.{name}", "arguments": list(arguments)}
    return {"id": 7, **notification("workspace/executeCommand", **params)}


def test_what_was_switched_is_told_before_the_editor_is_asked() -> None:
    mirror = begun()
    mirror.note_command(command("toggle"), False)
    mirror.note_command(command("toggle", "python"), False)
    mirror.note_command(command("toggle", "lua"), True)
    mirror.note_command(command("status"), {"state": "ready"})
    _, restore, last = mirror.replay()
    assert last["method"] == "initialized"
    assert restore["params"] == {
        "enabled": False,
        "languages": {"python": False, "lua": True},
        "snoozeMinutes": 0.0,
    }


def test_a_pause_lasts_as_long_as_it_would_have() -> None:
    mirror = begun()
    mirror.note_command(command("snooze", 10), 600)
    assert 9 < mirror.switched()["snoozeMinutes"] < 10
    mirror.note_command(command("toggle"), True)
    assert mirror.switched()["snoozeMinutes"] == 0
    mirror.note_command(command("snooze", 10), 600)
    mirror.note_command(command("snooze", 0), 0)
    assert mirror.switched()["snoozeMinutes"] == 0


@pytest.mark.parametrize("result", [None, "x", [], {}, 1.5e300])
def test_a_senseless_result_changes_nothing(result: object) -> None:
    mirror = begun()
    before = mirror.switched()
    mirror.note_command(command("snooze", 1), result)
    mirror.note_command(command("toggle"), result)
    mirror.note_command({"method": "workspace/executeCommand"}, result)
    assert mirror.switched() == before


def test_a_refused_editor_may_begin_again() -> None:
    mirror = begun()
    mirror.forget_initialize()
    assert methods(mirror) == []


def test_nothing_counts_before_initialize() -> None:
    mirror = Mirror()
    mirror.note(opened("a"))
    event = {"removed": [], "added": []}
    mirror.note(notification("workspace/didChangeWorkspaceFolders", event=event))
    mirror.note({"id": 0, **notification("initialize", processId=None)})
    mirror.note(notification("initialized"))
    assert methods(mirror) == BEGUN


def test_the_root_stays_a_folder() -> None:
    mirror = Mirror()
    mirror.note({"id": 0, **notification("initialize", rootUri="file:///a")})
    event = {"removed": [], "added": [{"uri": "file:///b", "name": "b"}]}
    mirror.note(notification("workspace/didChangeWorkspaceFolders", event=event))
    (initialize,) = mirror.replay()
    told = [one["uri"] for one in initialize["params"]["workspaceFolders"]]
    assert told == ["file:///a", "file:///b"]


def test_settings_that_are_to_be_asked_for_are_none() -> None:
    mirror = begun()
    mirror.note(notification("workspace/didChangeConfiguration", settings={"a": 1}))
    mirror.note(notification("workspace/didChangeConfiguration", settings=None))
    *_, last = mirror.replay()
    assert last["params"]["settings"] == {"a": 1}


def test_a_notebook_is_told_with_its_cells_in_order() -> None:
    mirror = begun()
    items = [
        {"uri": f"cell:{n}", "languageId": "python", "version": 1, "text": str(n)}
        for n in range(2)
    ]
    notebook = {
        "uri": "file:///n.ipynb",
        "notebookType": "jupyter-notebook",
        "version": 1,
        "cells": [{"kind": 2, "document": one["uri"]} for one in items],
    }
    mirror.note(
        notification(
            "notebookDocument/didOpen",
            notebookDocument=notebook,
            cellTextDocuments=items,
        )
    )
    new = {"uri": "cell:9", "languageId": "python", "version": 1, "text": "new"}
    cells = [{"kind": 2, "document": "cell:9"}]
    mirror.note(
        notification(
            "notebookDocument/didChange",
            notebookDocument={"uri": "file:///n.ipynb", "version": 2},
            change={
                "cells": {
                    "structure": {
                        "array": {"start": 1, "deleteCount": 0, "cells": cells},
                        "didOpen": [new],
                    },
                    "textContent": [
                        {
                            "document": {"uri": "cell:0", "version": 2},
                            "changes": [{"text": "changed"}],
                        }
                    ],
                }
            },
        )
    )
    (told,) = list(mirror.replay())[3:]
    texts = [one["text"] for one in told["params"]["cellTextDocuments"]]
    assert texts == ["changed", "new", "1"]
    order = [one["document"] for one in told["params"]["notebookDocument"]["cells"]]
    assert order == ["cell:0", "cell:9", "cell:1"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"method": "textDocument/didOpen"},
        {"method": "textDocument/didOpen", "params": []},
        {"method": "textDocument/didChange", "params": {"textDocument": None}},
        {"method": "workspace/executeCommand", "params": {"command": 1}},
        {"method": "workspace/didChangeWorkspaceFolders", "params": {"event": {}}},
        {"method": "notebookDocument/didChange", "params": {"change": 1}},
        {"method": ["initialize"], "params": {}},
    ],
)
def test_nonsense_changes_nothing(message: dict[str, Any]) -> None:
    mirror = begun()
    before = json.dumps(list(mirror.replay()))
    mirror.note(message)
    assert json.dumps(list(mirror.replay())) == before


def test_messages_are_framed_and_read() -> None:
    stream = io.BytesIO(frame(b"{}") + b"Content-Type: x\r\n" + frame("ü".encode()))
    assert read_message(stream) == b"{}"
    assert read_message(stream) == "ü".encode()
    assert read_message(stream) is None


def test_a_message_that_was_cut_off_is_none() -> None:
    assert read_message(io.BytesIO(frame(b"12345")[:-2])) is None


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(FramingError):
        read_message(io.BytesIO(b"Content-Length: 99999999999\r\n\r\n"))


@pytest.mark.parametrize("over_tcp", [False, True])
def test_a_hub_is_found_by_its_address(tmp_path: Path, over_tcp: bool) -> None:
    rendezvous = Rendezvous(["--model", "echo"], tmp_path)
    assert rendezvous.address() is None
    with rendezvous.listen(over_tcp=over_tcp) as listener:
        address = Rendezvous(["--model", "echo"], tmp_path).address()
        assert address is not None
        assert address.process_id == os.getpid()
        assert len(address.secret) == 64
        assert rendezvous.is_reachable()
        mode = stat.S_IMODE(rendezvous.address_file.stat().st_mode)
        assert os.name == "nt" or mode == 0o600
        with open_connection(address, 5.0) as connection:
            accepted, _ = listener.accept()
            with accepted:
                connection.sendall(b"x")
                assert accepted.recv(1) == b"x"
    rendezvous.withdraw()
    assert rendezvous.address() is None
    assert not rendezvous.is_reachable()


def test_other_options_are_another_hub(tmp_path: Path) -> None:
    one = Rendezvous(["--model", "echo"], tmp_path)
    other = Rendezvous(["--model", "starter"], tmp_path)
    assert one.address_file != other.address_file


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setenv("LSP_STABLECODE_RUNTIME", str(folder))
    assert runtime_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(mode)
    with pytest.raises(RuntimeFolderError):
        runtime_folder()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("LSP_STABLECODE_RUNTIME", str(tmp_path / "link"))
    with pytest.raises(RuntimeFolderError):
        runtime_folder()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    rendezvous = Rendezvous([], tmp_path)
    rendezvous.listen().close()
    address = rendezvous.address()
    assert address is not None
    if not address.port:
        with pytest.raises(OSError, match=r"[Rr]efused"):
            open_connection(address, 1.0)
    with rendezvous.listen():
        again = rendezvous.address()
        assert again is not None
        assert again.secret != address.secret
        open_connection(again, 5.0).close()
