"""A silent file system keeps waiting whom it concerns, and nobody else."""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Editor, Start, plain
from lsprotocol import types
from test_look_ahead import SilentClient
from test_server import _TEXT, _place

from lsp_stablecode import file_thread
from lsp_stablecode.context.gather import Gatherer
from lsp_stablecode.context.privacy import Privacy
from lsp_stablecode.errors import FilesSilentError
from lsp_stablecode.file_thread import FileThread, Turn
from lsp_stablecode.session import Session
from lsp_stablecode.settings import Settings
from model import TokenizerError
from tests.hubs import Hubs

_CUSTOMIZATION = Path(__file__).with_name("silent_files")
# Less than anybody waits for silent files, on a machine that is busy.
_AT_ONCE_S = 2.0


async def open_in(start: Start, folder: Path, *arguments: str) -> tuple[Editor, str]:
    """Start an editor with a document in a folder of its own."""
    folder.mkdir(exist_ok=True)
    editor = await start(
        *arguments,
        workspace_folders=[types.WorkspaceFolder(folder.as_uri(), folder.name)],
    )
    return editor, editor.open(_TEXT, uri=(folder / "a.py").as_uri())


async def outcome(editor: Editor, uri: str) -> str:
    return str(plain(await editor.command("explain", uri))["outcome"])


