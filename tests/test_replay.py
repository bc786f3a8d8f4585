"""A session that was recorded is played again, and compared."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, stop_editor

from lsp_stablecode.errors import RecordingError
from lsp_stablecode.recording import read_recording
from lsp_stablecode.replay import Compared, Replay

_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"
_REST = "lue = compute(width)"


def serve(*arguments: str, model: str = "echo") -> list[str]:
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--model", model]
    return [*command, *arguments]


async def record(start: Start, path: Path, *arguments: str) -> None:
    """Type two characters, asking for a suggestion at each."""
    editor = await start("--record", str(path), *arguments)
    uri = editor.open(_TEXT)
    assert (await editor.texts(uri, 4, 6))[0] == _REST
    for count, character in enumerate("lu"):
        editor.change(uri, character, (4, 6 + count))
        assert await editor.texts(uri, 4, 7 + count, invoked=False)
    await stop_editor(editor)


@pytest.mark.parametrize("arguments", [(), ("--shared",)])
async def test_a_session_is_recorded_and_played_again(
    start: Start,
    tmp_path: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LSP_STABLECODE_RUNTIME", str(tmp_path / "run"))
    path = tmp_path / "session.jsonl"
    await record(start, path, *arguments)
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    compared = Replay(read_recording(path), serve(), speed=20).play()
    assert [one.verdict for one in compared] == ["same"] * 3
    assert compared[0].then[0] == _REST
    assert compared[0].place == "a.py:5:7"
    assert all(one.then_ms and one.now_ms for one in compared)


async def test_what_differs_is_told(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    await record(start, path)
    text = path.read_text().replace("compute(width)", "measure(height)", 1)
    path.write_text(text)
    command = [sys.executable, "-m", "lsp_stablecode", "replay", str(path)]
    command += ["--speed", "20", "--check", "--model", "echo"]
    played = subprocess.run(command, capture_output=True, text=True)
    assert played.returncode == 1, played.stderr
    assert "3 different" in played.stdout
    assert "measure(height)" in played.stdout
    command.insert(command.index("--check"), "--json")
    rows = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert {row["verdict"] for row in rows} == {"different"}


async def test_nothing_is_recorded_unless_asked_for(
    start: Start, tmp_path: Path
) -> None:
    """A trace holds no source text."""
    trace = tmp_path / "trace.jsonl"
    editor = await start("--trace", str(trace))
    uri = editor.open(_TEXT)
    assert (await editor.texts(uri, 4, 6))[0] == _REST
    await stop_editor(editor)
    assert "compute" not in trace.read_text()


@pytest.mark.parametrize(
    "text", ["", "no json", "{}", '{"lsp-stablecode": "1"}\n{"at": 0}', "[]", "1\n2"]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError):
        read_recording(path)


def test_a_recording_needs_a_place(tmp_path: Path) -> None:
    command = serve("--record", str(tmp_path / "no" / "such" / "folder"))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "recording" in ended.stderr


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (("a",), ("a",), "same"),
        (("a",), ("b",), "different"),
        ((), ("b",), "only now"),
        (("a",), (), "only then"),
        ((), (), "both empty"),
    ],
)
def test_answers_are_compared(then: Any, now: Any, verdict: str) -> None:
    assert Compared(0, "", "", then, now, 1, 1).verdict == verdict