@pytest.mark.skipif(os.name == "nt", reason="fronts are looked at elsewhere")
async def test_silent_files_of_one_editor(
    hubs: Hubs, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets nothing until they answer; the others of its engine get all theirs."""
    silent, is_silent = tmp_path / "silent", tmp_path / "is silent"
    monkeypatch.setenv("PYTHONPATH", str(_CUSTOMIZATION), prepend=os.pathsep)
    monkeypatch.setenv("SILENT_FILES", str(silent))
    monkeypatch.setenv("SILENT_FILES_WHILE", str(is_silent))
    one, uri = await open_in(start, silent, "--shared")
    other, other_uri = await open_in(start, tmp_path / "b", "--shared")
    assert await one.texts(uri, *_place(_TEXT))
    is_silent.touch()
    process = hubs.process()
    waiting = asyncio.ensure_future(one.texts(uri, *_place(_TEXT)))
    number = 0
    while not waiting.done() or number < 5:
        number += 1
        text = _TEXT.replace("\n", f"\nvalue_{number} = 1\n", 1)
        other.change(other_uri, text)
        started_s = time.monotonic()
        assert await other.texts(other_uri, *_place(text))
        assert time.monotonic() - started_s < _AT_ONCE_S
    assert await waiting == []
    assert await outcome(one, uri) == "empty:slow-files"
    is_silent.unlink()
    async with asyncio.timeout(60):
        while not await one.texts(uri, *_place(_TEXT)):
            await asyncio.sleep(0.02)
    assert await outcome(one, uri) != "empty:slow-files"
    assert process.is_running()


async def test_who_asks_is_told_and_the_next_call_waits_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that nobody waits for any more is skipped unless it runs."""
    files, answered, seen = FileThread(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def look(name: str) -> str:
        seen.append(name)
        if name == "silent":
            asyncio.run_coroutine_threadsafe(answered.wait(), loop).result(60)
        return name

    monkeypatch.setattr(file_thread, "_PATIENCE_S", 60.0)
    silent = asyncio.ensure_future(files.ask(lambda: look("silent"), Turn.GATHER))
    async with asyncio.timeout(60):
        while not seen:
            await asyncio.sleep(0.01)
    cancelled = asyncio.ensure_future(files.ask(lambda: look("gone"), Turn.VERDICT))
    await asyncio.sleep(0)
    cancelled.cancel()
    monkeypatch.setattr(file_thread, "_PATIENCE_S", 0.1)
    with pytest.raises(FilesSilentError):
        await files.ask(lambda: look("skipped"), Turn.VERDICT)
    monkeypatch.setattr(file_thread, "_PATIENCE_S", 60.0)
    later = [
        asyncio.ensure_future(files.ask(lambda: look("gather"), Turn.GATHER)),
        asyncio.ensure_future(files.ask(lambda: look("verdict"), Turn.VERDICT)),
    ]
    await asyncio.sleep(0)
    answered.set()
    assert await silent == "silent"
    assert await asyncio.gather(*later) == ["gather", "verdict"]
    assert seen == ["silent", "verdict", "gather"]
    with pytest.raises(ValueError, match="odd"):
        await files.ask(lambda: int("odd"), Turn.GATHER)
    files.close()
    await asyncio.wait_for(asyncio.to_thread(_join, files), 60)
    with pytest.raises(FilesSilentError):
        await files.ask(lambda: look("late"), Turn.VERDICT)


def _join(files: FileThread) -> None:
    assert files._thread is not None
    files._thread.join()


async def test_one_thread_looks_at_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the loop nor the engine does: whatever is asked of a session."""
    lookers: dict[str, set[str]] = {}
    for name in ("stat", "lstat", "scandir", "listdir"):
        monkeypatch.setattr(os, name, _noting(getattr(os, name), lookers, tmp_path))
    monkeypatch.setattr(builtins, "open", _noting(builtins.open, lookers, tmp_path))
    (tmp_path / "imported.py").write_text("def compute(width):\n    return width\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    lookers.clear()
    session = Session(Settings(model="echo", look_ahead="always"), SilentClient())
    try:
        await session.load_model()
        session.workspace.folders = [tmp_path]
        text = "from imported import compute\n\n" + _TEXT
        place = _place(text)
        uris = {}
        for name in ("a.py", "b.py", "ignored.py"):
            uri = uris[name] = (tmp_path / name).as_uri()
            session.documents.open(uri, "python", 1, text)
            session.note_focus(uri)
            items = await session.complete(uri, place, explicit=True)
            assert bool(items) == (name != "ignored.py")
            async with asyncio.timeout(60):
                while items and not session.describe()["lookAhead"]["computed"]:
                    await asyncio.sleep(0.01)
        session.apply_settings("pushed", {"exclude": ["b.py"]})
        assert not await session.complete(uris["b.py"], place, explicit=True)
    finally:
        session.close()
    assert set(lookers) == {"files"}
    looked_at = lookers["files"]
    assert {str(tmp_path / one) for one in ("imported.py", ".gitignore")} <= looked_at


async def test_a_cancelled_request_looks_at_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it in the thread is skipped; it is gone with the request."""
    session, uri = await _session(tmp_path)
    freed, seen = threading.Event(), []
    try:
        began = threading.Event()
        blocking = asyncio.ensure_future(
            session._files.ask(lambda: (began.set(), freed.wait(60)), Turn.VERDICT)
        )
        await asyncio.to_thread(began.wait, 60)

        def note(privacy: Privacy, path: Path | None) -> str:
            seen.append(path)
            return ""

        monkeypatch.setattr(Privacy, "reason", note)
        request = asyncio.ensure_future(
            session.complete(uri, _place(_TEXT), explicit=True)
        )
        await asyncio.sleep(0.05)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.sleep(0.05)  # the word gets round
        freed.set()
        await blocking
        await session._files.ask(lambda: None, Turn.GATHER)
        assert seen == []
    finally:
        freed.set()
        session.close()


async def test_odd_errors_of_gathering_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of the model are: the request is answered, and has an outcome."""
    session, uri = await _session(tmp_path)

    def fail(*_: object) -> int:
        raise TokenizerError("this text cannot be read")

    monkeypatch.setattr(Gatherer, "gather", fail)
    try:
        assert await session.complete(uri, _place(_TEXT), explicit=True) == []
        told = session.explain(uri)
        assert told is not None
        assert told["outcome"] == "empty:error"
        assert session.status.current.kind == "Warning"
    finally:
        session.close()


async def _session(folder: Path) -> tuple[Session, str]:
    session = Session(Settings(model="echo", look_ahead="never"), SilentClient())
    await session.load_model()
    session.workspace.folders = [folder]
    uri = (folder / "a.py").as_uri()
    session.documents.open(uri, "python", 1, _TEXT)
    return session, uri


def _noting(function: Any, lookers: dict[str, set[str]], folder: Path) -> Any:
    def note_and_call(path: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(path, str | os.PathLike):
            text = os.fspath(path)
            if isinstance(text, str) and text.startswith(str(folder)):
                name = threading.current_thread().name
                lookers.setdefault(name, set()).add(text)
        return function(path, *arguments, **options)

    return note_and_call
